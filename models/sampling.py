"""One reverse move of the diffusion chain, from timestep t to any cleaner timestep s.

    x_0     = (x_t - sqrt(1 - a_t) eps) / sqrt(a_t), clipped to [-1, 1] if asked
    sigma^2 = (1 - a_s) / (1 - a_t) (1 - a_t / a_s)
    DDIM: x_s = sqrt(a_s) x_0 + sqrt(1 - a_s - (eta sigma)^2) eps + eta sigma noise
    DDPM: x_s = sqrt(a_s) (1 - a_t / a_s) / (1 - a_t) x_0
              + sqrt(a_t / a_s) (1 - a_s) / (1 - a_t) x_t + sigma noise

where a_t is `alphas_cumprod[t]` and the last move goes to a = 1. The two agree at eta = 1 until
x_0 is clipped, since DDIM keeps the network's own eps. On evenly spaced grids they are diffusers'
`DDIMScheduler` (leading spacing, `set_alpha_to_one`) and `DDPMScheduler` (`fixed_small`).

DDPM: Ho et al., arXiv 2006.11239, equation 7. DDIM: Song et al., arXiv 2010.02502, equations 12
and 16.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sampler:
    """How a chain moves.

    Attributes:
        kind: "ddim" or "ddpm" (ancestral).
        alphas_cumprod: float64 (T,) on the CPU, falling, in (0, 1).
        eta: noise of DDIM, from 0 (deterministic) to 1; of no meaning to "ddpm".
        clip_sample: clip the predicted x_0 to [-1, 1].

    Raises:
        ValueError: unknown kind, or eta outside [0, 1].
    """

    kind: Literal["ddim", "ddpm"]
    alphas_cumprod: Tensor
    eta: float = 0.0
    clip_sample: bool = True

    def __post_init__(self) -> None:
        if self.kind not in ("ddim", "ddpm"):
            raise ValueError(f"sampler is {self.kind!r}; expected 'ddim' or 'ddpm'")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}; expected 0 to 1")

    @property
    def adds_noise(self) -> bool:
        """Whether a move needs noise, except the last one of a chain, which never does."""
        return self.kind == "ddpm" or self.eta > 0

    def move(
        self, x_t: Tensor, eps: Tensor, t: int, s: int | None, noise: Tensor | None = None
    ) -> Tensor:
        """Move from timestep t to s. Every image moves by itself, to the bit.

        Args:
            x_t: float32 (n, ...), the state at t.
            eps: like x_t, the network's prediction of the noise in it.
            t: in 0 .. T - 1.
            s: in 0 .. t - 1, or None for a_s = 1.
            noise: like x_t, standard normal; needed if `adds_noise` and s is a timestep.

        Returns:
            x_s, like x_t.

        Raises:
            ValueError: timesteps that do not fall within the chain, or noise that is missing.
        """
        a_t, a_s = self._levels(t, s)
        x_0 = (x_t - sqrt(1 - a_t) * eps) / sqrt(a_t)
        if self.clip_sample:
            x_0 = x_0.clamp(-1, 1)
        variance = (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
        if self.kind == "ddpm":
            mean = (
                sqrt(a_s) * (1 - a_t / a_s) / (1 - a_t) * x_0
                + sqrt(a_t / a_s) * (1 - a_s) / (1 - a_t) * x_t
            )
        else:
            variance = self.eta**2 * variance
            mean = sqrt(a_s) * x_0 + sqrt(1 - a_s - variance) * eps
        if variance == 0:
            return mean
        if noise is None:
            raise ValueError(f"the move from t = {t} to {s} adds noise, and none was given")
        return mean + sqrt(variance) * noise

    def _levels(self, t: int, s: int | None) -> tuple[float, float]:
        """The cumulative alphas of a move's two ends."""
        num_timesteps = len(self.alphas_cumprod)
        if t not in range(num_timesteps) or not (s is None or s in range(t)):
            raise ValueError(
                f"a move from t = {t} to {s}; expected falling timesteps "
                f"in 0 .. {num_timesteps - 1}"
            )
        return self.alphas_cumprod[t].item(), 1.0 if s is None else self.alphas_cumprod[s].item()
