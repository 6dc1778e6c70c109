"""A table's file in two ways: as pandas understands it, and cell by cell, to be written back."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import DataError


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
        no_variables: columns of `read` that name rows, even by numbers.
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
    content = file.read_bytes()  # once: both ways are to see the same
    read = pd.read_csv(BytesIO(content))
    texts = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
    raw = pa.Table.from_pandas(texts, preserve_index=False).replace_schema_metadata(None)
    return Cells(read, raw, {name: place for place, name in enumerate(read.columns)}, ())


def _parquet(file: Path) -> Cells:
    read, raw = pd.read_parquet(file), pq.read_table(file)
    index = ()
    if not isinstance(read.index, pd.RangeIndex):
        index = tuple(
            f"__index_level_{level}__" if name is None or name in read.columns else str(name)
            for level, name in enumerate(read.index.names)
        )
        read = read.reset_index(names=list(index))
    names = map(str, read.columns)
    places = {name: raw.schema.get_field_index(name) for name in names}
    return Cells(read, raw, places, index)
