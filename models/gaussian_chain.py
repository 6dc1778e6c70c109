"""What a chain of steps makes of Gaussian data, exactly, and how far that is from the data.

For data of variance v in some direction, and mean m, the best denoiser is linear,

    E[x_0 | x_t] = m + sqrt(a) v / (a v + 1 - a) (x_t - sqrt(a) m)
    e(a) = E (eps - E[eps | x_t])^2 = a v / (a v + 1 - a)

with a = alpha_cumprod. So every move is linear, what a chain ends with is Gaussian too, and its
squared 2-Wasserstein distance from the data is known: per direction the square of the difference
of standard deviations, and that of means, which differ since chains start from N(0, I) and not
from what noise leaves of the mean (Pierret & Galerne, arXiv 2405.14250).

Real data are no Gaussians, but which steps a chain can spare hangs, for the most part, on how fast
what it knows changes from level to level, and that is what e tells of a network. So the spectrum,
which share of the dimensions has which variance, is taken from the measured e: it is the mixture
of the curves above that comes nearest. No network call is needed beyond those of the ELBO.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import sqrt

import torch
from scipy.optimize import nnls
from torch import Tensor

from models.sampling import History, Sampler

Step = tuple[int, float] | tuple[int, float, float]
"""(t, width), and the level where that is not the chain's."""

VARIANCES = torch.logspace(-5, 4, 73, dtype=torch.float64)
"""What a spectrum is made of; those of an image's coarsest waves are as its number of pixels."""
EXACT = 1e3
"""Weight of what holds beside the errors."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """How the variance of data is spread.

    Args:
        variances: float64 (n,), each above 0.
        shares: float64 (n,), of the dimensions that have it; their sum is 1.
        means: float64 (n,), root mean square of the mean in these dimensions.
    """

    variances: Tensor
    shares: Tensor
    means: Tensor


def spectrum_of(levels: Tensor, errors: Tensor, second_moment: float) -> Spectrum:
    """The spectrum whose e comes nearest to a measured one, by least squares of their ratio.

    A network misses more than the best denoiser: by a floor, the same at all levels, which would
    look like a great variance where there is most noise. What is left of the second moment is the
    mean's; it is shared out as the variance is.

    Args:
        levels: float64 (S,), in (0, 1).
        errors: float64 (S,), e at these, above 0.
        second_moment: mean of x_0^2 over data and dimensions.
    """
    count = len(VARIANCES)
    one, none = torch.ones(1, count, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    of_mean, of_floor = none.expand(len(levels), 1), 1 + none.expand(len(levels), 1)
    errors = errors.clamp(min=torch.finfo(torch.float64).eps)
    of_errors = torch.cat([error(levels[:, None], VARIANCES), of_mean, of_floor], dim=1)
    unknowns = [
        of_errors / errors[:, None],
        EXACT * torch.cat([one, none, none], dim=1),
        EXACT / second_moment * torch.cat([VARIANCES[None], 1 + none, none], dim=1),
    ]
    known = torch.cat([torch.ones_like(errors), EXACT * one[0, :1], EXACT * one[0, :1]])
    found = torch.from_numpy(nnls(torch.cat(unknowns).numpy(), known.numpy())[0])
    shares, mean_power = found[:count], found[count].item()
    has = shares > 0
    shares, variances = shares[has] / shares.sum(), VARIANCES[has]
    variance = (shares * variances).sum()
    return Spectrum(variances, shares, (variances * mean_power / variance).sqrt())


def error(level: Tensor, variance: Tensor) -> Tensor:
    """e of Gaussian data."""
    return level * variance / (level * variance + 1 - level)


class GaussianChain:
    """Schedules on Gaussian data.

    Args:
        sampler: how it moves; clipping, which is not linear, is left out.
        data: what they are.
    """

    def __init__(self, sampler: Sampler, data: Spectrum) -> None:
        self._sampler = replace(sampler, clip_sample=False)
        self._data = data
        self._map = lru_cache(maxsize=2**15)(self._linear)

    def loss(self, steps: Sequence[Step]) -> float:
        """Squared distance of what comes out from the data, as a share of their variance.

        Args:
            steps: (t, width[, level]) each, noisiest first.
        """
        data = self._data
        scale, added = self.moments(steps)
        missed = (data.variances.sqrt() - (scale.square() + added).sqrt()).square()
        shifted = self._level(steps[0]) * (scale * data.means).square()
        whole = (data.shares * data.variances).sum()
        return ((data.shares * (missed + shifted)).sum() / whole).item()

    def moments(self, steps: Sequence[Step]) -> tuple[Tensor, Tensor]:
        """What the first noise is scaled by (n,), and the variance (n,) of what is added."""
        scale = torch.ones_like(self._data.variances)
        added, x_0 = torch.zeros_like(scale), torch.zeros_like(scale)
        before: Step | None = None
        for step, end in zip(steps, [*steps[1:], None], strict=True):
            of_state, of_x_0, of_noise, predicted = self._map(before, step, end)
            scale, x_0 = of_state * scale + of_x_0 * x_0, predicted * scale
            added = of_state.square() * added + of_noise.square()
            before = step if self._sampler.is_multistep else None
        return scale, added

    def _linear(self, before: Step | None, step: Step, end: Step | None) -> tuple[Tensor, ...]:
        """Factors (n,) of a move: of the state, of x_0 at the step before, of noise; and of x_0.

        Moves are linear: the sampler itself moves unit vectors.
        """
        variances, level = self._data.variances, self._level(step)
        of_x_0 = sqrt(level) * variances / (level * variances + 1 - level)
        of_eps = sqrt(1 - level) / (level * variances + 1 - level)
        output = of_eps
        if self._sampler.prediction == "v_prediction":
            output = sqrt(level) * of_eps - sqrt(1 - level) * of_x_0
        one, zero = torch.ones_like(variances), torch.zeros_like(variances)
        levels = (_own(step), None if end is None else _own(end))

        def moved(x_t: Tensor, noise: Tensor, x_0: Tensor) -> Tensor:
            past = None if before is None else History(x_0, before[0], _own(before))
            to = None if end is None else end[0]
            return self._sampler.move(x_t, output * x_t, step[0], to, noise, past, levels)

        adds = self._sampler.adds_noise and end is not None
        return (
            moved(one, zero, zero),
            zero if before is None else moved(zero, zero, one),
            moved(zero, one, zero) if adds else zero,
            of_x_0,
        )

    def _level(self, step: Step) -> float:
        own = _own(step)
        return self._sampler.alphas_cumprod[step[0]].item() if own is None else own


def _own(step: Step) -> float | None:
    """The level of a step, where that is not the chain's."""
    return step[2] if len(step) > 2 else None
