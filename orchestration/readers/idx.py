"""IDX files, MNIST's format, plain or gzipped, read as a stream.

Two zero bytes, the type of the values (8: unsigned byte), the number of dimensions, each dimension
as a big-endian 32-bit integer, then the values, the last dimension fastest.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from orchestration.errors import DataError

UNSIGNED_BYTE = 8


def read_dimensions(path: Path, num_dimensions: int) -> tuple[int, ...]:
    """The dimensions that the file's header tells; DataError where it is no such file."""
    with _opened(path) as file:
        return _dimensions(path, file, num_dimensions)


def read_items(path: Path, num_dimensions: int) -> Iterator[np.ndarray]:
    """Each item along the first dimension, uint8, of the shape of the others.

    Raises:
        DataError: the file is missing, of another kind, damaged, too short or too long.
    """
    with _opened(path) as file:
        count, *shape = _dimensions(path, file, num_dimensions)
        size = prod(shape)
        for i in range(count):
            values = file.read(size)
            if len(values) < size:
                raise DataError(f"{path} ends within item {i}; expected {count:,} of them")
            yield np.frombuffer(values, np.uint8).reshape(shape)
        if file.read(1):
            raise DataError(f"{path} goes on after its {count:,} items; expected its end")


def _dimensions(path: Path, file: BinaryIO, num_dimensions: int) -> tuple[int, ...]:
    head = file.read(4)
    expected = bytes((0, 0, UNSIGNED_BYTE, num_dimensions))
    if head != expected:
        raise DataError(
            f"{path} begins with {head.hex(' ') or 'nothing'}, expected {expected.hex(' ')}:"
            f" an IDX file of unsigned bytes in {num_dimensions} dimensions"
        )
    sizes = file.read(4 * num_dimensions)
    if len(sizes) < 4 * num_dimensions:
        raise DataError(f"{path} ends within its header; expected {num_dimensions} dimensions")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4"))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, or what is packed in it; what goes wrong while it is read becomes a DataError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; expected a gzip file") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; expected an IDX file") from error
