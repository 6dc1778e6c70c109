"""Probabilistic masks over timesteps: drawing them, learning from them, keeping to a budget.

Each of S candidate timesteps is kept with a probability s_t (EDDPM: Zhang et al., ICML 2024, PMLR
235). A mask is drawn in one of two ways, both with exactly these marginal probabilities:

    independent: m_t ~ Bernoulli(s_t), as in the paper
    pivotal:     neighbours in t fight for the mass that they share, so that masks have as many
                 steps as s has mass, spread as s is (ordered pivotal sampling: Deville and Tille
                 1998, "Unequal probability sampling without replacement through a splitting
                 method")

The policy gradient of E[loss] is the mean of (loss - baseline) grad log p(m | s), for independent
bits with the score (m - s) / (s (1 - s)), and as baseline of each mask the mean loss of the others
(leave-one-out: VR-PGE, Zhou et al., NeurIPS 2021). Steps go along the natural gradient, which for
Bernoulli bits is that times the inverse of their Fisher information, the variance s (1 - s):

    s <- project(s - rate * mean of advantage (m - s))

It has no 0/0 where s is 0 or 1: there s does not move until the projection moves it. By masks that
are drawn pivotally it is a heuristic: the step is the natural gradient of every family
p(m) ~ h(m) exp(theta m), but which timesteps may go together changes with s here, so that some
of s goes the wrong way. It is for masks that are dear: a few of them should be spread as s is.

The projection is that of ProbMask (Zhou et al., CVPR 2021): the nearest point of {0 <= s <= 1,
sum(s) <= budget}, found by bisection. The budget falls from S to K along a cubic ramp.
"""

import numpy as np
import torch
from torch import Tensor

from models.noise import uniform_integers

MASKS = 12 << 32
"""Upper half of the noise's seed: no samples of a mask have what masks are drawn by."""

DRAWS = ("pivotal", "independent")

_DENOMINATOR = 2**31
EXPLORES = 0.8

_DECIDED = 0.05
_SLACK = 0.01


def draw_masks(s: Tensor, num_masks: int, *, seed: int, stream: int, draws: str) -> Tensor:
    """Masks, a function of the arguments alone.

    Args:
        s: float64 (S,) in [0, 1], the probability of each timestep, by rising t.
        num_masks: how many, below 2^15.
        seed: in [0, 2**32).
        stream: in [0, 2**32), another one for each time that masks are drawn.
        draws: "independent" or "pivotal".

    Returns:
        bool (num_masks, S); a mask that would keep nothing keeps the likeliest timestep.

    Raises:
        ValueError: another way to draw.
    """
    if draws not in DRAWS:
        raise ValueError(f"draws is {draws!r}; expected one of {', '.join(DRAWS)}")
    positions = range(num_masks * len(s))
    integers = uniform_integers(MASKS + seed, positions, stream, _DENOMINATOR)
    units = (integers.double() / _DENOMINATOR).view(num_masks, len(s))
    masks = units < s if draws == "independent" else _pivotal(s, units)
    empty = ~masks.any(dim=1)
    masks[empty, s.argmax()] = True
    return masks


def _pivotal(s: Tensor, units: Tensor) -> Tensor:
    """The fight of each timestep with the one that is left over from before it, in order of t.

    With a and b left of two: where a + b < 1 one of them is out and the other goes on with a + b;
    else one of them is in, and the other goes on with a + b - 1. Chances keep the marginals.
    """
    numbers, rows = units.numpy(), np.arange(len(units))
    masks = np.zeros(numbers.shape, dtype=bool)
    left, mass = np.zeros(len(units), dtype=np.int64), np.zeros(len(units))
    for t, b in enumerate(s.tolist()):
        both = mass + b
        wins = both >= 1
        # Where none wins, t goes on with chance b / both; where one does, with that of the other
        chance = np.where(wins, (1 - b) / np.maximum(2 - both, 1e-12), b / np.maximum(both, 1e-12))
        goes_on = numbers[:, t] < chance
        masks[rows[wins], np.where(goes_on, left, t)[wins]] = True
        mass = np.where(wins, both - 1, both)
        left = np.where(goes_on, t, left)
    # What is left of the last one is a chance; the first timestep's number has not been used, for
    # it fought nobody
    last = numbers[:, 0] < mass
    masks[rows[last], left[last]] = True
    return torch.from_numpy(masks)


def advantages(losses: Tensor) -> Tensor:
    """What each loss exceeds the mean of the others by: float64 (M,), M at least 2."""
    if len(losses) < 2:
        raise ValueError(f"{len(losses)} mask; expected at least 2, each the others' baseline")
    return (losses - losses.mean()) * (len(losses) / (len(losses) - 1))


