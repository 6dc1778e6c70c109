"""Where images come from: one function a format, each giving a `Source`.

A source says at once what it holds (from headers, file names or an index: nothing is decoded), and
yields (image uint8 (C, H, W), label) one at a time when it is read, so that a data set may be
larger than memory. Whatever the files were like, every image of a source has the one shape that
its header tells. Neither torch nor ray is imported.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from orchestration.sections import Data


@dataclass(frozen=True)
class Header:
    """What a data set holds.

    Args:
        name: `data.name`.
        count: number of images.
        shape: of each, (channels, height, width).
        labels: name of each class, in the order of their numbers; None where there are no labels.
    """

    name: str
    count: int
    shape: tuple[int, int, int]
    labels: tuple[str, ...] | None

    @property
    def num_classes(self) -> int | None:
        """How many classes there are; None where there are no labels."""
        return None if self.labels is None else len(self.labels)


@dataclass(frozen=True)
class Source:
    """A header, and a function that reads the images (with None for a label where none is)."""

    header: Header
    read: Callable[[], Iterator[tuple[np.ndarray, int | None]]]


def find_source(data: Data) -> Source:
    """The source that the configuration names.

    Raises:
        DataError: it is not where it should be, or its headers make no sense.
    """
    match data.name:
        case "digits":
            return _digits()


def _digits() -> Source:
    """scikit-learn's 1,797 digits: 8x8, grey, values 0 to 16 spread over 0 to 255."""
    from sklearn.datasets import load_digits  # a second to import: only where it is needed

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = tuple(str(name) for name in digits.target_names)
    header = Header("digits", len(images), images.shape[1:], labels)
    return Source(header, lambda: zip(images, map(int, digits.target), strict=True))
