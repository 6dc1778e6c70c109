"""What a chain of steps makes of Gaussian data, exactly, and how far that is from the data.

For data of variance v in some direction, and mean m, the best denoiser is linear,

    E[x_0 | x_t] = m + sqrt(a) v / (a v + 1 - a) (x_t - sqrt(a) m)

with a = alpha_cumprod. So every move is linear, what a chain ends with is Gaussian too, and its
squared 2-Wasserstein distance from the data is known: per direction the square of the difference
of standard deviations, and that of means, which differ since chains start from N(0, I) and not
from what noise leaves of the mean (Pierret & Galerne, arXiv 2405.14250).

Real data are no Gaussians, but which steps a chain can spare hangs, for the most part, on how fast
what it knows changes from level to level, and that a network's errors tell (`spectrum.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from models.sampling import History, Sampler
from models.spectrum import Spectrum
from models.states import Step

MOST_MAPS = 2**15
"""Moves that are kept before all are forgotten."""


class GaussianChain:
    """Schedules on Gaussian data.

    Args:
        sampler: how it moves; clipping, which is not linear, is left out.
        data: what they are.
    """

    def __init__(self, sampler: Sampler, data: Spectrum) -> None:
        self._sampler = replace(sampler, clip_sample=False)
        self._variances = data.variances
        self._deviations, self._means = data.variances.sqrt().numpy(), data.means.numpy()
        weights = data.shares / (data.shares * data.variances).sum()
        self._weights = weights.numpy()
        self._maps: dict[tuple[Step | None, ...], np.ndarray] = {}

    def loss(self, steps: Sequence[Step]) -> float:
        """Squared distance of what comes out from the data, as a share of their variance.

        Args:
            steps: (t, width[, level]) each, noisiest first.
        """
        scale, added = self._moments(steps)
        missed = (self._deviations - np.sqrt(scale**2 + added)) ** 2
        shifted = self._level(steps[0]) * (scale * self._means) ** 2
        return float(self._weights @ (missed + shifted))

    def _moments(self, steps: Sequence[Step]) -> tuple[np.ndarray, np.ndarray]:
        """What the first noise is scaled by (n,), and the variance (n,) of what is added."""
        scale = np.ones_like(self._deviations)
        added, x_0 = np.zeros_like(scale), np.zeros_like(scale)
        before: Step | None = None
        for step, end in zip(steps, [*steps[1:], None], strict=True):
            of_state, of_x_0, of_noise, predicted = self._map(before, step, end)
            scale, x_0 = of_state * scale + of_x_0 * x_0, predicted * scale
            added = of_state**2 * added + of_noise**2
            before = step if self._sampler.is_multistep else None
        return scale, added

    def _map(self, before: Step | None, step: Step, end: Step | None) -> np.ndarray:
        """`_linear`, of which many schedules share moves."""
        key = before, step, end
        if key not in self._maps:
            if len(self._maps) == MOST_MAPS:
                self._maps.clear()
            self._maps[key] = self._linear(*key)
        return self._maps[key]

    def _linear(self, before: Step | None, step: Step, end: Step | None) -> np.ndarray:
        """Factors (4, n): of the state, of x_0 at the step before, and of noise; and of x_0 here.

        Moves are linear: the sampler itself moves unit vectors.
        """
        variances, level = self._variances, self._level(step)
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
        factors = (
            moved(one, zero, zero),
            zero if before is None else moved(zero, zero, one),
            moved(zero, one, zero) if adds else zero,
            of_x_0,
        )
        return torch.stack(factors).numpy()

    def _level(self, step: Step) -> float:
        own = _own(step)
        return self._sampler.alphas_cumprod[step[0]].item() if own is None else own


def _own(step: Step) -> float | None:
    """The level of a step, where that is not the chain's."""
    return step[2] if len(step) > 2 else None
