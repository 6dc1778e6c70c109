"""PM2.5 of 36 stations in Beijing, hour by hour (Yi et al., "ST-MVL", IJCAI 2016).

A folder with `pm25_ground.txt`, all that was measured, and `pm25_missing.txt`, the same with
entries taken out that are to be imputed: tables with a column `datetime`, then one a station. As
CSDI has it (Tashiro et al., NeurIPS 2021): windows of 36 hours; months 3, 6, 9 and 12 are the
test, January validates, the others train. What is scored in the test are the entries taken out.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from orchestration.errors import DataError
from orchestration.formats import stamp_of
from orchestration.window_formats import HOUR_S, Part, WindowSource

FILES = ("pm25_ground.txt", "pm25_missing.txt")
HOURS = 36
MONTHS = {"train": (2, 4, 5, 7, 8, 10, 11), "validation": (1,), "test": (3, 6, 9, 12)}


def pm25(path: Path, length: int | None) -> WindowSource:
    """The two tables in the folder `path`.

    Args:
        path: the folder.
        length: hours a window; None: 36.

    Raises:
        DataError: they are missing, or do not fit each other.
    """
    folder = path.expanduser()
    ground, missing = (_read(folder / name) for name in FILES)
    if not (ground.index.equals(missing.index) and ground.columns.equals(missing.columns)):
        raise DataError(f"{folder}: {FILES[0]} and {FILES[1]} have other times or stations")
    length = length or HOURS
    return WindowSource(
        stamp=stamp_of(folder, FILES),
        variables=tuple(ground.columns),
        length=length,
        read=lambda: {
            part: _part(ground, missing, months, length, part, folder)
            for part, months in MONTHS.items()
        },
        own_unit=True,
        step_s=HOUR_S,
    )


def _part(
    ground: pd.DataFrame,
    missing: pd.DataFrame,
    months: tuple[int, ...],
    length: int,
    part: str,
    folder: Path,
) -> Part:
    """Training windows start at every hour of a month; the others follow each other, and the last
    one ends with the month, where it takes up again what the one before it has: that is scored
    once."""
    values, hidden, names = [], [], []
    periods = ground.index.to_period("M")
    for period in periods[periods.month.isin(months)].unique():
        rows = np.flatnonzero(periods == period)
        known = ground.to_numpy(np.float32)[rows]
        taken = np.isfinite(known) & ~np.isfinite(missing.to_numpy(np.float32)[rows])
        last = len(rows) - length
        starts = range(last + 1) if part == "train" else [*range(0, last, length), last]
        done = 0
        for start in starts if last >= 0 else ():
            window = slice(start, start + length)
            again = taken[window].T & (np.arange(start, start + length) < done)
            # What was scored before is a gap here: it is not to be given either
            values.append(np.where(again & (part == "test"), np.nan, known[window].T))
            hidden.append(taken[window].T & ~again)
            names.append(str(ground.index[rows[start]]))
            done = start + length
    if not values:
        raise DataError(
            f"{folder}: no window of {length} hours in the months {months} ({part}); expected a"
            " year of hours"
        )
    return Part(
        np.stack(values), tuple(names), np.stack(hidden) if part == "test" else None
    )


def _read(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, index_col="datetime")
        table.index = pd.to_datetime(table.index)
        return table.apply(pd.to_numeric)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot read {file}: {reason}; expected a column datetime, then one a station"
        ) from error
