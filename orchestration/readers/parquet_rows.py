"""Rows of parquet files, some at a time; what is wrong with a file is told by its name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import DataError

ROWS = 256


def file_of(path: Path) -> pq.ParquetFile:
    """The file with its schema read; DataError where it is missing or no parquet."""
    with _named(path):
        return pq.ParquetFile(path, page_checksum_verification=True)


def num_rows(path: Path) -> int:
    """How many rows a file has."""
    with file_of(path) as file:
        return file.metadata.num_rows


def num_values(path: Path, column: str) -> int:
    """How many values a column has; a null list has one."""
    with file_of(path) as file:
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(c.num_values for c in chunks if f"{c.path_in_schema}.".startswith(f"{column}."))


def read_columns(path: Path, columns: list[str]) -> Iterator[tuple[pa.Scalar, ...]]:
    """The values of some columns, row by row; DataError where the file is damaged."""
    with _named(path), file_of(path) as file:
        for batch in file.iter_batches(ROWS, columns=columns):
            yield from zip(*(batch.column(name) for name in columns), strict=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"data.path {path} is not there; expected a parquet file") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}; expected a parquet file") from error
