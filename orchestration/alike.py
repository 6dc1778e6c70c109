"""Images of every shape, made one shape: what a data set holds once it is prepared.

Without `data.image_size` all images must have one size, and stay as they are. With it they become
squares of that size, by `data.fit`:

- crop: the largest square in the middle is scaled to the size;
- resize: the whole image is scaled, and stretched where it is no square;
- pad: the whole image is scaled down where it is too large, never up, and put in the middle of
  black.

Scaling is Pillow's Lanczos, which averages where it makes smaller. Without `data.channels` all are
grey where all files are, else in colour; grey becomes colour by three equal channels, colour grey
by its luma (.299 R + .587 G + .114 B).
"""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageOps

from orchestration.errors import DataError
from orchestration.formats import Bad, Header, Picture, Shape, Source
from orchestration.training_sections import Data

FITS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "crop": lambda image, size: ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS),
    "resize": lambda image, size: image.resize((size, size), Image.Resampling.LANCZOS),
    "pad": lambda image, size: _padded(image, size),
}


def survey(source: Source, data: Data) -> tuple[Header, list[Bad]]:
    """What the prepared data set will hold, and the images that are known to be bad.

    Raises:
        DataError: more are bad than may be, none is left, or there are several sizes.
    """
    count, first, bad = 0, {}, []
    for seen in source.glance():
        if isinstance(seen, Bad):
            bad.append(seen)
        else:
            first.setdefault(seen.shape, seen.name)
            count += 1
    check_bad(bad, data)
    if not count:
        raise DataError(f"data.path {data.path} holds no image that can be read")
    channels = data.channels or max(shape[0] for shape in first)
    height, width = (data.image_size,) * 2 if data.image_size else _one_size(first)
    return Header(data.name, count, (channels, height, width), source.labels), bad


def check_bad(bad: list[Bad], data: Data) -> None:
    """Raises DataError where more images are bad than `data.skip_bad` allows."""
    if len(bad) > data.skip_bad:
        others = len(bad) - 1
        more = f" (and {others} more cannot be used)" if others else ""
        raise DataError(
            f"{bad[0].name} {bad[0].reason}{more}; mend or remove it, or leave such images out by"
            f" data.skip_bad={len(bad)} or more"
        )


def read_alike(source: Source, shape: Shape, data: Data) -> Iterator[Picture | Bad]:
    """The images of a source in the one shape; one of another shape is bad."""
    for picture in source.read():
        if isinstance(picture, Picture):
            pixels = fitted(with_channels(picture.pixels, shape[0]), data)
            if pixels.shape == shape:
                picture = Picture(picture.name, pixels, picture.label, picture.notes)
            else:
                _, height, width = pixels.shape
                reason = f"is {width}x{height} pixels, expected {shape[2]}x{shape[1]}"
                picture = Bad(picture.name, reason)
        yield picture


def fitted(pixels: np.ndarray, data: Data) -> np.ndarray:
    """Pixels uint8 (C, H, W) in the configured size."""
    size = data.image_size
    if size is None or pixels.shape[1:] == (size, size):
        return pixels
    return _from_pil(FITS[data.fit](_to_pil(pixels), size))


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Pixels uint8 (C, H, W) with 1 or 3 channels."""
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=0)
    return _from_pil(_to_pil(pixels).convert("L"))


def _one_size(first: dict[Shape, str]) -> tuple[int, int]:
    """Height and width; `first` has the name of the first image of each shape."""
    (expected, name), *others = ((shape[1:], name) for shape, name in first.items())
    for size, other in others:
        if size != expected:
            raise DataError(
                f"{other} is {size[1]}x{size[0]} pixels, {name} {expected[1]}x{expected[0]};"
                " expected one size: set data.image_size, and data.fit to crop, resize or pad"
            )
    return expected


def _padded(image: Image.Image, size: int) -> Image.Image:
    scale = size / max(image.size)
    if scale < 1:
        smaller = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(smaller, Image.Resampling.LANCZOS)
    page = Image.new(image.mode, (size, size))
    page.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return page


def _to_pil(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())


def _from_pil(image: Image.Image) -> np.ndarray:
    values = np.asarray(image)
    return values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1))
