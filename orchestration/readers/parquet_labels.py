"""The labels of parquet files: the column `label`, integers or texts.

Where Hugging Face's metadata name the classes, the integers are their numbers. Else the distinct
values are the classes, numbered in their order.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from orchestration.errors import DataError
from orchestration.image_decoding import Undecodable
from orchestration.readers.parquet_rows import read_columns

COLUMN = "label"
Value: TypeAlias = int | str


@dataclass(frozen=True)
class Labels:
    """Which column holds labels, and what they mean.

    Args:
        column: its name.
        names: of the classes.
        numbers: of the classes, by the value in the column.
    """

    column: str
    names: tuple[str, ...]
    numbers: dict[Value, int]

    def number(self, value: Value | None) -> int:
        """The number of a row's class; Undecodable where the value is none of the classes."""
        if value not in self.numbers:
            raise Undecodable(f"has the label {value!r}, expected one of {len(self.names)}")
        return self.numbers[value]


def read_labels(files: list[Path], schema: pa.Schema) -> Labels | None:
    """The classes of some files; None where there is no such column, or nothing in it.

    Raises:
        DataError: the column holds neither integers nor texts.
    """
    if COLUMN not in schema.names:
        return None
    kind = schema.field(COLUMN).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_integer(plain) or pa.types.is_string(plain) or plain == pa.large_string()):
        raise DataError(f"{files[0]}: column {COLUMN} holds {kind}, expected integers or texts")
    names = _names_in_metadata(schema)
    if names is not None and pa.types.is_integer(plain):
        return Labels(COLUMN, names, {i: i for i in range(len(names))})
    values = {value.as_py() for file in files for (value,) in read_columns(file, [COLUMN])}
    classes = sorted(values - {None})
    numbers = {value: i for i, value in enumerate(classes)}
    return Labels(COLUMN, tuple(map(str, classes)), numbers) if classes else None


def why_none(schema: pa.Schema) -> str:
    """Why `read_labels` finds none."""
    if COLUMN in schema.names:
        return f"the column {COLUMN} is null in every row"
    return f"labels are read from a column {COLUMN}, and there is only {', '.join(schema.names)}"


def _names_in_metadata(schema: pa.Schema) -> tuple[str, ...] | None:
    """The names of a ClassLabel as Hugging Face's datasets write them."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(map(str, content["info"]["features"][COLUMN]["names"]))
    except (KeyError, TypeError, ValueError):  # other files have other metadata
        return None
