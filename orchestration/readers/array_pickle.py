"""Pickles of numpy arrays, read without running anything that they ask for.

A pickle is a program: it may name any function of Python and call it. Here only the three names
that numpy writes for an array of numbers, and the one that Python 3 writes for bytes, mean
anything, and they mean functions of this file; whatever else a pickle names is refused before it
is looked up. Not even numpy's own code takes part until the bytes have been checked.
"""

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

DTYPES = {"u1": np.dtype("u1")}


class RefusedPickle(ValueError):
    """The pickle is damaged, or holds something else than numbers, texts and arrays of bytes."""


class _Dtype:
    """Stands for a numpy dtype."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name = name.decode("latin1") if isinstance(name, bytes) else name

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which single bytes don't have."""


class _Array:
    """Stands for a numpy array until all that it is made of has come."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, values = state
        if not isinstance(dtype, _Dtype) or dtype.name not in DTYPES:
            raise RefusedPickle(f"an array of {getattr(dtype, 'name', dtype)!r}, expected 'u1'")
        if is_fortran or not isinstance(values, bytes) or math.prod(shape) != len(values):
            raise RefusedPickle(f"an array of shape {shape} that its bytes do not fill in order")
        self.values = np.frombuffer(values, DTYPES[dtype.name]).reshape(shape)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., object]:
        match module, name:
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return lambda *_: _Array()
            case "numpy", "ndarray":
                return lambda *_: None  # the first argument of _reconstruct, never called
            case "numpy", "dtype":
                return lambda *arguments: _Dtype(*arguments)
            case "_codecs", "encode":
                return _encode
        raise RefusedPickle(f"it asks for {module}.{name}; expected arrays of bytes alone")

    def persistent_load(self, pid: object) -> object:
        raise RefusedPickle("it asks for an object from outside; expected arrays of bytes alone")


def read_dict(content: bytes) -> dict[str, object]:
    """The dictionary that a pickle of protocols 0 to 4, of Python 2 or 3, holds.

    Returns:
        By key; arrays as read-only numpy arrays of uint8, Python 2's texts as bytes.

    Raises:
        RefusedPickle: with the reason.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except RefusedPickle:
        raise
    except Exception as error:  # damaged opcodes end in errors of every kind
        raise RefusedPickle(f"it is damaged ({error or type(error).__name__})") from error
    if not isinstance(found, dict):
        raise RefusedPickle(f"it holds a {type(found).__name__}, expected a dictionary")
    return {_text(key): _plain(value) for key, value in found.items()}


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise RefusedPickle(f"bytes as {encoding!r}, expected 'latin1'")
    return text.encode(encoding)


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _plain(value: object) -> object:
    return getattr(value, "values", None) if isinstance(value, _Array) else value
