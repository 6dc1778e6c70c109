"""What the kept timesteps of a chain cost: its negative ELBO, and the best subset of a size.

A chain of levels a_1 > a_2 > .. > a_K (cleanest first; a for alpha_cumprod, SNR = a / (1 - a))
has, in nats per dimension (VDM: Kingma et al. 2021, arXiv 2107.00630, equations 11 to 14 and 17),

    moves           1/2 (SNR(a_{k-1}) / SNR(a_k) - 1) e(a_k)    for k = 2 .. K
    reconstruction  1/2 e(a_1) + 1/2 log(2 pi / SNR(a_1))
    prior           1/2 (a_K x_0^2 - a_K - log(1 - a_K))

where e(a) is the mean of (eps - predicted eps)^2 at that level, and the decoder of the last move
is a Gaussian about the predicted x_0 with variance 1 / SNR(a_1). It is exact for any kept subset,
for e depends on the level alone, as long as the network is told the level.

Which levels a mask gives is its form:

    respaced: kept timesteps keep their level (improved DDPM: Nichol and Dhariwal 2021)
    literal:  a_t = product of (1 - beta_i) over the kept i <= t; what is skipped adds no noise
              (EDDPM: Zhang et al., ICML 2024)

In the respaced form the ELBO is a sum over neighbours, so that dynamic programming finds the best
subset of every size (Watson et al. 2021, arXiv 2106.03802).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

FORMS = ("respaced", "literal")


def mask_levels(masks: Tensor, alphas_cumprod: Tensor, form: str) -> Tensor:
    """Level of each candidate under each mask; only those of kept ones mean something.

    Args:
        masks: bool (M, S), candidates by rising t.
        alphas_cumprod: float64 (S,) of the candidates, falling in (0, 1).
        form: "respaced" or "literal".

    Returns:
        float64 (M, S).

    Raises:
        ValueError: another form.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; expected one of {', '.join(FORMS)}")
    if form == "respaced":
        return alphas_cumprod.expand(masks.shape)
    before = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
    return torch.where(masks, alphas_cumprod / before, 1.0).cumprod(dim=1)


def snr(levels: Tensor) -> Tensor:
    """a / (1 - a)."""
    return levels / (1 - levels)


def negative_elbo(
    masks: Tensor, levels: Tensor, errors: Tensor, second_moment: float
) -> Tensor:
    """The chain's cost under each mask, in nats per dimension.

    Args:
        masks: bool (M, S), each with at least one step.
        levels: float64 (M, S), of `mask_levels`.
        errors: float64 (M, S), e at these levels.
        second_moment: mean of x_0^2 over images and dimensions.

    Returns:
        float64 (M,).
    """
    place = torch.arange(masks.shape[1])
    kept = torch.where(masks, place, -1).cummax(dim=1).values
    cleaner = torch.cat([torch.full_like(kept[:, :1], -1), kept[:, :-1]], dim=1)
    signal = snr(levels)
    ratio = signal.gather(1, cleaner.clamp(min=0)) / signal
    move = (ratio - 1) / 2 * errors
    first = reconstruction(levels, errors)
    terms = torch.where(cleaner < 0, first, move)
    total = torch.where(masks, terms, 0.0).sum(dim=1)
    return total + prior(levels.gather(1, kept[:, -1:])[:, 0], second_moment)


def reconstruction(levels: Tensor, errors: Tensor) -> Tensor:
    """Cost of the last move, from the cleanest kept level to the image."""
    return errors / 2 + torch.log(2 * math.pi / snr(levels)) / 2


def prior(levels: Tensor, second_moment: float) -> Tensor:
    """Cost of starting at a level from unit noise."""
    return (levels * second_moment - levels - torch.log1p(-levels)) / 2


