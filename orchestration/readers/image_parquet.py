"""Parquet files of images: one file, or all `*.parquet` below a folder, in order of their paths.

Images are encoded (a column of bytes, or of structs {bytes, path} as Hugging Face's datasets
write), or tensors of uint8 of a fixed shape: (H, W), (C, H, W) or (H, W, C), C 1 or 3. The column
is the one named image, img, images or pixels, else the only one that may hold images. Labels are
the column `label`, if there is one (`parquet_labels.py`).

Rows are read some at a time, so that a file may be larger than memory.
"""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from orchestration.errors import DataError
from orchestration.formats import (
    Bad,
    Glimpse,
    Picture,
    Shape,
    Source,
    alike_glimpses,
    place,
    stamp_of,
)
from orchestration.image_decoding import Undecodable, decode, glimpse_shape
from orchestration.readers.parquet_labels import Labels, read_labels, why_none
from orchestration.readers.parquet_rows import file_of, num_rows, num_values, read_columns

IMAGE_COLUMNS = ("image", "img", "images", "pixels")


def image_parquet(path: Path) -> Source:
    """The images of a file or a folder.

    Raises:
        DataError: there is no such file, no column of images, or a file is damaged or of another
            schema than the first.
    """
    path = path.expanduser()
    root, names = (path, _files_below(path)) if path.is_dir() else (path.parent, [path.name])
    files = [root / name for name in names]
    schema = file_of(files[0]).schema_arrow
    for file in files[1:]:
        if not file_of(file).schema_arrow.equals(schema):
            raise DataError(f"{file} has another schema than {names[0]}; expected the same")
    column = schema.field(_image_column(files[0], schema))
    labels = read_labels(files, schema)
    return Source(
        stamp=stamp_of(root, names),
        labels=None if labels is None else labels.names,
        glance=partial(_glance, files, column),
        read=partial(_read, files, column, labels),
        files=_told(names) if path.is_dir() else "",
        unlabelled=why_none(schema) if labels is None else "",
    )


def _glance(files: list[Path], column: pa.Field) -> Iterator[Glimpse | Bad]:
    shape = _tensor_shape(column.type)
    for file in files:
        if shape is not None:
            _check_nulls(file, column.name, math.prod(shape))
            yield from alike_glimpses(file.name, num_rows(file), shape)
            continue
        for i, (value,) in enumerate(read_columns(file, [column.name])):
            try:
                yield Glimpse(place(file.name, i), glimpse_shape(_content(value)))
            except Undecodable as error:
                yield Bad(place(str(file), i), str(error))


def _read(files: list[Path], column: pa.Field, labels: Labels | None) -> Iterator[Picture | Bad]:
    shape = _tensor_shape(column.type)
    columns = [column.name] + ([] if labels is None else [labels.column])
    for file in files:
        for i, (value, *label) in enumerate(read_columns(file, columns)):
            try:
                number = None if labels is None else labels.number(label[0].as_py())
                if shape is None:
                    pixels, notes = decode(_content(value))
                else:
                    pixels, notes = _tensor(value, column.type), ()
            except Undecodable as error:
                yield Bad(place(str(file), i), str(error))
            else:
                yield Picture(place(file.name, i), pixels, number, notes)


def _check_nulls(file: Path, column: str, size: int) -> None:
    """DataError where tensors of so many values are null: pyarrow reads no such column."""
    rows = num_rows(file)
    nulls = (rows * size - num_values(file, column)) // max(1, size - 1)
    if nulls:
        raise DataError(f"{file}: {nulls} of {rows} rows of {column} are null; expected tensors")


def _content(value: pa.Scalar) -> bytes:
    """The encoded image in a row."""
    content = value.as_py()
    if isinstance(content, dict):
        if content["bytes"] is None and content.get("path"):
            raise Undecodable(f"holds no bytes, only the path {content['path']}")
        content = content["bytes"]
    if content is None:
        raise Undecodable("is null")
    return content


def _tensor(value: pa.Scalar, kind: pa.FixedShapeTensorType) -> np.ndarray:
    """The tensor in a row as (C, H, W)."""
    # pyarrow's own to_numpy mixes up the dimensions of a permutation such as [2, 0, 1]
    pixels = value.value.values.to_numpy().reshape(kind.shape)
    if kind.permutation:
        pixels = pixels.transpose(kind.permutation)
    if pixels.ndim == 2:
        return pixels[None]
    return pixels if len(pixels) in (1, 3) else pixels.transpose(2, 0, 1)


def _tensor_shape(kind: pa.DataType) -> Shape | None:
    """(C, H, W) of a column of tensors; None of any other column, or of another shape."""
    if not isinstance(kind, pa.FixedShapeTensorType) or kind.value_type != pa.uint8():
        return None
    shape = tuple(kind.shape[i] for i in kind.permutation or range(len(kind.shape)))
    match shape:
        case (height, width):
            return 1, height, width
        case (1 | 3, _, _):
            return shape
        case (height, width, 1 | 3 as channels):
            return channels, height, width
    return None


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        return "bytes" in names and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind) or _tensor_shape(kind) is not None


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _image_column(file: Path, schema: pa.Schema) -> str:
    fitting = [field.name for field in schema if _holds_images(field.type)]
    named = [name for name in IMAGE_COLUMNS if name in fitting]
    if named or len(fitting) == 1:
        return (named or fitting)[0]
    columns = ", ".join(f"{field.name} {field.type}" for field in schema)
    reason = "no column" if not fitting else "several columns"
    raise DataError(
        f"{file}: {reason} of images among {columns}; expected one, named {IMAGE_COLUMNS[0]}, of"
        " encoded bytes, of structs {bytes, path}, or of uint8 tensors with 1 or 3 channels"
    )


def _told(names: list[str]) -> str:
    """How many files are read, with the first and the last: a test split may be among them."""
    return f"{len(names):,}, {names[0]}" + (f" to {names[-1]}" if len(names) > 1 else "")


def _files_below(folder: Path) -> list[str]:
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.parquet"))
    if not names:
        raise DataError(f"data.path {folder} holds no .parquet file; expected a file or a folder")
    return names
