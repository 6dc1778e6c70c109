"""Learning s from generated quality: a few samples under each mask, scored by the engine.

For one number of steps: the first masks are what the ELBO has found, what would be best of
Gaussian data, and known spacings; the better half of them is scored again, and of that the better
half, while the budget allows (sequential halving: Karnin et al., ICML 2013); s becomes the mean of
the best quarter, by rank, barely blurred. Then, round by round, masks are drawn by s, and s steps
along the natural gradient, by the ranks of their qualities. Each round is on fresh noise, the same
for all of its masks, and has the best two so far among them, so that what was met in different
rounds can be compared (`mask_rounds.ranking`) and one that was only lucky falls back. In the end
the likeliest steps and the best masks that were met are compared once more, by what the budget has
left, and the best of them by all that is known is the result (ProbMask, Zhou et al., CVPR 2021,
ends by drawing masks and keeping the best).

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
from orchestration.mask_rounds import Kept, Round, Rounds, Scores, ranking
from orchestration.search_sections import Mask

SEED = 14 << 32
"""Upper half of the seed of the noise that masks are scored on."""

ROUNDS = 2  # that a budget should allow beside the first, before masks get more images
ENOUGH_IMAGES = 12  # before there are rounds beside the first one and the last one
LEAST_IMAGES = 4
FIELD = 9  # masks of the first round, at most
LEAST_ROUNDS = FIELD + 2  # masks of it and of the last one, with two finalists
FINALISTS = 4
FINAL_SHARE = 0.25  # of the budget
BLUR = 1 / 16  # of the mean distance of two steps
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
    first: Sequence[Kept],
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
        first: masks to begin with; FIELD of them are taken, each once.
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

    def pays(masks: Sequence[Kept]) -> bool:
        return rounds.spent + images * rounds.calls(masks) <= (1 - FINAL_SHARE) * budget

    field = list(earlier[0].masks if earlier else dict.fromkeys(first))[:FIELD]
    met: list[Round] = []
    while not met or (len(field) >= 2 and pays(field)):
        met.append(take("known", field, images))
        order = ranking(met)
        s = _mean_of(order, chain, num_steps)
        yield met[-1], s
        field = [mask for mask in order if mask in field][: len(field) // 2]
    while True:
        masks = draw_masks(
            s, _masks_a_round(settings),
            seed=settings.seed, stream=num_steps * STREAMS + rounds.count, draws=settings.draws,
        )  # fmt: skip
        drawn = [indices(mask) for mask in masks]
        distinct = list(dict.fromkeys([*_leaders(met, num_steps)[:2], *drawn]))
        if len(set(drawn)) < 2 or not pays(distinct):
            break
        met.append(take("drawn", distinct, images))
        s = _stepped(s, masks, met[-1], settings, num_steps)
        yield met[-1], s
    able = (budget - rounds.spent) // (images * num_steps)
    finalists = _finalists(met, s, num_steps)[: max(2, able)]
    rest = (budget - rounds.spent) // rounds.calls(finalists)
    rest = rest if most is None else min(rest, most)
    yield take("final", finalists, max(1, rest // images) * images), s


def best_of(rounds: Sequence[Round]) -> Kept:
    """The best mask of the last of all rounds, by all of them."""
    last = rounds[-1]
    return next(mask for mask in _leaders(rounds, last.num_steps) if mask in last.masks)


def _finalists(met: Sequence[Round], s: Tensor, num_steps: int) -> list[Kept]:
    """The best masks that were met, and the likeliest steps."""
    leaders, likeliest = _leaders(met, num_steps), indices(top_k(s, num_steps))
    return list(dict.fromkeys([leaders[0], likeliest, *leaders]))[:FINALISTS]


def _leaders(rounds: Sequence[Round], num_steps: int) -> list[Kept]:
    """Masks of at most so many steps, the best first."""
    return [mask for mask in ranking(rounds) if len(mask) <= num_steps]


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


def _mean_of(order: Sequence[Kept], chain: Chain, num_steps: int) -> Tensor:
    """s from masks, the best first: weights fall with the log of the rank, to 0 at a quarter.

    Blurred, so that their neighbours are drawn too, but by little: of a mask that is drawn wide of
    all that is known few images say only that it is worse.
    """
    ranks = torch.arange(1, len(order) + 1, dtype=torch.float64)
    weights = (torch.tensor(len(order) / 4 + 1).log() - ranks.log()).clamp(min=0)
    weights = weights / weights.sum()
    masks = torch.stack([chain.mask(mask).double() for mask in order])
    mean = (weights[:, None] * masks).sum(dim=0)
    return project(blurred(mean, BLUR * len(chain.timesteps) / num_steps), num_steps)