def best_subsets(
    levels: Tensor, errors: Tensor, second_moment: float, sizes: Sequence[int]
) -> dict[int, tuple[Tensor, float]]:
    """The subsets of least negative ELBO in the respaced form, by dynamic programming.

    Args:
        levels: float64 (S,), falling in (0, 1).
        errors: float64 (S,) at these.
        second_moment: see `negative_elbo`.
        sizes: numbers of steps, 1 to S.

    Returns:
        For each size the mask, bool (S,), and its cost.

    Raises:
        ValueError: a size that no subset has.
    """
    count = len(levels)
    if not all(1 <= size <= count for size in sizes):
        raise ValueError(f"sizes are {list(sizes)}; expected 1 to {count}")
    signal = snr(levels)
    moves = (signal / signal[:, None] - 1) / 2 * errors[:, None]  # [t, s]
    place = torch.arange(count)
    moves = torch.where(place < place[:, None], moves, math.inf)
    cost, ends = reconstruction(levels, errors), prior(levels, second_moment)
    parents: list[Tensor] = []
    found = {}
    for size in range(1, max(sizes) + 1):
        if size > 1:
            cost, parent = (moves + cost).min(dim=1)
            parents.append(parent)
        if size in sizes:
            total, last = (cost + ends).min(dim=0)
            mask, t = torch.zeros(count, dtype=torch.bool), int(last)
            for parent in reversed(parents):
                mask[t] = True
                t = int(parent[t])
            mask[t] = True
            found[size] = (mask, total.item())
    return found


class ErrorCurve:
    """A running estimate of e, the squared error of the predicted eps, over levels.

    What falls between two grid levels counts for the nearer one in log SNR, and is read by linear
    interpolation. Levels that nothing is known of yet are read from their neighbours.

    Attributes:
        sums: float64 (2, S): of errors, and of how many they are.

    Args:
        levels: float64 (S,), the grid, falling in (0, 1).
        memory: what an update keeps of the sums: 1 for a fixed network, less for one that learns.
    """

    def __init__(self, levels: Tensor, memory: float = 1.0) -> None:
        self._log_snr = snr(levels).log().flip(0)  # rising
        self.memory = memory
        self.sums = torch.zeros(2, len(levels), dtype=torch.float64)

    def tally(self, levels: Tensor, errors: Tensor, counts: Tensor | None = None) -> Tensor:
        """What these rows add to `sums`: float64 (2, S).

        Args:
            levels: float64 (n,).
            errors: (n,), mean over dimensions of (eps - predicted eps)^2.
            counts: float64 (n,), how much each counts, as where not all have as many dimensions;
                None for 1.
        """
        place = snr(levels).log()
        middles = (self._log_snr[1:] + self._log_snr[:-1]) / 2
        index = len(self._log_snr) - 1 - torch.searchsorted(middles, place)
        added = torch.zeros_like(self.sums)
        counts = torch.ones_like(place) if counts is None else counts
        added[0].index_add_(0, index, errors.double() * counts)
        added[1].index_add_(0, index, counts)
        return added

    def add(self, added: Tensor) -> None:
        """Takes in what `tally` gave, perhaps summed over workers."""
        self.sums = self.memory * self.sums + added

    def __call__(self, levels: Tensor) -> Tensor:
        """e at these levels, float64 of their shape.

        Raises:
            ValueError: nothing has been taken in.
        """
        total, count = self.sums.flip(1)
        known = count > 0
        if not known.any():
            raise ValueError("an error curve without observations; expected at least one")
        return _interpolated(
            snr(levels).log(), self._log_snr[known], total[known] / count[known]
        )


def _interpolated(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear through (places, values), constant beyond; places rise."""
    if len(places) == 1:
        return values.expand(x.shape).clone()
    right = torch.searchsorted(places, x.contiguous()).clamp(1, len(places) - 1)
    low, high = places[right - 1], places[right]
    share = ((x - low) / (high - low)).clamp(0, 1)
    return values[right - 1] + share * (values[right] - values[right - 1])
