"""An encoded image as uint8 (C, H, W): PNG, JPEG, WebP, PGM or PPM, told by its content.

- Grey, grey with alpha and black-and-white give C = 1; colour, palettes and CMYK give C = 3.
- Transparent pixels are laid over white; so is the one grey or colour that a PNG may name to be
  transparent, but for that of 16-bit colour, of which Pillow keeps too little to tell it.
- 16-bit grey is divided by 257 and rounded; of 16-bit colour Pillow keeps the higher byte.
- The image is turned and mirrored as its EXIF says, so that it stands as viewers show it.
- Pictures that move are refused.

Colour profiles and gamma are not applied.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from orchestration.formats import Shape

FORMATS = ("PNG", "JPEG", "WEBP", "PPM")
GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
TURNED = "turned or mirrored as their EXIF says"
OVER_WHITE = "with transparency, laid over white"
FROM_16_BITS = "of 16-bit grey, scaled to 8 bits"
FROM_PALETTE = "with a palette, taken as colour"


class Undecodable(ValueError):
    """An image that cannot be used; the message is what a name is followed by."""


def glimpse_shape(content: Path | bytes) -> Shape:
    """The shape that `decode` gives, by the headers alone.

    A PNG may tell its EXIF after the pixels; then `decode` may swap height and width.

    Raises:
        Undecodable: with the reason.
    """
    with _opened(content) as image:
        width, height = image.size
        # PngImageFile's own getexif decodes the whole image to look behind it
        if _orientation(Image.Image.getexif(image)) >= 5:
            width, height = height, width
        return 1 if image.mode in GREY else 3, height, width


def decode(content: Path | bytes) -> tuple[np.ndarray, tuple[str, ...]]:
    """The image, and what was done to it.

    Args:
        content: a file, or what is in it.

    Returns:
        uint8 (C, H, W), and notes such as `TURNED`.

    Raises:
        Undecodable: with the reason.
    """
    with _opened(content) as image:
        image.load()
        orientation = _orientation(image.getexif())
        notes = [TURNED] if orientation > 1 else []
        notes += [FROM_PALETTE] if image.mode == "P" else []
        if image.mode.startswith("I"):
            notes.append(FROM_16_BITS)
            values = np.asarray(image)
            pixels = _to_8_bits(values)
            clear = values == image.info.get("transparency", -1)
            notes += [OVER_WHITE] if clear.any() else []
            pixels[clear] = 255
        elif image.has_transparency_data:
            values = np.asarray(image.convert("LA" if image.mode in GREY else "RGBA"))
            notes += [OVER_WHITE] if values[..., -1].min() < 255 else []
            pixels = _over_white(values)
        else:
            pixels = np.asarray(image.convert("L" if image.mode in GREY else "RGB"))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(turned(pixels, orientation)), tuple(notes)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (C, H, W) as EXIF's orientation, 1 to 8, says that they are to be shown."""
    if orientation >= 5:
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return pixels


@contextmanager
def _opened(content: Path | bytes) -> Iterator[Image.Image]:
    """The image with its headers read; every failure while it is used becomes Undecodable."""
    try:
        if _size(content) == 0:
            raise Undecodable("is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            file = BytesIO(content) if isinstance(content, bytes) else content
            with Image.open(file, formats=FORMATS) as image:
                _check(image)
                yield image
    except Undecodable:
        raise
    except UnidentifiedImageError as error:
        begin = _begin(content)
        raise Undecodable(f"is no PNG, JPEG, WebP, PGM or PPM: it begins with {begin}") from error
    except OSError as error:
        raise Undecodable(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # decoders of broken files raise whatever they run into
        raise Undecodable(f"cannot be decoded: {error or type(error).__name__}") from error


def _check(image: Image.Image) -> None:
    # A phone's JPEG may carry further pictures (MPO); the first is what everybody shows
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise Undecodable(f"is animated ({image.n_frames} frames), expected one picture")
    if image.mode == "F":
        raise Undecodable("holds floating-point values, expected integers")


def _orientation(exif: Image.Exif) -> int:
    """1 (as it is) to 8; 1 where it is not told or makes no sense."""
    orientation = exif.get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _over_white(values: np.ndarray) -> np.ndarray:
    """LA or RGBA without the alpha: (H, W) or (H, W, 3)."""
    values = values.astype(np.uint32)
    color, alpha = values[..., :-1], values[..., -1:]
    laid = (color * alpha + 255 * (255 - alpha) + 127) // 255
    return laid.astype(np.uint8).squeeze(-1) if laid.shape[-1] == 1 else laid.astype(np.uint8)


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _begin(content: Path | bytes) -> bytes:
    if isinstance(content, bytes):
        return content[:8]
    with open(content, "rb") as file:
        return file.read(8)
