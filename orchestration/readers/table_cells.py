"""A table's file in two ways: as pandas understands it, and cell by cell, to be written back."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import count, islice
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import DataError

WHOLE = {"low_memory": False}  # one type a column
AS_TEXT = {**WHOLE, "dtype": str, "keep_default_na": False}
LEADING = re.compile(rb"\A(\xef\xbb\xbf)?([ \t]*[\r\n])*")  # what is before the names
OTHER_SEPARATORS = (";", "\t", "|")
VIEWED = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)?")


@dataclass(frozen=True)
class Cells:
    """The cells of a CSV or parquet file.

    Where a CSV has one column, a blank line between others is a row with an empty cell; else an
    empty row has commas, and blank lines are none.

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
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise DataError(f"cannot read {file}: {reason}; expected a table") from error


def _csv(file: Path) -> Cells:
    content = LEADING.sub(b"", file.read_bytes(), 1)  # once: all ways are to see the same
    _check_separator(content, file)
    alone = b"," not in content
    if alone:
        content = content.replace(b"\r\r\n", b"\n").rstrip(b"\r\n")  # the former: ends ended twice
    read = pd.read_csv(BytesIO(content), skip_blank_lines=not alone, **WHOLE)
    texts = pd.read_csv(BytesIO(content), skip_blank_lines=not alone, **AS_TEXT)
    header = pd.read_csv(BytesIO(content), header=None, nrows=1, **AS_TEXT).iloc[0].tolist()
    if not isinstance(texts.index, pd.RangeIndex):  # rows have more cells than the header
        free = (f"Unnamed: {n}" for n in count() if f"Unnamed: {n}" not in read.columns)
        names = list(islice(free, read.index.nlevels))
        read, texts = read.reset_index(names=names), texts.reset_index(names=names)
        header = [""] * len(names) + header
    raw = pa.Table.from_pandas(texts, preserve_index=False).replace_schema_metadata(None)
    places = {name: place for place, name in enumerate(read.columns)}
    return Cells(read, raw.rename_columns(header), places, _nameless(read))


def _check_separator(content: bytes, file: Path) -> None:
    """DataError where the names have no comma between them, but another mark, and so the rows."""
    names, _, rest = content.partition(b"\n")
    row = rest.lstrip().partition(b"\n")[0]
    for mark in OTHER_SEPARATORS:
        if b"," not in names and mark.encode() in names and mark.encode() in row:
            text = names.decode(errors="replace").rstrip("\r")
            raise DataError(
                f"{file}: got the names {text!r} with {mark!r} between columns, expected commas"
                " there, and a point before decimals"
            )


def _parquet(file: Path) -> Cells:
    names = pq.ParquetDataset(file).schema.names
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(
            f"{file}: got more than one column with the name {twice[0]!r}, expected names that"
            " differ"
        )
    raw = pq.read_table(file)
    read, raw = raw.to_pandas(), with_types(raw, without_views)
    index: list[str] = []
    if not isinstance(read.index, pd.RangeIndex):
        for level, name in enumerate(read.index.names):
            has_name = name is not None and name not in {*read.columns, *index}
            index.append(str(name) if has_name else f"__index_level_{level}__")
        read = read.reset_index(names=index)
    names = map(str, read.columns)
    places = {name: raw.schema.get_field_index(name) for name in names}
    return Cells(read, raw, places, (*index, *_nameless(read)))


def with_types(table: pa.Table, of_one: Callable[[pa.Field], pa.Field]) -> pa.Table:
    """A table whose columns, and the fields within them, are what `of_one` makes of each."""
    fields = [_within(field, of_one) for field in table.schema]
    return table.cast(pa.schema(fields, table.schema.metadata))


def without_views(field: pa.Field) -> pa.Field:
    """Views of text or bytes as what they view: Arrow cannot put views into another order."""
    return field.with_type(VIEWED.get(field.type, field.type))


def with_room_for_nulls(field: pa.Field) -> pa.Field:
    """May be null, and is no list of a fixed size, which is not read back from a null."""
    if pa.types.is_fixed_size_list(field.type):
        field = field.with_type(pa.list_(field.type.value_field))
    return field.with_nullable(True)


def _within(field: pa.Field, of_one: Callable[[pa.Field], pa.Field]) -> pa.Field:
    field = of_one(field)
    if pa.types.is_struct(field.type):
        inner = [_within(each, of_one) for each in field.type]
        return field.with_type(pa.struct(inner))
    if pa.types.is_list(field.type):
        return field.with_type(pa.list_(_within(field.type.value_field, of_one)))
    return field


def _nameless(read: pd.DataFrame) -> tuple[str, ...]:
    """Columns that had no name when pandas read them, now or before it wrote the file."""
    return tuple(name for name in read.columns if UNNAMED.fullmatch(str(name)))
