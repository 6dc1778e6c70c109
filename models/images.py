"""Images as networks see them."""

from torch import Tensor


def from_uint8(images: Tensor) -> Tensor:
    """Images uint8 (n, C, H, W) as float32 in [-1, 1]: 0 becomes -1 and 255 becomes 1."""
    return images.float() / 127.5 - 1
