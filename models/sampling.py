"""One reverse move of the diffusion chain, from timestep t to any cleaner timestep s.

A network predicts the noise eps, or the velocity v = sqrt(a_t) eps - sqrt(1 - a_t) x_0:

    epsilon:      x_0 = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t)
    v_prediction: x_0 = sqrt(a_t) x_t - sqrt(1 - a_t) v,   eps = sqrt(a_t) v + sqrt(1 - a_t) x_t

where a_t is `alphas_cumprod[t]`; the last move goes to a = 1. x_0 is clipped to [-1, 1] if asked.
With sigma = sqrt(1 - a) / sqrt(a), lambda = -log sigma, and the step before at timestep r:

    variance = (1 - a_s) / (1 - a_t) (1 - a_t / a_s)
    ddim: x_s = sqrt(a_s) x_0 + sqrt(1 - a_s - eta^2 variance) eps + eta sqrt(variance) noise
    ddpm: x_s = sqrt(a_s) (1 - a_t / a_s) / (1 - a_t) x_0
              + sqrt(a_t / a_s) (1 - a_s) / (1 - a_t) x_t + sqrt(variance) noise
    dpmsolver++2m: x_s = sqrt((1 - a_s) / (1 - a_t)) x_t + sqrt(a_s) (1 - sigma_s / sigma_t) D,
              D = x_0 + (lambda_s - lambda_t) / (lambda_t - lambda_r) / 2 (x_0 - x_0 at r)

The first and the last move of dpmsolver++2m are of the first order, D = x_0, which is DDIM's. DDIM
and DDPM agree at eta = 1 until x_0 is clipped, since DDIM keeps the network's own eps.

On their own grids these are diffusers' `DDIMScheduler` (`set_alpha_to_one`), `DDPMScheduler`
(`fixed_small`) and `DPMSolverMultistepScheduler` (its defaults `dpmsolver++`, order 2, `midpoint`,
`final_sigmas_type="zero"`; to clip, `thresholding=True, sample_max_value=1.0`); DDIM's only where
the number of steps S divides T, since its moves go floor(T / S) timesteps down whatever the grid.

DDPM: Ho et al., arXiv 2006.11239, equation 7. DDIM: Song et al., arXiv 2010.02502, equations 12
and 16. DPM-Solver++: Lu et al., arXiv 2211.01095, algorithm 2. v: Salimans & Ho, arXiv 2202.00512,
appendix D.
"""

from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.diffusion import timestep_at

KINDS = ("ddim", "ddpm", "dpmsolver++2m")
PREDICTIONS = ("epsilon", "v_prediction")


class History(NamedTuple):
    """What a multistep solver remembers of the step before.

    Attributes:
        x_0: like x_t, as it was predicted there.
        t: its timestep.
        a_t: its level, where that is not the chain's at t.
    """

    x_0: Tensor
    t: int
    a_t: float | None = None


