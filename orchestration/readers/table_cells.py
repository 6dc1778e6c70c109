"""A table's file in two ways: as pandas understands it, and cell by cell, to be written back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import DataError

AS_TEXT = {"dtype": str, "keep_default_na": False}
VIEWED = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
UNNAMED = re.compile(r"Unnamed: \d+")


@dataclass(frozen=True)
class Cells:
    """The cells of a CSV or parquet file.

    Args:
        read: as pandas reads them: numbers, texts, times.
            An index of a parquet that is not mere row numbers is columns in front, by the
            names that these have in the file (`__index_level_0__` where it has no name).
        raw: the same rows as they are in the file: of a CSV the texts, empty ones too, of a
            parquet what it holds in its own types, and what tells pandas of the index, so that
            it is the index again when this is written.
        places: of each column of `read`, by its name as text, which one of `raw` it is.
        no_variables: columns of `read` that name rows, even by numbers: an index, and what has
            no name in a CSV, which pandas calls `Unnamed: 0` and so on.
    """

    read: pd.DataFrame
    raw: pa.Table
    places: Mapping[str, int]
    no_variables: tuple[str, ...]


def read_cells(file: Path) -> Cells:
    """Reads a file that ends in `.csv` or `.parquet`; DataError where it is no table."""
    readers = {".csv": _csv, ".parquet": _parquet}
    if file.suffix not in readers:
        raise DataError(f"{file}: expected a file that ends in .csv or .parquet")
    try:
        return readers[file.suffix](file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {file}: {reason}; expected a table") from error


def _csv(file: Path) -> Cells:
    content = file.read_bytes()  # once: all ways are to see the same
    read = pd.read_csv(BytesIO(content))
    texts = pd.read_csv(BytesIO(content), **AS_TEXT)
    header = pd.read_csv(BytesIO(content), header=None, nrows=1, **AS_TEXT).iloc[0].tolist()
    if not isinstance(texts.index, pd.RangeIndex):  # rows have more cells than the header
        names = [f"Unnamed: {level}" for level in range(read.index.nlevels)]
        read, texts = read.reset_index(names=names), texts.reset_index(names=names)
        header = [""] * len(names) + header
    raw = pa.Table.from_pandas(texts, preserve_index=False).replace_schema_metadata(None)
    places = {name: place for place, name in enumerate(read.columns)}
    return Cells(read, raw.rename_columns(header), places, _nameless(read))


def _parquet(file: Path) -> Cells:
    read, raw = pd.read_parquet(file), _without_views(pq.read_table(file))
    index = ()
    if not isinstance(read.index, pd.RangeIndex):
        index = tuple(
            f"__index_level_{level}__" if name is None or name in read.columns else str(name)
            for level, name in enumerate(read.index.names)
        )
        read = read.reset_index(names=list(index))
    names = map(str, read.columns)
    places = {name: raw.schema.get_field_index(name) for name in names}
    return Cells(read, raw, places, (*index, *_nameless(read)))


def _without_views(table: pa.Table) -> pa.Table:
    """Views of text or bytes as what they view: Arrow cannot put views into another order."""
    for place, field in enumerate(table.schema):
        if field.type in VIEWED:
            field = field.with_type(VIEWED[field.type])
            table = table.set_column(place, field, table.column(place).cast(field.type))
    return table


def _nameless(read: pd.DataFrame) -> tuple[str, ...]:
    """Columns that had no name when pandas read them, now or before it wrote the file."""
    return tuple(name for name in read.columns if UNNAMED.fullmatch(str(name)))
