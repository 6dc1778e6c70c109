"""Images as networks see them."""

from torch import Tensor


def from_uint8(images: Tensor) -> Tensor:
    """Images uint8 (n, C, H, W) as float32 in [-1, 1]: 0 becomes -1 and 255 becomes 1."""
    return images.float() / 127.5 - 1


def as_saved(x: Tensor) -> Tensor:
    """Images in [-1, 1] as who reads them from an 8-bit file has them: k / 255, k from 0 to 255.

    Values are rounded to the nearest level, and clipped; `from_uint8` is undone without a trace.
    """
    return ((x + 1) * 127.5).round().clamp(0, 255) / 255
