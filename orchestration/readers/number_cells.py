"""Which cells of a table are numbers, which are empty, and which are neither.

Empty is what pandas takes for missing, in text also with spaces around it. A number is finite in
float32. A column that holds numbers for the most part is one of numbers; cells of it that are
neither a number nor empty are *strange*. They are kept apart from gaps, since filling them would
put something else in place of what somebody wrote.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestration.errors import DataError

LARGEST = float(np.finfo(np.float32).max)
SHOWN = 40  # characters of a cell in a message

EMPTY = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
        "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip
"""Texts that `pandas.read_csv` takes for missing."""


@dataclass(frozen=True)
class Strange:
    """The strange cells of a column.

    Args:
        count: of them.
        row: of the first, from 1.
        text: what stands there, as a message shows it.
    """

    count: int
    row: int
    text: str


def is_empty(column: pd.Series) -> pd.Series:
    """Bool, of each cell."""
    empty = column.isna()
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return empty
    blank = [isinstance(cell, str) and cell.strip() in EMPTY for cell in column]
    return empty | np.array(blank, dtype=bool)


def numbers_of(columns: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Strange]]:
    """The columns of numbers as float64, NaN where there is none; and strange cells.

    Columns of truth values or times are no columns of numbers. Strange cells are told of columns
    of text, too, by the column's name as text: whether they may be there depends on its use.
    """
    numbers, strange = {}, {}
    for name, column in columns.items():
        if _is_of_its_own(column):
            continue
        empty = is_empty(column)
        values = pd.to_numeric(column, errors="coerce").astype(np.float64)
        usable = values.abs() <= LARGEST
        if 2 * values.notna().sum() >= (~empty).sum():
            numbers[str(name)] = values.where(usable)
        rows = np.flatnonzero(~(usable | empty))
        if len(rows):
            strange[str(name)] = Strange(len(rows), int(rows[0]) + 1, _shown(column.iloc[rows[0]]))
    return pd.DataFrame(numbers, index=columns.index), strange


def check_numbers(strange: Mapping[str, Strange], names: Collection[str], where: str) -> None:
    """Refuses strange cells in columns whose numbers are wanted.

    Args:
        strange: of each column that has some.
        names: of the columns.
        where: they are, for the message.

    Raises:
        DataError: there is one.
    """
    found = {name: cells for name, cells in strange.items() if name in names}
    if not found:
        return
    name, first = next(iter(found.items()))
    count = sum(cells.count for cells in found.values())
    which = f"the first of {count:,} such cells" if count > 1 else "the only such cell"
    raise DataError(
        f"{where}: column {name!r}, row {first.row:,} of the data: got {first.text} ({which}),"
        f" expected a number such as 1234.5, at most {LARGEST:.1e}, an empty cell for a gap, or no"
        " such column"
    )


def _is_of_its_own(column: pd.Series) -> bool:
    """Of truth values, with gaps or without, or of times."""
    return (
        pd.api.types.is_bool_dtype(column)
        or pd.api.types.is_datetime64_any_dtype(column)
        or pd.api.types.infer_dtype(column, skipna=True) == "boolean"
    )


def _shown(cell: object) -> str:
    text = repr(cell) if isinstance(cell, str) else str(cell)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
