"""Learning s from generated quality: a few samples under each mask, scored by the engine.

For one number of steps: the first masks are known spacings and what the ELBO has found; s becomes
their mean, better ones weighing more, blurred over neighbours. Then, round by round, masks are
drawn by s, scored on the same fresh noise, and s steps along the natural gradient, by the ranks of
their qualities. The best of the first masks is scored in every round, so that what was met in
different rounds can be compared, and the leader so far too, so that one that was only lucky falls
back. In the end the likeliest steps and the best masks that were met are compared once more on
fresh noise, by what the budget has left, and the best of them by all that is known is the result
(ProbMask, Zhou et al., CVPR 2021, ends by drawing masks and keeping the best).

What is counted are network calls x images, those of shared first steps once.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from models.masking import (
    at_equal_count,
    blurred,
    draw_masks,
    natural_step,
    project,
    ranked,
    top_k,
)
from orchestration.errors import ConfigError
from orchestration.mask_plan import Chain, indices
from orchestration.mask_rounds import Kept, Round, Rounds, Scores, winner
from orchestration.search_sections import Mask
from search_spaces.spacing import known_grids, nearest

SEED = 14 << 32
"""Upper half of the seed of the noise that masks are scored on."""

ROUNDS = 2  # that a budget should allow beside the first, before masks get more images
ENOUGH_IMAGES = 12  # before there are rounds beside the first one and the last one
LEAST_IMAGES = 4
LEAST_ROUNDS = 10  # masks of the first round and the last one, with two finalists
FINALISTS = 4
FINAL_SHARE = 0.25  # of the budget
STREAMS = 2**20  # of masks, of one number of steps


def num_images(settings: Mask, num_steps: int, budget: int) -> int:
    """Images a mask: `mask.num_images`, or fewer where the budget allows too few rounds.

    Of too few images a round says so little that two more of them are worth less than telling
    apart what is known.
    """
    masks = (ROUNDS + 1) * (_masks_a_round(settings) + 1)
    most = int((1 - FINAL_SHARE) * budget) // (masks * num_steps)
    most = max(most, min(ENOUGH_IMAGES, budget // (LEAST_ROUNDS * num_steps)))
    return max(LEAST_IMAGES, min(settings.num_images, most) // 2 * 2)


def check_budget(settings: Mask, budget: int) -> None:
    """ConfigError where the calls for a number of steps pay for no first and last round."""
    least = LEAST_ROUNDS * LEAST_IMAGES * max(settings.steps)
    if budget < least:
        raise ConfigError(
            f"mask.evaluations: {budget:,} are left to judge masks of each of"
            f" {len(settings.steps)} numbers of steps by, expected at least {least:,} for"
            f" {max(settings.steps)} steps: more evaluations, or fewer or smaller mask.steps"
        )


def refine(
    settings: Mask,
    chain: Chain,
    num_steps: int,
    budget: int,
    score: Scores,
    found: Kept | None = None,
    earlier: Sequence[Round] = (),
    most: int | None = None,
) -> Iterator[tuple[Round, Tensor]]:
    """Yields round after round, and s (S,) after each; the last is of the kind "final".

    Args:
        settings: `mask` of the configuration.
        chain: the candidates.
        num_steps: K.
        budget: network calls x images.
        score: what asks for samples.
        found: the mask that the ELBO has found, if it was asked.
        earlier: rounds of an interrupted run, which are not scored again.
        most: images that there are, as of validation windows; None where samples have no end.

    Raises:
        DataError: the earlier rounds are not those of this learning.
    """
    images = num_images(settings, num_steps, budget)
    rounds = Rounds(chain, num_steps, score, earlier)

    def take(kind: str, masks: Sequence[Kept], count: int) -> Round:
        seed = SEED + (settings.seed * 1009 + num_steps * 4093 + rounds.count) % 2**32
        return rounds.take(kind, masks, seed, count)

    first = take("known", _known(chain, num_steps, found), images)
    met = _Met(first)
    s = _mean_of(first, chain, num_steps)
    yield first, s
    while True:
        masks = draw_masks(
            s, _masks_a_round(settings),
            seed=settings.seed, stream=num_steps * STREAMS + rounds.count, draws=settings.draws,
        )  # fmt: skip
        drawn = [indices(mask) for mask in masks]
        distinct = list(dict.fromkeys([met.anchor, met.leaders(num_steps)[0], *drawn]))
        calls = images * rounds.calls(distinct)
        if len(set(drawn)) < 2 or rounds.spent + calls > (1 - FINAL_SHARE) * budget:
            break
        scored = take("drawn", distinct, images)
        met.add(scored)
        s = _stepped(s, masks, scored, settings, num_steps)
        yield scored, s
    leaders = met.leaders(num_steps)
    likeliest = indices(top_k(s, num_steps))
    finalists = list(dict.fromkeys([met.anchor, likeliest, *leaders]))[:FINALISTS]
    while len(finalists) > 2 and rounds.spent + images * num_steps * len(finalists) > budget:
        finalists.pop()
    rest = (budget - rounds.spent) // rounds.calls(finalists)
    rest = rest if most is None else min(rest, most)
    yield take("final", finalists, max(1, rest // images) * images), s


class _Met:
    """Masks that were met, by their distances from the best of the first round on the same noise.

    Attributes:
        anchor: that one, which is scored in every round.
    """

    def __init__(self, first: Round) -> None:
        self.anchor = winner(first)
        self._sums: dict[Kept, tuple[float, int]] = {}  # over images, and how many
        self.add(first)

    def add(self, scored: Round) -> None:
        against = scored.qualities[scored.masks.index(self.anchor)]
        for mask, quality in zip(scored.masks, scored.qualities, strict=True):
            total, count = self._sums.get(mask, (0.0, 0))
            total += scored.num_images * (quality - against)
            self._sums[mask] = total, count + scored.num_images

    def leaders(self, num_steps: int) -> list[Kept]:
        """Those of at most so many steps, the best first."""
        mean = {mask: total / count for mask, (total, count) in self._sums.items()}
        return sorted((mask for mask in mean if len(mask) <= num_steps), key=mean.__getitem__)


def best_of(rounds: Sequence[Round]) -> Kept:
    """The best mask of the last of all rounds, by all of them."""
    met = _Met(rounds[0])
    for scored in rounds[1:]:
        met.add(scored)
    last = rounds[-1]
    return next(mask for mask in met.leaders(last.num_steps) if mask in last.masks)


def _stepped(
    s: Tensor, masks: Tensor, scored: Round, settings: Mask, num_steps: int
) -> Tensor:
    """s after a step along the natural gradient by the ranks of the drawn masks' qualities."""
    of_mask = dict(zip(scored.masks, scored.qualities, strict=True))
    losses = torch.tensor([of_mask[indices(mask)] for mask in masks], dtype=torch.float64)
    slack = num_steps - s.sum().item()
    advantage = ranked(at_equal_count(losses, masks, slack))
    return project(natural_step(s, masks, advantage, min(1.0, 3 * settings.rate)), num_steps)


def _masks_a_round(settings: Mask) -> int:
    return max(4, settings.masks // 2)


def _known(chain: Chain, num_steps: int, found: Kept | None) -> list[Kept]:
    """First masks, each once."""
    grids = known_grids(len(chain.alphas_cumprod), num_steps).values()
    known = [tuple(nearest(chain.timesteps, grid)) for grid in grids]
    return list(dict.fromkeys([*([] if found is None else [found]), *known]))


def _mean_of(first: Round, chain: Chain, num_steps: int) -> Tensor:
    """s from the first masks: weights fall with the logarithm of the rank, to 0 at the middle."""
    order = sorted(range(len(first.masks)), key=lambda i: first.qualities[i])
    ranks = torch.arange(1, len(order) + 1, dtype=torch.float64)
    weights = (torch.tensor(len(order) / 2 + 1).log() - ranks.log()).clamp(min=0)
    weights = weights / weights.sum()
    masks = torch.stack([chain.mask(first.masks[i]).double() for i in order])
    mean = (weights[:, None] * masks).sum(dim=0)
    return project(blurred(mean, len(chain.timesteps) / (4 * num_steps)), num_steps)
