"""The noise of chains, the same for all schedules as far as their steps allow.

Ancestral moves towards a fixed x_0 compose. With c = a / (1 - a), the signal-to-noise ratio, and
y = x / sqrt(a), a DDPM move from t to s is (`sampling.py`)

    c_s (y_s - x_0) = c_t (y_t - x_0) + sqrt(c_s - c_t) noise

so that c (y - x_0) is Brownian motion in c (stochastic localization: Montanari, arXiv 2305.10690).
All schedules take increments of one path B; with U_t = B(c_t) / sqrt(c_t) and r = c_t / c_s,

    noise of a start at t           U_t
    noise of a move from t to s     (B(c_s) - B(c_t)) / sqrt(c_s - c_t)
                                    = (U_s - sqrt(r) U_t) / sqrt(1 - r)

Each schedule still draws independent standard normal noise, but those with other steps between
arrive at the same places, as far as their x_0 agree; what is left of their difference is due to
their steps, and to starts, which are unit noise alone and leave x_0 out. Were noise drawn for each
timestep that a move departs from, as for one chain, a schedule without that step would go quite
another way. Steps with levels of their own (`literal` masks) have the increments of their
timesteps: the law is the same, but they meet less well.

Where noise does not add up to all of a chain's (DDIM with eta below 1) all chains start from the
same noise, which is what they have most in common then.

The path at a timestep is made by bisection of the timesteps (a Brownian tree: Li et al., arXiv
2001.01328): in about log2(T) draws, fewer where it is followed from step to step.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import sqrt

import torch
from torch import Tensor

from models.noise import INIT, normal
from models.sampling import Sampler
from models.transfer import copied

NOISE = "path"
"""How noise is made: what was scored with noise of another kind is not to be gone on with."""

Move = tuple[int | None, int]
"""The timesteps that a chain departs from, None at its start, and arrives at."""


class Path:
    """U of some images: a Brownian path, each value in units of its standard deviation.

    Args:
        ratios: float64 (T,), c of each timestep, falling; the last one may be 0.
        seed, images, shape: as for `noise.normal`, whose stream is m + 1 for the timestep m, and
            `INIT` for the last one.
    """

    def __init__(
        self, ratios: Tensor, seed: int, images: Tensor | range, shape: tuple[int, ...]
    ) -> None:
        self._ratios = ratios.tolist()
        self._last = len(ratios) - 1
        self._seed, self._images, self._shape = seed, images, shape
        self._met: dict[int, Tensor] = {}

    def at(self, t: int) -> Tensor:
        """U_t, standard normal: float32 (n, *shape). What leads there is kept until the next t."""
        c, last = self._ratios, self._last
        known, self._met = self._met, {}

        def meet(m: int, parts: Mapping[int, float], rest: float) -> None:
            """U_m from those at other timesteps, and of its own what makes its variance 1."""
            value = known.get(m)
            if value is None:
                stream = INIT if m == last else m + 1
                value = rest * normal(self._seed, self._images, stream, self._shape)
                for other, factor in parts.items():
                    value += factor * self._met[other]
            self._met[m] = value

        meet(last, {}, 1.0)
        if t != last:
            meet(0, {last: sqrt(c[last] / c[0])}, sqrt(1 - c[last] / c[0]))
        early, late = last, 0
        while t not in self._met:
            middle = (early + late) // 2
            share = (c[middle] - c[early]) / (c[late] - c[early])
            parts = {
                early: (1 - share) * sqrt(c[early] / c[middle]),
                late: share * sqrt(c[late] / c[middle]),
            }
            meet(middle, parts, sqrt(share * (c[late] - c[middle]) / c[middle]))
            early, late = (middle, late) if middle > t else (early, middle)
        return self._met[t]

    def forget(self) -> None:
        """Lets go of what led to the last t."""
        self._met = {}


class ChainNoise:
    """Noise of one block of images, for moves that are known beforehand.

    Args:
        sampler: that chains move by.
        seed: of the noise.
        images: the block.
        shape: of one image.
        device: where it goes; it is made on the host whatever that is, whose logarithm may end in
            another bit.
        moves: (t, s) of each noise that will be asked for, as often as it will be, t None of a
            start at s: what it takes is kept as long as one of them is to come.

    Raises:
        ValueError: timesteps that do not fall within the chain.
    """

    def __init__(
        self,
        sampler: Sampler,
        seed: int,
        images: range,
        shape: tuple[int, ...],
        device: torch.device | str,
        moves: Iterable[Move],
    ) -> None:
        levels = sampler.alphas_cumprod
        self._ratios = levels / (1 - levels)
        self._path = Path(self._ratios, seed, images, shape)
        self._sampler, self._device = sampler, device
        self._known: dict[int, Tensor] = {}
        self._to_come = Counter(m for move in moves for m in self._needed(*move))

    def take(self, t: int | None, s: int) -> Tensor | None:
        """The noise of one of the moves; None where none is added."""
        values = [self._taken(m) for m in self._needed(t, s)]
        if not self._known:
            self._path.forget()
        if len(values) < 2:
            return values[0] if values else None
        # Factors, not a quotient: of a number from the host a GPU takes the inverse first
        ratio = (self._ratios[t] / self._ratios[s]).item()
        factor = 1 / sqrt(1 - ratio)
        return factor * values[1] - factor * sqrt(ratio) * values[0]

    def _needed(self, t: int | None, s: int) -> tuple[int, ...]:
        """Timesteps whose U the noise of a move is made of."""
        last = len(self._ratios) - 1
        if not 0 <= s <= last or not (t is None or s < t <= last):
            raise ValueError(
                f"noise from t = {t} to {s}; expected falling timesteps in 0 .. {last}"
            )
        if t is not None:
            return (t, s) if self._sampler.adds_noise else ()
        return (s,) if self._sampler.is_ancestral else (last,)

    def _taken(self, m: int) -> Tensor:
        """U_m, which is kept for what is to come."""
        value = self._known.pop(m, None)
        if value is None:
            value = copied(self._path.at(m), self._device)
        self._to_come[m] -= 1
        if self._to_come[m] > 0:
            self._known[m] = value
        return value
