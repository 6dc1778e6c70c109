"""The forward chain: noise levels and noisy images (Ho et al. 2020, arXiv 2006.11239, equation 4).

x_t = sqrt(alpha_cumprod_t) x_0 + sqrt(1 - alpha_cumprod_t) eps, with alpha_cumprod_t = prod_{i <=
t} (1 - beta_i) and eps from N(0, I). Timestep t = 0 .. T - 1; 0 is the cleanest.

The betas have diffusers' names: "linear" from 1e-4 to .02, or "squaredcos_cap_v2", the cosine of
Nichol & Dhariwal (arXiv 2102.09672, equation 17); or "quadratic" from 1e-4 to .5, which is CSDI's
(Tashiro et al., arXiv 2107.03502, section 6.1) for its 50 timesteps.
"""

import math

import torch
from torch import Tensor


def noise_levels(
    num_train_timesteps: int, betas: str, rescale_zero_terminal_snr: bool = False
) -> Tensor:
    """alphas_cumprod of a chain: float64 (T,), falling in (0, 1), the last one 0 if rescaled.

    Args:
        num_train_timesteps: T.
        betas: "linear", "squaredcos_cap_v2" or "quadratic".
        rescale_zero_terminal_snr: see `zero_terminal`.

    Raises:
        ValueError: no timesteps, or betas of another name.
    """
    makers = {
        "linear": linear_betas,
        "squaredcos_cap_v2": cosine_betas,
        "quadratic": quadratic_betas,
    }
    if betas not in makers:
        raise ValueError(f"betas {betas!r}: expected one of {', '.join(makers)}")
    levels = alphas_cumprod(makers[betas](num_train_timesteps))
    return zero_terminal(levels) if rescale_zero_terminal_snr else levels


def linear_betas(num_train_timesteps: int, start: float = 1e-4, end: float = 0.02) -> Tensor:
    """Variances of the steps, evenly spaced from `start` to `end`: float64 (T,), each in (0, 1).

    Raises:
        ValueError: no timesteps, or not 0 < start <= end < 1.
    """
    if num_train_timesteps < 1:
        raise ValueError(f"num_train_timesteps {num_train_timesteps}: expected at least 1")
    if not 0 < start <= end < 1:
        raise ValueError(f"betas from {start} to {end}: expected 0 < start <= end < 1")
    return torch.linspace(start, end, num_train_timesteps, dtype=torch.float64)


def quadratic_betas(num_train_timesteps: int, start: float = 1e-4, end: float = 0.5) -> Tensor:
    """Squares of evenly spaced roots, from `start` to `end`: float64 (T,), each in (0, 1).

    Raises:
        ValueError: as `linear_betas`.
    """
    linear_betas(num_train_timesteps, start, end)
    ends = math.sqrt(start), math.sqrt(end)
    return torch.linspace(*ends, num_train_timesteps, dtype=torch.float64) ** 2


def cosine_betas(num_train_timesteps: int, largest: float = 0.999) -> Tensor:
    """Variances of the steps, so that the signal's share falls as a squared cosine: float64 (T,).

    beta_t = min(largest, 1 - f(t + 1) / f(t)), f(t) = cos^2((t / T + .008) / 1.008 pi / 2).

    Raises:
        ValueError: no timesteps.
    """
    if num_train_timesteps < 1:
        raise ValueError(f"num_train_timesteps {num_train_timesteps}: expected at least 1")
    t = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
    share = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - share[1:] / share[:-1]).clamp(max=largest)


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Share of the signal's variance left at each timestep: float64 (T,), falling in (0, 1)."""
    return torch.cumprod(1 - betas.double(), 0)


def zero_terminal(alphas_cumprod: Tensor) -> Tensor:
    """Levels of which the last is exactly 0, so that a chain really starts from noise alone.

    The roots are shifted by the last one, and stretched so that the first stays what it was (Lin
    et al., arXiv 2305.08891, algorithm 1).

    Args:
        alphas_cumprod: float64 (T,), falling in (0, 1).

    Raises:
        ValueError: a single timestep, of which nothing would be left.
    """
    if len(alphas_cumprod) < 2:
        raise ValueError("a chain of 1 timestep: expected at least 2 to rescale")
    roots = alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))) ** 2


def timestep_at(levels: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """The timestep, perhaps between two of the chain, that has each level.

    Linear in log SNR between the chain's timesteps; a level beyond its ends has theirs.

    Args:
        levels: float64 of any shape, in (0, 1).
        alphas_cumprod: float64 (T,), falling in (0, 1), the last one perhaps 0.

    Returns:
        float64 in [0, T - 1], like `levels`; the chain's own levels give whole numbers.
    """
    log_snr = torch.logit(alphas_cumprod)
    count = len(log_snr)
    place = torch.logit(levels).contiguous()
    right = (count - torch.searchsorted(log_snr.flip(0), place)).clamp(1, max(count - 1, 1))
    if count == 1:
        return torch.zeros_like(place)
    before, after = log_snr[right - 1], log_snr[right]
    share = ((before - place) / (before - after)).clamp(0, 1)
    return right - 1 + share


def add_noise(x_0: Tensor, eps: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """x_t of each row.

    Args:
        x_0: (n, ...) float, clean.
        eps: (n, ...) float, standard normal.
        alpha_cumprod: (n,) float64 in [0, 1], the level of each row.

    Returns:
        (n, ...) of x_0's dtype; the roots are taken in the dtype of `alpha_cumprod`.
    """
    level = alpha_cumprod.view(-1, *(1,) * (x_0.ndim - 1))
    return level.sqrt().to(x_0.dtype) * x_0 + (1 - level).sqrt().to(x_0.dtype) * eps


def velocity(x_0: Tensor, eps: Tensor, alpha_cumprod: Tensor) -> Tensor:
    """v = sqrt(a) eps - sqrt(1 - a) x_0 of each row (Salimans & Ho, arXiv 2202.00512).

    Arguments and result as those of `add_noise`.
    """
    return add_noise(eps, -x_0, alpha_cumprod)
