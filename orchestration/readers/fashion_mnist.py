"""Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 training images, 28x28, grey.

Two of its four IDX files are read, those of the training split; the 10,000 test images are not
part of the data set. They are looked for in `data.path`; without one where Debian's package
`dataset-fashion-mnist` puts them; else they are downloaded from where torchvision has them. Any
other data set in MNIST's form (MNIST itself, KMNIST) is read too, if its folder is given.
"""

import hashlib
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO

from orchestration.errors import DataError
from orchestration.files import new_folder, write_bytes
from orchestration.formats import (
    Picture,
    Source,
    alike_glimpses,
    check_folder,
    place,
    stamp_of,
)
from orchestration.readers.idx import read_dimensions, read_items

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip
TIMEOUT_S = 30
CHUNK_BYTES = 2**18
SAY_EVERY_S = 5.0


def fashion_mnist(
    path: Path | None, downloads: Path | None, say: Callable[[str], None] = lambda line: None
) -> Source:
    """The training split.

    Args:
        path: of the folder; or None.
        downloads: where to download into; None: nothing is downloaded, but told what would be.
        say: takes lines on a download.

    Raises:
        DataError: the files are missing, damaged, don't belong together, or can't be had.
    """
    if path is not None:
        return _source(check_folder(path, f"{IMAGES}.gz and {LABELS}.gz"))
    if DEBIAN.is_dir():
        return _source(DEBIAN)
    if downloads is None:
        return _promised()
    folder = downloads / "fashion-mnist"
    if not folder.exists():
        _download(folder, say)
    return _source(folder)


def _source(folder: Path) -> Source:
    images, labels = (_find(folder, name) for name in (IMAGES, LABELS))
    count, height, width = read_dimensions(images, 3)
    (num_labels,) = read_dimensions(labels, 1)
    if num_labels != count:
        raise DataError(f"{labels}: {num_labels:,} labels, expected {count:,} as {images.name}")

    def read() -> Iterator[Picture]:
        items = zip(read_items(images, 3), read_items(labels, 1), strict=True)
        for i, (pixels, label) in enumerate(items):
            if label >= len(NAMES):
                raise DataError(f"{labels}: label {i} is {label}, expected 0 to {len(NAMES) - 1}")
            yield Picture(place(images.name, i), pixels[None], int(label))

    return Source(
        stamp=stamp_of(folder, (images.name, labels.name)),
        labels=NAMES,
        glance=lambda: alike_glimpses(images.name, count, (1, height, width)),
        read=read,
    )


def _promised() -> Source:
    """What a download would give."""

    def read() -> Iterator[Picture]:
        raise DataError(f"Fashion-MNIST is neither in {DEBIAN} nor downloaded")

    return Source("promised", NAMES, lambda: alike_glimpses(IMAGES, 60_000, (1, 28, 28)), read)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder} lacks {name} and {name}.gz; expected one of them")


def _download(folder: Path, say: Callable[[str], None]) -> None:
    """Downloads the two files; all of them are there in the end, or none."""
    from torchvision.datasets import FashionMNIST  # seconds to import

    say(f"data    Fashion-MNIST is not in {DEBIAN}: it is downloaded to {folder} ...")
    with new_folder(folder) as unfinished:
        for name, md5 in FashionMNIST.resources:
            if name in (f"{IMAGES}.gz", f"{LABELS}.gz"):
                write_bytes(unfinished / name, _fetched(FashionMNIST.mirrors, name, md5, say))


def _read(answer: IO[bytes], name: str, say: Callable[[str], None]) -> bytes:
    """All of an answer, with a line every now and then on how much there is of it."""
    size = getattr(answer, "length", None)
    of_all = f" of {size / 1e6:.1f}" if size else ""
    parts, count, said = [], 0, time.monotonic()
    while part := answer.read(CHUNK_BYTES):
        parts.append(part)
        count += len(part)
        if time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            say(f"data    {name}: {count / 1e6:.1f}{of_all} MB")
    return b"".join(parts)


def _fetched(mirrors: list[str], name: str, md5: str, say: Callable[[str], None]) -> bytes:
    reason = "no mirror"
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=TIMEOUT_S) as answer:
                content = _read(answer, name, say)
        except (OSError, HTTPException) as error:  # no network, no such page, a broken connection
            reason = str(error)
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
            return content
        reason = f"{mirror}{name} has another md5 than {md5}"
    raise DataError(
        f"Fashion-MNIST is not in {DEBIAN}, and its download failed ({reason}); expected"
        f" {IMAGES}.gz and {LABELS}.gz there (apt install dataset-fashion-mnist), or in the folder"
        " that data.path names"
    )
