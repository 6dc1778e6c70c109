"""A user's own table of time series: CSV or parquet, a row a time, a column a variable.

Rows follow each other at even distances in time; where a time is left out, its row is missing as
a whole. What is empty is a gap. A column of times names the rows, sorts them, and tells where rows
are missing; a row of which nothing is there, not even its time, is none. Without such a column the
rows are taken as they come, empty ones too. A column without a name (as `DataFrame.to_csv` writes)
and pandas' index in a parquet name rows, too, and are no variables.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.tseries.api import guess_datetime_format

from orchestration.errors import DataError
from orchestration.formats import stamp_of
from orchestration.readers.number_cells import Strange, check_numbers, is_empty, numbers_of
from orchestration.readers.table_cells import read_cells
from orchestration.window_formats import Part, WindowSource, cut_cycles

LENGTH = 48  # times a window, where nothing else is said

ZONE = re.compile(r" ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)$")  # at the end of a time that has one
CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?")  # the time of a day
DECIMAL_COMMA = re.compile(r"'[+-]?[\d.]*,\d+'")
FRACTION = re.compile(r":\d\d\.\d{1,6}$")  # of a second


@dataclass(frozen=True)
class TimeTable:
    """A table on an even grid of times.

    Args:
        values: float64, a column a variable, indexed by time or row number; NaN is a gap.
        rows: of each row of the file, its place in `values`.
        times: the column of times as pandas reads it; None where there is none.
        raw: the file's cells as they are; see `Cells`.
        places: of each of the file's columns, by name, its place in `raw`.
        strange: of columns that have cells which are neither numbers nor empty. In `values` they
            are NaN; whoever takes these for gaps asks `check_numbers` first.
    """

    values: pd.DataFrame
    rows: np.ndarray
    times: pd.Series | None
    raw: pa.Table
    places: Mapping[str, int]
    strange: Mapping[str, Strange]

    @property
    def step_s(self) -> float | None:
        """Seconds between times of the grid: the least distance of rows, of which all others are
        multiples. None where there are no times, or one alone."""
        if self.times is None or len(self.values) < 2:
            return None
        first, second = self.values.index[:2]
        return (second - first).total_seconds()


def time_table(path: Path, time: str | None, length: int | None) -> WindowSource:
    """The windows of the table in a file.

    Args:
        path: a file `.csv` or `.parquet`.
        time: name of its column of times; None: it has none.
        length: rows a window; None: 48.

    Raises:
        DataError: it cannot be read, or has no column of numbers; when the parts are read, a
            column of numbers has a cell that is neither a number nor empty.
    """
    file = path.expanduser()
    table = read_table(file, time)
    names = tuple(map(str, table.values.index))
    length = length or LENGTH

    def read() -> dict[str, Part]:
        check_numbers(table.strange, table.values.columns, str(file))
        return cut_cycles(table.values.to_numpy(), length, names, str(file))

    return WindowSource(
        stamp=stamp_of(file.parent, [file.name]),
        variables=tuple(table.values.columns),
        length=length,
        read=read,
        step_s=table.step_s,
    )


def read_table(file: Path, time: str | None) -> TimeTable:
    """Reads a table and puts it on its grid of times; errors as of `time_table`.

    Args:
        file: `.csv` or `.parquet`.
        time: name of its column of times, or of pandas' index in a parquet; None: it has none.
    """
    cells = read_cells(file)
    read = cells.read
    if time is not None and time not in read.columns:
        raise DataError(f"{file}: has no column {time!r}; expected one of {list(read.columns)}")
    no_variables = {*cells.no_variables, time}
    columns = read[[name for name in read.columns if name not in no_variables]]
    numbers, strange = numbers_of(columns)
    if not len(numbers.columns) or not len(read):
        raise DataError(f"{file}: {_without_numbers(read, strange)}")
    if time is None:
        rows = np.arange(len(read))
        return TimeTable(numbers, rows, None, cells.raw, cells.places, strange)
    there = ~np.logical_and.reduce([is_empty(column) for _, column in read.items()])
    if not there.any():
        raise DataError(f"{file}: got empty rows alone; expected times in column {time!r}")
    times = read[time]
    if isinstance(times.dtype, pd.CategoricalDtype):  # to which no other time could be added
        times = times.astype(times.cat.categories.dtype)
    values, rows = _on_grid(numbers[there], _times(times, there, file), file)
    raw = cells.raw.filter(pa.array(there))
    return TimeTable(values, rows, times[there], raw, cells.places, strange)


def _without_numbers(read: pd.DataFrame, strange: Mapping[str, Strange]) -> str:
    """What is wrong with a table that has no column of numbers, or no row."""
    found = ", ".join(map(str, read.columns))
    if not len(read):
        return f"got the columns {found}, and no rows; expected columns of numbers, and rows"
    if not strange:
        return f"got the columns {found}; expected columns of numbers"
    with_comma = [name for name, cells in strange.items() if DECIMAL_COMMA.match(cells.text)]
    name = with_comma[0] if with_comma else next(iter(strange))
    hint = " with a point before decimals" if with_comma else ""
    return (
        f"got the columns {found}, {name!r} for one with {strange[name].text}; expected columns of"
        f" numbers{hint}"
    )


def _on_grid(
    numbers: pd.DataFrame, times: pd.Series, file: Path
) -> tuple[pd.DataFrame, np.ndarray]:
    """`values` and `rows` of a table."""
    if times.duplicated().any():
        twice = times[times.duplicated()].iloc[0]
        raise DataError(f"{file}: the time {twice} stands there twice; expected each once")
    ordered = np.sort(times.to_numpy())
    gaps = np.diff(ordered)
    step = gaps.min() if len(gaps) else np.timedelta64(1, "h")
    if len(gaps) and (gaps % step).astype(np.int64).any():
        raise DataError(f"{file}: times are not at even distances of {pd.Timedelta(step)}")
    count = int((ordered[-1] - ordered[0]) / step) + 1
    if count > 100 * len(ordered):
        raise DataError(
            f"{file}: {count:,} times {pd.Timedelta(step)} apart for {len(ordered):,} rows;"
            " expected rows at even distances"
        )
    places = ((times.to_numpy() - ordered[0]) / step).astype(np.int64)
    grid = pd.DatetimeIndex(ordered[0] + np.arange(count) * step)
    values = np.full((count, len(numbers.columns)), np.nan)
    values[places] = numbers.to_numpy()
    return pd.DataFrame(values, grid, numbers.columns), places


def as_in(column: pd.Series, times: pd.DatetimeIndex) -> pd.Index:
    """Times, in UTC where the column has a time zone, as the column of times writes its own."""
    if pd.api.types.is_datetime64_any_dtype(column):
        zone = column.dt.tz
        return times if zone is None else times.tz_localize("UTC").tz_convert(zone)
    first = column.dropna().iloc[0]
    if type(first) is date:  # a timestamp is one, too
        return pd.Index(times.date, dtype=object)
    text = str(first)
    zone, written = pd.Timestamp(text).tz, ""
    if zone is not None:
        times = times.tz_localize("UTC").tz_convert(zone)
        at_the_end = ZONE.search(text)
        if at_the_end is None:
            return pd.Index([time.isoformat() for time in times], dtype=object)
        written = at_the_end.group()
    plain = text.removesuffix(written)
    found = times.strftime(guess_datetime_format(plain) or "%Y-%m-%d %H:%M:%S")
    return _as_fine(found, plain) + written


def _as_fine(times: pd.Index, like: str) -> pd.Index:
    """Texts of times with as many decimals as another has, where that loses nothing."""
    decimals = len(like.rpartition(".")[2]) if FRACTION.search(like) else 6
    zeros = "0" * (6 - decimals)
    if not zeros or not times.str.endswith(zeros).all():
        return times
    return times.str.removesuffix(zeros)


def _times(column: pd.Series, there: np.ndarray, file: Path) -> pd.Series:
    """The times, in UTC without saying so, of the rows that are there."""
    if pd.api.types.is_numeric_dtype(column):
        raise DataError(
            f"{file}: column {column.name!r} holds numbers; expected times, as text or timestamps"
        )
    try:
        with warnings.catch_warnings():  # an error is to be one line on stderr
            warnings.filterwarnings("ignore", "Could not infer format", UserWarning)
            times = pd.to_datetime(column[there], utc=True).dt.tz_localize(None)
    except (ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: column {column.name!r} holds no times: {reason}") from error
    if times.isna().any():
        row = np.flatnonzero(there)[times.isna().argmax()] + 1
        raise DataError(
            f"{file}: column {column.name!r} has an empty time in row {row:,} of the data;"
            " expected all of them"
        )
    undated = column[there][_lack_dates(column[there], times)]
    if len(undated):
        raise DataError(
            f"{file}: column {column.name!r}: got {str(undated.iloc[0])!r}, expected times with"
            " year, month and day"
        )
    return times


def _lack_dates(column: pd.Series, times: pd.Series) -> pd.Series:
    """Bool: texts without a date, which pandas reads as of today; without a year, as of year 1."""
    if not pd.api.types.is_string_dtype(column):
        return pd.Series(False, column.index)
    beside = column.str.replace(ZONE, "", regex=True).str.replace(CLOCK, "", regex=True)
    return ~beside.str.contains(r"\d") | (times.dt.year == 1)
