"""Learning s from generated quality: a few samples under each mask, scored by the engine.

For one number of steps: the first masks are known spacings and what the ELBO has found; s becomes
their mean, better ones weighing more, blurred over neighbours. Then, round by round, masks are
drawn by s, scored on the same fresh noise, and s steps along the natural gradient, by the ranks of
their qualities. The best of the first masks is scored in every round, so that what was met in
different rounds can be compared, and the leader so far too, so that one that was only lucky falls
back. In the end the likeliest steps and the best masks that were met are compared once more on
fresh noise, by what the budget has left, and the best of them is the result (ProbMask, Zhou et
al., CVPR 2021, ends by drawing masks and keeping the best).

What is counted are network calls x images, those of shared first steps once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from orchestration.errors import ConfigError, DataError
from orchestration.mask_plan import Chain
from orchestration.sections import Mask
from search_spaces.prefixes import Step, count_calls
from search_spaces.spacing import known_grids, nearest

SEED = 14 << 32
"""Upper half of the seed of the noise that masks are scored on."""

ROUNDS = 2  # that a budget should allow beside the first, before masks get more images
LEAST_IMAGES = 4  # two blocks of two: an error bar leaves one of them out
LEAST_ROUNDS = 10  # masks of the first round and the last one, with two finalists
FINALISTS = 4
FINAL_SHARE = 0.25  # of the budget
STREAMS = 2**20  # of masks, of one number of steps

Scores = Callable[[Sequence[Sequence[Step]], int, int], list[float]]


@dataclass(frozen=True)
class Round:
    """Masks that were scored on the same noise.

    Args:
        num_steps: what is learned.
        kind: "known", "drawn" or "final".
        masks: indices of kept candidates, of each.
        qualities: of each; lower is better.
        calls: network calls x images.
    """

    num_steps: int
    kind: str
    masks: tuple[tuple[int, ...], ...]
    qualities: tuple[float, ...]
    calls: int


def num_images(settings: Mask, num_steps: int, budget: int) -> int:
    """Images a mask: `mask.num_images`, or fewer where the budget allows too few rounds."""
    masks = (ROUNDS + 1) * (_masks_a_round(settings) + 1)
    most = int((1 - FINAL_SHARE) * budget) // (masks * num_steps)
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
    found: Tensor,
    score: Scores,
    earlier: Sequence[Round] = (),
    most: int | None = None,
) -> Iterator[tuple[Round, Tensor]]:
    """Yields round after round, and s (S,) after each; the last is of the kind "final".

    Args:
        settings: `mask` of the configuration.
        chain: the candidates.
        num_steps: K.
        budget: network calls x images.
        found: float64 (S,), s as the ELBO has left it.
        score: qualities of schedules on noise of a seed, and on a number of images each.
        earlier: rounds of an interrupted run, which are not scored again.
        most: images that there are, as of validation windows; None where samples have no end.

    Raises:
        DataError: the earlier rounds are not those of this learning.
    """
    images = num_images(settings, num_steps, budget)
    met: dict[tuple[int, ...], list[float]] = {}
    anchor: tuple[int, ...] | None = None
    spent = 0

    def take(index: int, kind: str, masks: list[tuple[int, ...]], count: int) -> Round:
        nonlocal spent, anchor
        if index < len(earlier):
            done = earlier[index]
            if (done.kind, list(done.masks)) != (kind, masks):
                raise DataError("the rounds of quality are not those of this configuration")
        else:
            steps = [chain.steps(as_mask(mask, found)) for mask in masks]
            seed = SEED + (settings.seed * 1009 + num_steps * 4093 + index) % 2**32
            qualities = score(steps, seed, count)
            calls = count * count_calls(steps)
            done = Round(num_steps, kind, tuple(masks), tuple(qualities), calls)
        spent += done.calls
        anchor = anchor or winner(done)
        against = done.qualities[done.masks.index(anchor)]
        for mask, quality in zip(done.masks, done.qualities, strict=True):
            met.setdefault(mask, []).append(quality / against)
        return done

    def leaders() -> list[tuple[int, ...]]:
        able = [mask for mask in met if len(mask) <= num_steps]
        return sorted(able, key=lambda mask: sum(met[mask]) / len(met[mask]))

    first = take(0, "known", list(_known(chain, num_steps, found).values()), images)
    s = _mean_of(first, found, num_steps)
    yield first, s
    for index in range(1, STREAMS):
        masks = draw_masks(
            s, _masks_a_round(settings),
            seed=settings.seed, stream=num_steps * STREAMS + index, draws=settings.draws,
        )  # fmt: skip
        drawn = [indices(mask) for mask in masks]
        distinct = list(dict.fromkeys([anchor, leaders()[0], *drawn]))
        calls = images * count_calls(chain.steps(as_mask(mask, found)) for mask in distinct)
        if len(set(drawn)) < 2 or spent + calls > (1 - FINAL_SHARE) * budget:
            break
        scored = take(index, "drawn", distinct, images)
        of_mask = dict(zip(scored.masks, scored.qualities, strict=True))
        losses = torch.tensor([of_mask[mask] for mask in drawn], dtype=torch.float64)
        slack = num_steps - s.sum().item()
        advantage = ranked(at_equal_count(losses, masks, slack))
        s = project(natural_step(s, masks, advantage, min(1.0, 3 * settings.rate)), num_steps)
        yield scored, s
    likeliest = indices(top_k(s, num_steps))
    finalists = list(dict.fromkeys([anchor, likeliest, *leaders()]))[:FINALISTS]
    while len(finalists) > 2 and spent + images * num_steps * len(finalists) > budget:
        finalists.pop()
    rest = (budget - spent) // count_calls(chain.steps(as_mask(m, found)) for m in finalists)
    rest = rest if most is None else min(rest, most)
    yield take(index, "final", finalists, max(1, rest // images) * images), s


def winner(final: Round) -> tuple[int, ...]:
    """The best mask of a final round."""
    return min(zip(final.qualities, final.masks, strict=True))[1]


def indices(mask: Tensor) -> tuple[int, ...]:
    """The kept candidates of a mask (S,), rising."""
    return tuple(mask.nonzero()[:, 0].tolist())


def as_mask(kept: Sequence[int], like: Tensor) -> Tensor:
    """The mask that keeps these candidates: bool, as long as `like`."""
    mask = torch.zeros(len(like), dtype=torch.bool)
    mask[list(kept)] = True
    return mask


def _masks_a_round(settings: Mask) -> int:
    return max(4, settings.masks // 2)


def _known(chain: Chain, num_steps: int, found: Tensor) -> Mapping[str, tuple[int, ...]]:
    """First masks by name, each once."""
    grids = known_grids(len(chain.alphas_cumprod), num_steps)
    masks = {"elbo": indices(top_k(found, num_steps))}
    masks |= {name: tuple(nearest(chain.timesteps, grid)) for name, grid in grids.items()}
    names = {mask: name for name, mask in reversed(masks.items())}
    return {name: mask for mask, name in reversed(names.items())}


def _mean_of(first: Round, like: Tensor, num_steps: int) -> Tensor:
    """s from the first masks: weights fall with the logarithm of the rank, to 0 at the middle."""
    order = sorted(range(len(first.masks)), key=lambda i: first.qualities[i])
    ranks = torch.arange(1, len(order) + 1, dtype=torch.float64)
    weights = (torch.tensor(len(order) / 2 + 1).log() - ranks.log()).clamp(min=0)
    weights = weights / weights.sum()
    masks = torch.stack([as_mask(first.masks[i], like).double() for i in order])
    mean = (weights[:, None] * masks).sum(dim=0)
    return project(blurred(mean, len(like) / (4 * num_steps)), num_steps)
