"""A folder of images: PNG, JPEG, WebP, PGM, PPM, as deep as they lie.

The first folder on the way to an image is its label; where all images lie in the folder itself
there are no labels. Labels and images are in the order of their names as texts ("10" before "2").
Files of other endings are passed over, and so are names that begin with a dot.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from orchestration.errors import DataError
from orchestration.formats import Bad, Glimpse, Picture, Source, check_folder, stamp_of
from orchestration.image_decoding import Undecodable, decode, glimpse_shape

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".pgm", ".ppm")


def image_folder(path: Path) -> Source:
    """The images below a folder.

    Raises:
        DataError: there are none, or some have a label and others none.
    """
    root = check_folder(path, "images")
    names, passed_over = _images_below(root)
    if not names:
        raise DataError(
            f"data.path {root} holds no image; expected files that end in {', '.join(ENDINGS)}"
        )
    folders = [name.partition("/")[0] if "/" in name else None for name in names]
    if None in folders and len(set(folders)) > 1:
        lone, labelled = names[folders.index(None)], next(name for name in names if "/" in name)
        raise DataError(
            f"data.path {root} holds {lone} beside {labelled}; expected all images in folders,"
            " one for each label, or none of them"
        )
    labels = None if None in folders else tuple(sorted(set(folders)))
    numbers = {} if labels is None else {label: i for i, label in enumerate(labels)}
    return Source(
        stamp=stamp_of(root, names),
        labels=labels,
        glance=partial(_glance, root, names),
        read=partial(_read, root, names, numbers),
        passed_over=passed_over,
    )


def _glance(root: Path, names: list[str]) -> Iterator[Glimpse | Bad]:
    for name in names:
        try:
            yield Glimpse(name, glimpse_shape(root / name))
        except Undecodable as error:
            yield Bad(str(root / name), str(error))


def _read(root: Path, names: list[str], numbers: dict[str, int]) -> Iterator[Picture | Bad]:
    for name in names:
        try:
            pixels, notes = decode(root / name)
        except Undecodable as error:
            yield Bad(str(root / name), str(error))
        else:
            yield Picture(name, pixels, numbers.get(name.partition("/")[0]), notes)


def _images_below(root: Path) -> tuple[list[str], int]:
    """Paths of the images from `root`, in order, and how many other files there are."""
    names, passed_over = [], 0
    around: dict[str, frozenset[tuple[int, int]]] = {}  # a folder's own inode, and of those above
    for folder, inner, files in os.walk(root, followlinks=True, onerror=_refuse):
        stat = os.stat(folder)
        inode, above = (stat.st_dev, stat.st_ino), around.get(os.path.dirname(folder), frozenset())
        if inode in above:  # a link to a folder that it lies in
            inner.clear()
            continue
        around[folder] = above | {inode}
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in files:
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                names.append(Path(folder, name).relative_to(root).as_posix())
            else:
                passed_over += 1
    return sorted(names), passed_over


def _refuse(error: OSError) -> None:
    path, reason = error.filename, error.strerror
    raise DataError(f"cannot read {path}: {reason}; expected a folder") from error
