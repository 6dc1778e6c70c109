"""Random numbers as a function of position.

Every number depends on (seed, image, stream, element) alone: never on the batch, the worker or
the candidate that asks for it, and no generator has to be carried or restored. An image is an
index of the seed's endless sequence; a stream is one use of noise for that image: `INIT` for the
noise a chain starts from, `t + 1` for what is drawn at timestep t of its path (`chain_noise.py`).

Counter-based generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011), with key = seed and counter = (block of 4 elements, image, stream).
"""

import math

import torch
from torch import Tensor

INIT = 0

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_INTEGER_BLOCK = _MASK  # `normal` never gets so far, so integers and normals share no word

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32 with 10 rounds; 32-bit words are held in int64.

    Args:
        counter: four int64 tensors in [0, 2**32) that broadcast.
        key: two integers in [0, 2**32).

    Returns:
        Four int64 tensors of random words in [0, 2**32), of the broadcast shape.
    """
    c_0, c_1, c_2, c_3 = counter
    k_0, k_1 = key
    for _ in range(10):
        # The low 64 bits of a product are right even where int64 wraps; >> drags the sign along
        product_0, product_1 = c_0 * _MULTIPLIERS[0], c_2 * _MULTIPLIERS[1]
        c_0, c_1, c_2, c_3 = (
            (product_1 >> 32 & _MASK) ^ c_1 ^ k_0,
            product_1 & _MASK,
            (product_0 >> 32 & _MASK) ^ c_3 ^ k_1,
            product_0 & _MASK,
        )
        k_0, k_1 = (k_0 + _WEYL[0]) & _MASK, (k_1 + _WEYL[1]) & _MASK
    return c_0, c_1, c_2, c_3


def normal(
    seed: int,
    images: Tensor | range,
    stream: int,
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal noise of some images, by the Box-Muller transform.

    Worked out in float64, so that the last bits of a library's logarithm do not show.

    Args:
        seed: in [0, 2**64).
        images: int64 indices (n,), not negative; in any order, repeated or not.
        stream: in [0, 2**32); see the module.
        shape: of one image.

    Returns:
        float32 (n, *shape), contiguous; the largest magnitude possible is 6.66.

    Raises:
        ValueError: seed or stream out of range.
    """
    num_elements = math.prod(shape)
    blocks = torch.arange(-(-num_elements // 4), device=device)
    words = torch.stack(_words(seed, images, stream, blocks), dim=-1).double() * 2.0**-32
    radius = (-2 * (words[..., 0::2] + 2.0**-32).log()).sqrt()  # of a uniform in (0, 1]
    pairs = torch.view_as_real(torch.polar(radius, 2 * math.pi * words[..., 1::2]))
    return pairs.flatten(1)[:, :num_elements].float().reshape(-1, *shape)


def uniform_integers(
    seed: int,
    images: Tensor | range,
    stream: int,
    high: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """One integer for each image, uniform over 0 .. high - 1, independent of `normal`.

    Args:
        seed, images, stream: as for `normal`.
        high: in [1, 2**31]; some integers are likelier than others by at most high / 2**32.

    Returns:
        int64 (n,).

    Raises:
        ValueError: seed, stream or high out of range.
    """
    if not 1 <= high <= 2**31:
        raise ValueError(f"high is {high}; expected 1 to 2**31")
    block = torch.tensor([_INTEGER_BLOCK], device=device)
    return (_words(seed, images, stream, block)[0] * high >> 32).flatten()


def _words(seed: int, images: Tensor | range, stream: int, blocks: Tensor) -> Words:
    """Four words for each image and block, each (n, len(blocks))."""
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}; expected 0 to 2**64 - 1")
    if not 0 <= stream < 2**32:
        raise ValueError(f"stream is {stream}; expected 0 to 2**32 - 1")
    indices = torch.as_tensor(images, dtype=torch.int64, device=blocks.device)[:, None]
    counter = (blocks, indices & _MASK, indices >> 32, torch.full_like(blocks, stream))
    return philox(counter, (seed & _MASK, seed >> 32))
