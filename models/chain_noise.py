"""The noise of chains, the same for all schedules as far as their steps allow.

Ancestral moves towards a fixed x_0 compose. With c = a / (1 - a), the signal-to-noise ratio, and
y = x / sqrt(a), a DDPM move from t to s is (`sampling.py`)

    c_s (y_s - x_0) = c_t (y_t - x_0) + sqrt(c_s - c_t) noise

so that B(c) = c (y - x_0) is Brownian motion in c (stochastic localization: Montanari, arXiv
2305.10690). Where all schedules take increments of one path,

    noise of a start at t           B(c_t) / sqrt(c_t)
    noise of a move from t to s     (B(c_s) - B(c_t)) / sqrt(c_s - c_t)

each of them still draws independent standard normal noise, but schedules with other steps between
arrive at the same places, as far as their x_0 agree, and what is left of their difference is due
to their steps. Were noise drawn for each timestep that a move departs from, as for one chain, a
schedule without that step would go quite another way.

Where noise does not add up to all of a chain's (DDIM with eta below 1) all chains start from the
same noise, which is what they have most in common then.

The path at one timestep takes about log2(T) draws, by bisection of the timesteps (a Brownian tree:
Li et al., arXiv 2001.01328).
"""

from math import sqrt

import torch
from torch import Tensor

from models.noise import INIT, normal
from models.sampling import Sampler
from models.transfer import copied

START = -1
"""What a start that is the same for all chains hangs on, instead of a timestep."""
LEAST = 1e-12
"""Of c, which is 0 where nothing of x_0 is left."""


def brownian(
    clock: Tensor, t: int, seed: int, images: Tensor | range, shape: tuple[int, ...]
) -> Tensor:
    """B(c_t) of some images.

    Args:
        clock: float64 (T,), c of each timestep, falling and above 0.
        t: in 0 .. T - 1.
        seed, images, shape: as for `noise.normal`, whose stream is m + 1 for the timestep m, and
            `INIT` for the last.

    Returns:
        float32 (n, *shape), of variance c_t.
    """
    c = clock.tolist()

    def draw(variance: float, stream: int) -> Tensor:
        return sqrt(variance) * normal(seed, images, stream, shape)

    early, late = len(c) - 1, 0
    b_early = draw(c[early], INIT)
    if t == early:
        return b_early
    b_late = b_early + draw(c[late] - c[early], late + 1)
    while t != late:
        middle = (early + late) // 2
        share = (c[middle] - c[early]) / (c[late] - c[early])
        b_middle = b_early + share * (b_late - b_early)
        b_middle += draw(share * (c[late] - c[middle]), middle + 1)
        if middle >= t:
            early, b_early = middle, b_middle
        if middle <= t:
            late, b_late = middle, b_middle
    return b_late


class ChainNoise:
    """Noise of one block of images: kept, once it was asked for, until it is forgotten.

    Args:
        sampler: that chains move by.
        seed: of the noise.
        images: the block.
        shape: of one image.
        device: where it goes; it is made on the host whatever that is, whose logarithm may end in
            another bit.
    """

    def __init__(
        self,
        sampler: Sampler,
        seed: int,
        images: range,
        shape: tuple[int, ...],
        device: torch.device | str,
    ) -> None:
        levels = sampler.alphas_cumprod
        self._clock = (levels / (1 - levels)).clamp(min=LEAST)
        self._sampler, self._device = sampler, device
        self._seed, self._images, self._shape = seed, images, shape
        self._known: dict[int, Tensor] = {}

    def needed(self, t: int | None, s: int) -> tuple[int, ...]:
        """What the noise of a move from t to s hangs on, for `forget`; t None of a start at s."""
        if t is not None:
            return (t, s) if self._sampler.adds_noise else ()
        return (s,) if self._sampler.is_ancestral else (START,)

    def of(self, t: int | None, s: int) -> Tensor | None:
        """The noise of a move from t to s, or of a start at s; None where none is added."""
        values = [self._value(key) for key in self.needed(t, s)]
        if len(values) == 2:
            return (values[1] - values[0]) / sqrt(self._clock[s] - self._clock[t])
        if t is None and self._sampler.is_ancestral:
            return values[0] / sqrt(self._clock[s])
        return values[0] if values else None

    def forget(self, key: int) -> None:
        """Lets go of what no later noise hangs on."""
        del self._known[key]

    def _value(self, key: int) -> Tensor:
        if key not in self._known:
            where = self._seed, self._images
            made = (
                normal(*where, INIT, self._shape)
                if key == START
                else brownian(self._clock, key, *where, self._shape)
            )
            self._known[key] = copied(made, self._device)
        return self._known[key]
