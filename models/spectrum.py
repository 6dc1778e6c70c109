"""How the variance of data is spread, as the errors of a network tell.

Of Gaussian data of variance v the error of the best prediction of eps at a level a is

    e(a) = E (eps - E[eps | x_t])^2 = a v / (a v + 1 - a)

so that a measured e, as a mixture of such curves, says which share of the dimensions has which
variance: a small one is hidden by little noise, a great one is seen through much.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import nnls
from torch import Tensor

VARIANCES = torch.logspace(-5, 4, 73, dtype=torch.float64)
"""What a spectrum is made of; those of an image's coarsest waves are as its number of pixels."""
EXACT = 1e3
"""Weight of what holds beside the errors."""
LEAST = 1e-6
"""Of the largest error: smaller ones are left out, for their ratio would outweigh all else."""


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
        errors: float64 (S,), e at these.
        second_moment: mean of x_0^2 over data and dimensions.

    Raises:
        ValueError: an error that is not finite.
    """
    if not errors.isfinite().all():
        raise ValueError("an error that is no number; expected finite ones")
    seen = errors > LEAST * errors.max()
    levels, errors = levels[seen], errors[seen]
    second_moment = max(second_moment, VARIANCES[0].item())
    count = len(VARIANCES)
    one, none = torch.ones(1, count, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    of_mean, of_floor = none.expand(len(levels), 1), 1 + none.expand(len(levels), 1)
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