def at_equal_count(losses: Tensor, masks: Tensor, slack: float = 0.0) -> Tensor:
    """Losses without what they owe to how many steps a mask has, by linear regression.

    The budget fixes sum(s), and its multiplier times the number of steps is part of what is
    minimised under it: without that part all of s is pushed up at each step, and pushed down again
    by the projection, so that it never decides. Where sum(s) is below the budget the multiplier is
    0 (complementary slackness).

    Args:
        losses: float64 (M,).
        masks: bool (M, S). Of fewer than 4 a slope says nothing; the losses stay as they are.
        slack: what the budget exceeds sum(s) by.
    """
    counts = masks.double().sum(dim=1)
    counts = counts - counts.mean()
    if slack > _SLACK or len(losses) < 4 or not counts.any():
        return losses
    return losses - counts * ((counts * losses).sum() / counts.square().sum())


def standardised(losses: Tensor) -> Tensor:
    """Advantages in units of their spread; all 0 where the losses are equal."""
    found = advantages(losses)
    spread = found.square().mean().sqrt()
    return found / spread if spread > 0 else torch.zeros_like(found)


def ranked(losses: Tensor) -> Tensor:
    """Advantages of the ranks, in units of their spread: outliers count no more than the worst."""
    order = losses.argsort(stable=True).argsort(stable=True)
    return standardised(order.double())


def natural_step(s: Tensor, masks: Tensor, advantage: Tensor, rate: float) -> Tensor:
    """s after a step along the natural gradient, within [0, 1] but not yet within a budget.

    Args:
        s: float64 (S,).
        masks: bool (M, S).
        advantage: float64 (M,), of losses: positive where a mask is worse than the others.
        rate: of the step; with advantages of spread 1, well below 1.
    """
    return (s - rate * (advantage[:, None] * (masks.double() - s)).mean(dim=0)).clamp(0, 1)


def project(z: Tensor, budget: float) -> Tensor:
    """The point nearest to z with 0 <= s <= 1 and sum(s) <= budget: float64 (S,).

    s = min(1, max(0, z - v)) with the v >= 0 at which the budget is met, by bisection.

    Raises:
        ValueError: a budget that is not above 0.
    """
    if not budget > 0:
        raise ValueError(f"budget is {budget}; expected a number above 0")
    if z.clamp(0, 1).sum() <= budget:
        return z.clamp(0, 1)
    low, high = 0.0, z.max().item()
    for _ in range(100):
        v = (low + high) / 2
        low, high = (v, high) if (z - v).clamp(0, 1).sum() > budget else (low, v)
    return (z - high).clamp(0, 1)


def budget_at(share: float, start: float, end: float, most: int, least: int) -> float:
    """The budget once `share` of the iterations is done, from `most` down to `least`.

    least + (most - least) (1 - (share - start) / (end - start))^3 between start and end.

    Raises:
        ValueError: not 0 <= start < end.
    """
    if not 0 <= start < end:
        raise ValueError(f"a ramp from {start} to {end}; expected 0 <= start < end")
    done = min(1.0, max(0.0, (share - start) / (end - start)))
    return least + (most - least) * (1 - done) ** 3


def explored(s: Tensor, share: float) -> Tensor:
    """Probabilities to draw by, so that no timestep is given up, or taken for granted, too early.

    s within [margin, 1 - margin], where the margin falls from 1 / S to 0 at EXPLORES of the
    iterations: at 0 and 1 themselves s would stay for good.

    Args:
        s: float64 (S,).
        share: of the iterations that are done.
    """
    margin = max(0.0, 1 - share / EXPLORES) / len(s)
    return s.clamp(margin, 1 - margin)


def top_k(s: Tensor, num_steps: int) -> Tensor:
    """The mask of the likeliest timesteps: bool (S,); of equal ones the cleaner."""
    mask = torch.zeros(len(s), dtype=torch.bool)
    mask[s.sort(descending=True, stable=True).indices[:num_steps]] = True
    return mask


def undecided(s: Tensor) -> float:
    """Share of the probabilities that are neither nearly 0 nor nearly 1."""
    return ((s > _DECIDED) & (s < 1 - _DECIDED)).double().mean().item()


def blurred(s: Tensor, scale: float) -> Tensor:
    """s spread over its neighbours by a Gaussian of a scale in timesteps; its sum stays."""
    place = torch.arange(len(s), dtype=torch.float64)
    weights = torch.exp(-0.5 * ((place[:, None] - place) / scale) ** 2)
    return (s[:, None] * weights / weights.sum(dim=1, keepdim=True)).sum(dim=0)
