"""Learning s from generated quality: a few samples under each mask, scored by the engine.

For one number of steps: the first masks are known spacings and what the ELBO has found; s becomes
their mean, better ones weighing more, blurred over neighbours. Then, round by round, masks are
drawn by s, scored on the same fresh noise, and s steps along the natural gradient, by the ranks of
their qualities. In the end the likeliest steps and the best masks that were met are compared once
more on fresh noise, and the best of them is the result (ProbMask, Zhou et al., CVPR 2021, ends by
drawing masks and keeping the best).

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
from orchestration.errors import DataError
from orchestration.mask_plan import Chain
from orchestration.sections import Mask
from search_spaces.prefixes import Step, count_calls
from search_spaces.spacing import known_grids, nearest

SEED = 11 << 32
"""Upper half of the seed of the noise that masks are scored on."""

ROUNDS = 6  # that a budget should allow beside the first, before masks get more images
FINALISTS = 4
FINAL_SHARE = 0.2  # of the budget
STREAMS = 2**24  # of masks, of one number of steps

Scores = Callable[[Sequence[Sequence[Step]], int], list[float]]


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
    masks = (ROUNDS + 1) * _masks_a_round(settings)
    return max(2, min(settings.num_images, budget // (masks * num_steps)))


def refine(
    settings: Mask,
    chain: Chain,
    num_steps: int,
    budget: int,
    found: Tensor,
    score: Scores,
    earlier: Sequence[Round] = (),
) -> Iterator[tuple[Round, Tensor]]:
    """Yields round after round, and s (S,) after each; the last is of the kind "final".

    Args:
        settings: `mask` of the configuration.
        chain: the candidates.
        num_steps: K.
        budget: network calls x images.
        found: float64 (S,), s as the ELBO has left it.
        score: qualities of schedules on noise of a seed, `num_images` each.
        earlier: rounds of an interrupted run, which are not scored again.

    Raises:
        DataError: the earlier rounds are not those of this learning.
    """
    images = num_images(settings, num_steps, budget)
    best: dict[tuple[int, ...], float] = {}
    spent = 0

    def take(index: int, kind: str, masks: list[tuple[int, ...]]) -> Round:
        nonlocal spent
        if index < len(earlier):
            done = earlier[index]
            if (done.kind, list(done.masks)) != (kind, masks):
                raise DataError("the rounds of quality are not those of this configuration")
        else:
            steps = [chain.steps(as_mask(mask, found)) for mask in masks]
            qualities = score(steps, SEED + (settings.seed * 1009 + num_steps * 4093 + index))
            calls = images * count_calls(steps)
            done = Round(num_steps, kind, tuple(masks), tuple(qualities), calls)
        spent += done.calls
        middle = sorted(done.qualities)[len(masks) // 2]
        for mask, quality in zip(done.masks, done.qualities, strict=True):
            best[mask] = min(best.get(mask, float("inf")), quality / middle)
        return done

    first = take(0, "known", list(_known(chain, num_steps, found).values()))
    s = _mean_of(first, found, num_steps)
    yield first, s
    for index in range(1, STREAMS):
        masks = draw_masks(
            s, _masks_a_round(settings),
            seed=settings.seed, stream=num_steps * STREAMS + index, draws=settings.draws,
        )  # fmt: skip
        distinct = list(dict.fromkeys(indices(mask) for mask in masks))
        calls = images * count_calls(chain.steps(as_mask(mask, found)) for mask in distinct)
        if len(distinct) < 2 or spent + calls > (1 - FINAL_SHARE) * budget:
            break
        scored = take(index, "drawn", distinct)
        drawn = torch.stack([as_mask(mask, found) for mask in distinct])
        losses = torch.tensor(scored.qualities, dtype=torch.float64)
        slack = num_steps - s.sum().item()
        advantage = ranked(at_equal_count(losses, drawn, slack))
        s = project(natural_step(s, drawn, advantage, min(1.0, 3 * settings.rate)), num_steps)
        yield scored, s
    at_most = sorted((m for m in best if len(m) <= num_steps), key=best.__getitem__)
    finalists = list(dict.fromkeys([indices(top_k(s, num_steps)), *at_most]))[:FINALISTS]
    while len(finalists) > 2 and spent + images * num_steps * len(finalists) > budget:
        finalists.pop()
    yield take(index, "final", finalists), s


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