@dataclass(frozen=True, eq=False)
class Sampler:
    """How a chain moves.

    Attributes:
        kind: "ddim", "ddpm" (ancestral) or "dpmsolver++2m" (second order, multistep).
        alphas_cumprod: float64 (T,) on the CPU, falling, in (0, 1), the last one perhaps 0.
        eta: noise of DDIM, from 0 (deterministic) to 1; of no meaning to the others.
        clip_sample: clip the predicted x_0 to [-1, 1].
        prediction: what the network predicts, "epsilon" or "v_prediction".

    Raises:
        ValueError: unknown kind or prediction, or eta outside [0, 1].
    """

    kind: Literal["ddim", "ddpm", "dpmsolver++2m"]
    alphas_cumprod: Tensor
    eta: float = 0.0
    clip_sample: bool = True
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"sampler is {self.kind!r}; expected one of {', '.join(KINDS)}")
        if self.prediction not in PREDICTIONS:
            expected = ", ".join(PREDICTIONS)
            raise ValueError(f"prediction is {self.prediction!r}; expected one of {expected}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}; expected 0 to 1")

    @property
    def adds_noise(self) -> bool:
        """Whether a move needs noise, except the last one of a chain, which never does."""
        return self.kind == "ddpm" or (self.kind == "ddim" and self.eta > 0)

    @property
    def is_ancestral(self) -> bool:
        """Whether moves add all the noise that the chain's own would have added."""
        return self.kind == "ddpm" or (self.kind == "ddim" and self.eta == 1)

    @property
    def is_multistep(self) -> bool:
        """Whether a move goes by the step before, too."""
        return self.kind == "dpmsolver++2m"

    def remember(
        self, x_t: Tensor, output: Tensor, t: int, a_t: float | None = None
    ) -> History | None:
        """What the move after the next one needs of a step, if anything; arguments as `move`."""
        if not self.is_multistep:
            return None
        return History(self._x_0(x_t, output, self._level(t, a_t)), t, a_t)

    def move(
        self,
        x_t: Tensor,
        output: Tensor,
        t: int,
        s: int | None,
        noise: Tensor | None = None,
        previous: History | None = None,
        levels: tuple[float | None, float | None] = (None, None),
    ) -> Tensor:
        """Move from timestep t to s. Every image moves by itself, to the bit.

        Args:
            x_t: float32 (n, ...), the state at t.
            output: like x_t, the network's prediction there.
            t: in 0 .. T - 1.
            s: in 0 .. t - 1, or None for a_s = 1.
            noise: like x_t, standard normal; needed if `adds_noise` and s is a timestep.
            previous: what `remember` gave at the step before; None at the first step.
            levels: a_t and a_s, where they are not the chain's at t and s.

        Returns:
            x_s, like x_t.

        Raises:
            ValueError: timesteps that do not fall within the chain, noise that is missing, or eps
                predicted where nothing of x_0 is left (a_t = 0).
        """
        self._check_falling(t, s, previous)
        a_t, a_s = self._level(t, levels[0]), self._level(s, levels[1])
        if not a_t < a_s:
            raise ValueError(f"a move from level {a_t} to {a_s}; expected rising levels")
        x_0 = self._x_0(x_t, output, a_t)
        if self.is_multistep:
            rate = sqrt((1 - a_s) / (1 - a_t))
            if s is not None and previous is not None:
                x_0 = self._extrapolated(x_0, a_t, a_s, previous)
            return rate * x_t + (sqrt(a_s) - rate * sqrt(a_t)) * x_0
        variance = (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
        if self.kind == "ddpm":
            mean = (
                sqrt(a_s) * (1 - a_t / a_s) / (1 - a_t) * x_0
                + sqrt(a_t / a_s) * (1 - a_s) / (1 - a_t) * x_t
            )
        else:
            variance = self.eta**2 * variance
            rest = max(0.0, 1 - a_s - variance)  # where a_t is 0 nothing is left but rounding
            mean = sqrt(a_s) * x_0 + sqrt(rest) * self._eps(x_t, output, a_t)
        if variance == 0:
            return mean
        if noise is None:
            raise ValueError(f"the move from t = {t} to {s} adds noise, and none was given")
        return mean + sqrt(variance) * noise

    def _x_0(self, x_t: Tensor, output: Tensor, a_t: float) -> Tensor:
        if self.prediction == "v_prediction":
            x_0 = sqrt(a_t) * x_t - sqrt(1 - a_t) * output
        elif a_t == 0:
            raise ValueError("no x_0 from a predicted epsilon where alpha_cumprod is 0")
        else:
            x_0 = (x_t - sqrt(1 - a_t) * output) / sqrt(a_t)
        return x_0.clamp(-1, 1) if self.clip_sample else x_0

    def _eps(self, x_t: Tensor, output: Tensor, a_t: float) -> Tensor:
        if self.prediction == "v_prediction":
            return sqrt(a_t) * output + sqrt(1 - a_t) * x_t
        return output

    def _extrapolated(self, x_0: Tensor, a_t: float, a_s: float, previous: History) -> Tensor:
        """x_0 half way between t and s in lambda, along the line through r and t."""
        now = _lambda(a_t)
        share = (_lambda(a_s) - now) / (now - _lambda(self._level(previous.t, previous.a_t))) / 2
        return x_0 + share * (x_0 - previous.x_0)

    def told(self, t: int, a_t: float | None = None) -> int | float:
        """What the network is told at a step: t, or the timestep that has its level."""
        if a_t is None:
            return t
        level = torch.tensor(a_t, dtype=torch.float64)
        return timestep_at(level, self.alphas_cumprod).item()

    def _level(self, t: int | None, a_t: float | None = None) -> float:
        """The cumulative alpha of a timestep, or of the end of the chain."""
        if a_t is not None:
            return a_t
        return 1.0 if t is None else self.alphas_cumprod[t].item()

    def _check_falling(self, t: int, s: int | None, previous: History | None) -> None:
        num_timesteps = len(self.alphas_cumprod)
        past = num_timesteps if previous is None else previous.t
        if t not in range(min(past, num_timesteps)) or not (s is None or s in range(t)):
            after = "" if previous is None else f", after {past}"
            raise ValueError(
                f"a move from t = {t} to {s}{after}; expected falling timesteps "
                f"in 0 .. {num_timesteps - 1}"
            )


def _lambda(alpha_cumprod: float) -> float:
    """Half the logarithm of the signal-to-noise ratio, for a level below 1."""
    if alpha_cumprod == 0:
        return -inf
    return log(alpha_cumprod / (1 - alpha_cumprod)) / 2
