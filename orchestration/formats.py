"""What a reader gives, whatever the files are like: a `Source`.

A source tells at once what there is (names and sizes of files, an index: nothing is opened), tells
the shape of each image from headers when it is asked, and yields the images one at a time when it
is read, so that a data set may be larger than memory. Images come as their files have them:
`alike.py` gives them one shape. One that cannot be used comes as `Bad`, and reading goes on.
Neither torch nor ray is imported.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from orchestration.errors import DataError
from orchestration.training_sections import Data

Shape: TypeAlias = tuple[int, int, int]


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
    shape: Shape
    labels: tuple[str, ...] | None

    @property
    def num_classes(self) -> int | None:
        """How many classes there are; None where there are no labels."""
        return None if self.labels is None else len(self.labels)


@dataclass(frozen=True)
class Glimpse:
    """What is known of an image without decoding it.

    Args:
        name: of the file, or where in a file it is.
        shape: (1 or 3 channels, height, width).
    """

    name: str
    shape: Shape


@dataclass(frozen=True)
class Picture:
    """An image.

    Args:
        name: of the file, or where in a file it is.
        pixels: uint8 (C, H, W), C 1 (grey) or 3 (red, green, blue).
        label: number of its class; None where there are no labels.
        notes: what was done to it, to be counted in the report.
    """

    name: str
    pixels: np.ndarray
    label: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bad:
    """An image that cannot be used; its name and the reason make a sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class Source:
    """A data set as its files have it.

    Args:
        stamp: another one wherever the files are others, as far as names, sizes and times tell.
        labels: names of the classes, or None.
        glance: a glimpse of every image.
        read: every image, in the same order.
        passed_over: number of files that are none of the data set by their names.
        unlabelled: why there are no labels, where the files might have some.
        files: which files it is made of, where that is to be told.
    """

    stamp: str
    labels: tuple[str, ...] | None
    glance: Callable[[], Iterator[Glimpse | Bad]]
    read: Callable[[], Iterator[Picture | Bad]]
    passed_over: int = 0
    unlabelled: str = ""
    files: str = ""


def find_source(
    data: Data,
    downloads: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Source:
    """The source that the configuration names.

    Args:
        data: of the configuration.
        downloads: where to download what may be downloaded; None: nothing is.
        say: takes lines on a download.

    Raises:
        DataError: it is not where it should be, or makes no sense as a whole.
    """
    # Each reader imports what it needs, and some of that takes a second
    match data.name:
        case "digits":
            from orchestration.readers.digits import digits

            return digits()
        case "fashion-mnist":
            from orchestration.readers.fashion_mnist import fashion_mnist

            return fashion_mnist(data.path, downloads, say)
        case "cifar10":
            from orchestration.readers.cifar10 import cifar10

            return cifar10(data.path)
        case "folder":
            from orchestration.readers.image_folder import image_folder

            return image_folder(data.path)
        case "parquet":
            from orchestration.readers.image_parquet import image_parquet

            return image_parquet(data.path)
        case "blue-marble":
            from orchestration.readers.blue_marble import blue_marble

            return blue_marble(data.path)


def why_unlabelled(data: Data) -> str:
    """In brackets, why images have no labels, as far as their files tell; DataError as above."""
    reason = find_source(data).unlabelled
    return f" ({reason})" if reason else ""


def alike_glimpses(name: str, count: int, shape: Shape) -> Iterator[Glimpse]:
    """Glimpses of the images of one file, which are all of one shape."""
    return (Glimpse(place(name, i), shape) for i in range(count))


def place(name: str, i: int) -> str:
    """How an image inside a file is called; i counts from 0."""
    return f"{name}, image {i}"


def stamp_of(root: Path, names: Iterable[str]) -> str:
    """A stamp of files: where they are, their names, sizes and times of change.

    The time of the inode's change counts too: copies may carry the time of an older file.
    """
    digest = hashlib.sha256(str(root.resolve()).encode())
    for name in names:
        try:
            stat = (root / name).stat()
            facts = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        except OSError as error:  # to be reported when it is read
            facts = str(error.strerror)
        digest.update(f"\n{name}\0{facts}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def check_folder(path: Path, holding: str) -> Path:
    """`path` with ~ replaced; DataError where it is no folder."""
    path = path.expanduser()
    if not path.is_dir():
        found = "is a file" if path.exists() else "is not there"
        raise DataError(f"data.path {path} {found}; expected a folder with {holding}")
    return path
