"""CIFAR-10 (Krizhevsky 2009): 50,000 training images, 32x32, colour, in their own two formats.

Python: `data_batch_1` to `data_batch_5`, each a pickled dictionary with `data`, uint8 (n, 3072),
and `labels`. The pickle is not trusted (`array_pickle.py`). Binary: `data_batch_1.bin` to
`data_batch_5.bin`, 3,073 bytes an image, its label first. In both the pixels are red, green, blue,
each row by row. The test batch is not part of the data set.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from orchestration.errors import DataError
from orchestration.formats import (
    Glimpse,
    Picture,
    Source,
    alike_glimpses,
    check_folder,
    place,
    stamp_of,
)
from orchestration.readers.array_pickle import RefusedPickle, read_dict

NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SHAPE = (3, 32, 32)
NUM_VALUES = 3 * 32 * 32
PYTHON = tuple(f"data_batch_{i}" for i in range(1, 6))
BINARY = tuple(f"{name}.bin" for name in PYTHON)
INSIDE = ("", "cifar-10-batches-py", "cifar-10-batches-bin")


def cifar10(path: Path) -> Source:
    """The training split in a folder, or in the folder that the archive unpacks there.

    Raises:
        DataError: no batch is there, or one of the five is missing.
    """
    root = check_folder(path, f"{PYTHON[0]} or {BINARY[0]}")
    folder, names = _find(root)
    for name in names:
        if not (folder / name).is_file():
            raise DataError(f"{folder} lacks {name}; expected {names[0]} to {names[-1]}")

    def glance() -> Iterator[Glimpse]:
        counts = ((name, _count(folder / name)) for name in names)
        return chain.from_iterable(alike_glimpses(name, n, SHAPE) for name, n in counts)

    def read() -> Iterator[Picture]:
        for name in names:
            pixels, labels = _batch(folder / name)
            wrong = np.flatnonzero(labels >= len(NAMES))
            if len(wrong):
                where = place(str(folder / name), int(wrong[0]))
                raise DataError(f"{where}: label {labels[wrong[0]]}, expected 0 to 9")
            for i, label in enumerate(labels):
                yield Picture(place(name, i), pixels[i].reshape(SHAPE), int(label))

    return Source(stamp_of(folder, names), NAMES, glance, read)


def _find(root: Path) -> tuple[Path, tuple[str, ...]]:
    """The folder of the batches, and their names."""
    for names in (PYTHON, BINARY):
        for inside in INSIDE:
            if any((root / inside / name).is_file() for name in names):
                return root / inside, names
    raise DataError(f"data.path {root} holds neither {PYTHON[0]} nor {BINARY[0]}; expected one")


def _count(path: Path) -> int:
    if path.suffix == ".bin":
        return _num_records(path, path.stat().st_size)
    return len(_batch(path)[1])


def _batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (n, 3072) and labels, integers (n,), at least 0."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if path.suffix == ".bin":
        records = np.frombuffer(content, np.uint8, _num_records(path, len(content)) * 3073)
        records = records.reshape(-1, 1 + NUM_VALUES)
        return records[:, 1:], records[:, 0]
    try:
        batch = read_dict(content)
    except RefusedPickle as error:
        raise DataError(f"{path} is refused: {error}; expected a batch of CIFAR-10") from error
    pixels, labels = batch.get("data"), batch.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (NUM_VALUES,):
        found = getattr(pixels, "shape", None)
        raise DataError(f"{path}: 'data' of shape {found}, expected (n, {NUM_VALUES})")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise DataError(f"{path}: expected under 'labels' a list of {len(pixels)} numbers")
    if not all(type(label) is int and 0 <= label for label in labels):
        raise DataError(f"{path}: expected labels from 0 to 9")
    return pixels, np.array(labels)


def _num_records(path: Path, size: int) -> int:
    count, rest = divmod(size, 1 + NUM_VALUES)
    if rest or not count:
        raise DataError(
            f"{path} has {size:,} bytes, expected a multiple of {1 + NUM_VALUES:,}: a label and"
            f" {NUM_VALUES:,} values for each image"
        )
    return count
