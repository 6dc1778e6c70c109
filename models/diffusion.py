"""The forward chain: noise levels and noisy images (Ho et al. 2020, arXiv 2006.11239, equation 4).

x_t = sqrt(alpha_cumprod_t) x_0 + sqrt(1 - alpha_cumprod_t) eps, with alpha_cumprod_t = prod_{i <=
t} (1 - beta_i) and eps from N(0, I). Timestep t = 0 .. T - 1; 0 is the cleanest.
"""

import torch
from torch import Tensor


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


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Share of the signal's variance left at each timestep: float64 (T,), falling in (0, 1)."""
    return torch.cumprod(1 - betas.double(), 0)


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
