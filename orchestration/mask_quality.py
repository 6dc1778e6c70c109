"""Learning s from generated quality: a few samples under each mask, scored by the engine.

For one number of steps: the first masks are what the ELBO has found, what would be best of
Gaussian data, and known spacings; the better half of them is scored again, and perhaps of that the
better half (sequential halving: Karnin et al., ICML 2013); s becomes the mean of the best quarter,
by rank, barely blurred. Then, round by round, masks are drawn by s, and s steps along the natural
gradient, by the ranks of their qualities. Each round is on fresh noise, the same
for all of its masks, and has the best two so far among them, so that what was met in different
rounds can be compared (`mask_rounds.standing`) and one that was only lucky falls back. In the end
the likeliest steps and the best masks that were met are compared once more, by what the budget has
left, and the best of them by all that is known is the result (ProbMask, Zhou et al., CVPR 2021,
ends by drawing masks and keeping the best).

Images of few steps are also held against what a finer schedule makes of the same noise
(`finer_steps`). How far they are from that tells more of a mask than the quality of so few images
does, so that more masks are tried, by fewer images each, and s steps by all that is known of them.

What is counted are network calls x images, those of shared first steps once, those of the finer
schedule among them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
from orchestration.config import Config
from orchestration.errors import ConfigError
from orchestration.mask_plan import Chain, calls_each, evaluations_for, indices, plan_budgets
from orchestration.mask_rounds import Kept, Round, Rounds, Scores, standing
from orchestration.search_sections import Mask
from orchestration.section import show
from search_spaces.prefixes import Step

SEED = 14 << 32
"""Upper half of the seed of the noise that masks are scored on."""

LEAST_IMAGES = 4
PAYS_ROUNDS = 4  # as of drawn masks, of the least images: if not, there is no finer schedule
FIELD = 9  # masks of the first round, at most
LEAST_ROUNDS = FIELD + 2  # masks of it and of the last one, with two finalists
FINALISTS = 4
FINAL_SHARE = 0.25  # of the budget
BLUR = 1 / 16  # of the mean distance of two steps
STREAMS = 2**20  # of masks, of one number of steps


@dataclass(frozen=True)
class Pace:
    """How a budget is spent.

    Args:
        rounds: that a budget should allow beside the first.
        enough_images: of a mask before there are rounds beside the first one and the last one.
        halved_to: masks that the first ones are halved to, at least.
        rate: of the natural gradient, in times of `mask.rate`.
    """

    rounds: int
    enough_images: int
    halved_to: int
    rate: float


BY_QUALITY = Pace(rounds=2, enough_images=12, halved_to=2, rate=3.0)
"""Of fewer images a round says so little that two more are worth less than telling apart what is
known."""
BY_DISTANCE = Pace(rounds=12, enough_images=LEAST_IMAGES, halved_to=3, rate=6.0)
"""Where there is a finer schedule: images differ less in what they say."""


def num_images(
    settings: Mask, num_steps: int, budget: int, finer: Sequence[Step] | None = None
) -> int:
    """Images a mask: `mask.num_images`, or fewer where the budget allows too few rounds.

    Args:
        settings: `mask` of the configuration.
        num_steps: K.
        budget: network calls x images.
        finer: steps that masks are held against.
    """
    pace, beside = _pace(finer), len(finer or ())
    calls = (pace.rounds + 1) * ((_masks_a_round(settings) + 1) * num_steps + beside)
    most = int((1 - FINAL_SHARE) * budget) // calls
    most = max(most, min(pace.enough_images, budget // (LEAST_ROUNDS * num_steps)))
    return max(LEAST_IMAGES, min(settings.num_images, most) // 2 * 2)


def check_budget(config: Config, num_training: int) -> None:
    """ConfigError where the calls for a number of steps pay for no first and last round.

    Args:
        config: of the run.
        num_training: training images, or windows, by which calls are counted where none are set.
    """
    steps = config.mask.steps
    least = LEAST_ROUNDS * LEAST_IMAGES * max(steps) * calls_each(config)
    left = plan_budgets(config, num_training).quality // len(steps)
    if left < least:
        enough = evaluations_for(config, num_training, least * len(steps))
        raise ConfigError(
            f"mask.evaluations: got {show(config.mask.evaluations)}, which leaves {left:,} to"
            f" judge masks of each of mask.steps {list(steps)} by where {max(steps)} steps need"
            f" {least:,}, expected at least {enough}, or fewer or smaller mask.steps"
        )


def pays_for_finer(settings: Mask, num_steps: int, budget: int, finer: Sequence[Step]) -> bool:
    """Whether there are calls enough to try other masks than those that one begins with.

    If not, known ones are told apart best by their quality on more images.
    """
    calls = (_masks_a_round(settings) + 1) * num_steps + len(finer)
    return PAYS_ROUNDS * LEAST_IMAGES * calls <= (1 - FINAL_SHARE) * budget


def refine(
    settings: Mask,
    chain: Chain,
    num_steps: int,
    budget: int,
    score: Scores,
    first: Sequence[Kept],
    earlier: Sequence[Round] = (),
    most: int | None = None,
    finer: Sequence[Step] | None = None,
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
        finer: steps that masks are held against beside their quality; see `finer_steps`.

    Raises:
        DataError: the earlier rounds are not those of this learning.
    """
    images, pace = num_images(settings, num_steps, budget, finer), _pace(finer)
    rounds = Rounds(chain, num_steps, score, earlier, finer)

    def take(kind: str, masks: Sequence[Kept], count: int, alone: bool = False) -> Round:
        seed = SEED + (settings.seed * 1009 + num_steps * 4093 + rounds.count) % 2**32
        return rounds.take(kind, masks, seed, count, alone)

    def pays(masks: Sequence[Kept]) -> bool:
        return rounds.spent + images * rounds.calls(masks) <= (1 - FINAL_SHARE) * budget

    field = list(earlier[0].masks if earlier else dict.fromkeys(first))[:FIELD]
    met: list[Round] = []
    while not met or (len(field) >= pace.halved_to and pays(field)):
        met.append(take("known", field, images))
        order = list(standing(met))
        s = _mean_of(order, chain, num_steps)
        yield met[-1], s
        field = [mask for mask in order if mask in field][: len(field) // 2]
    while True:
        masks = _drawn(s, settings, num_steps, rounds.count)
        drawn = [indices(mask) for mask in masks]
        distinct = list(dict.fromkeys([*_leaders(met, num_steps)[:2], *drawn]))
        if len(set(drawn)) < 2 or not pays(distinct):
            break
        met.append(take("drawn", distinct, images))
        known = standing(met) if finer else _own(met[-1])
        s = _stepped(s, masks, known, pace.rate * settings.rate, num_steps)
        yield met[-1], s
    able = (budget - rounds.spent) // (images * num_steps)
    finalists = _finalists(met, s, num_steps)[: max(2, able)]
    rest = (budget - rounds.spent) // rounds.calls(finalists, alone=True)
    rest = rest if most is None else min(rest, most)
    yield take("final", finalists, max(1, rest // images) * images, alone=True), s


def best_of(rounds: Sequence[Round]) -> Kept:
    """The best mask of the last of all rounds, by all of them."""
    last = rounds[-1]
    return next(mask for mask in _leaders(rounds, last.num_steps) if mask in last.masks)


def _drawn(s: Tensor, settings: Mask, num_steps: int, number: int) -> Tensor:
    """The masks of a round, by its number among all rounds."""
    stream = num_steps * STREAMS + number
    count = _masks_a_round(settings)
    return draw_masks(s, count, seed=settings.seed, stream=stream, draws=settings.draws)


def _own(done: Round) -> dict[Kept, float]:
    """What a round alone says of its masks."""
    return dict(zip(done.masks, done.qualities, strict=True))


def _finalists(met: Sequence[Round], s: Tensor, num_steps: int) -> list[Kept]:
    """The best masks that were met, and the likeliest steps."""
    leaders, likeliest = _leaders(met, num_steps), indices(top_k(s, num_steps))
    return list(dict.fromkeys([leaders[0], likeliest, *leaders]))[:FINALISTS]


def _leaders(rounds: Sequence[Round], num_steps: int) -> list[Kept]:
    """Masks of at most so many steps, the best first."""
    return [mask for mask in standing(rounds) if len(mask) <= num_steps]


def _stepped(
    s: Tensor, masks: Tensor, of_mask: Mapping[Kept, float], rate: float, num_steps: int
) -> Tensor:
    """s after a step along the natural gradient by the ranks of what is known of drawn masks."""
    losses = torch.tensor([of_mask[indices(mask)] for mask in masks], dtype=torch.float64)
    slack = num_steps - s.sum().item()
    advantage = ranked(at_equal_count(losses, masks, slack))
    return project(natural_step(s, masks, advantage, min(1.0, rate)), num_steps)


def _pace(finer: Sequence[Step] | None) -> Pace:
    return BY_QUALITY if finer is None else BY_DISTANCE


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
