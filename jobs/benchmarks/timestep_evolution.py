"""Evolution over which steps to keep, the rival of a learned mask.

It searches as AutoDiffusion does (Li et al., ICCV 2023, arXiv 2309.10438): a member is K of the
candidate timesteps, all are scored by a few samples on the same noise, the best ones that were met
are parents, and a generation is children of two and mutants of one. A child has
what both of its parents have, and the rest from what one of them has; in a mutant each step moves,
with a chance of MUTATION, to any candidate that is free.

It is given more than it was published with: the same reward as a mask, without the bias of the
Fréchet distance; known spacings to begin with, though not what a network's errors tell (the ELBO's
optimum, and that of Gaussian data); and in the end the best that it met are compared once more on
fresh noise, by FINAL_SHARE of the budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from orchestration.mask_plan import Chain, known_masks
from orchestration.mask_rounds import Kept, Round, Rounds, Scores

NOISE = 12 << 32
"""Upper half of the seed of its noise: no mask is learned on it, and nothing told."""

POPULATION, PARENTS, GENERATIONS = 16, 8, 8  # generations that the budget should allow
MUTATION = 0.25
FINALISTS, FINAL_SHARE = 4, 0.25
DRAWS = 50  # children for each one that is asked, before no new ones are thought to be left


@dataclass(frozen=True)
class Evolution:
    """What is searched, and by how much.

    Args:
        chain: the candidates.
        num_steps: K.
        budget: network calls x images.
        seed: of the children and of the noise.
        images: that a member is scored on; see `num_images`.
        most: images that there are; None where samples have no end.
    """

    chain: Chain
    num_steps: int
    budget: int
    seed: int
    images: int
    most: int | None = None


def num_images(most: int, num_steps: int, budget: int) -> int:
    """Images a member: `most`, or fewer where the budget allows too few generations."""
    able = int((1 - FINAL_SHARE) * budget) // (GENERATIONS * POPULATION * num_steps)
    return max(2, min(most, able) // 2 * 2)


def evolve(search: Evolution, score: Scores, earlier: Sequence[Round] = ()) -> Iterator[Round]:
    """Yields generation after generation; the last is of the kind "final".

    Args:
        search: what is searched.
        score: what asks for samples.
        earlier: generations of an interrupted run, which are not scored again.

    Raises:
        DataError: the earlier generations are not those of this search.
    """
    noise = NOISE + search.seed * 1009 + search.num_steps * 4093
    met: dict[Kept, float] = {}
    rounds = Rounds(search.chain, search.num_steps, score, earlier)
    members = _first(search)
    while members := _within(search, members, rounds):
        done = rounds.take("evolved", members, noise, search.images)
        met |= dict(zip(done.masks, done.qualities, strict=True))
        yield done
        members = _children(search, sorted(met, key=lambda m: (met[m], m)), rounds.count)
    finalists = sorted(met, key=lambda m: (met[m], m))[:FINALISTS]
    left = (search.budget - rounds.spent) // rounds.calls(finalists)
    left = left if search.most is None else min(left, search.most)
    count = max(1, left // search.images) * search.images
    yield rounds.take("final", finalists, noise + 1, count)


def _within(search: Evolution, members: Sequence[Kept], rounds: Rounds) -> list[Kept]:
    """As many of the members as the budget has calls for, before the final share."""
    calls = (1 - FINAL_SHARE) * search.budget - rounds.spent
    able = list(members)
    while able and search.images * rounds.calls(able) > calls:
        able.pop()
    return able


def _first(search: Evolution) -> list[Kept]:
    chain = search.chain
    known = known_masks(chain, search.num_steps)
    rng = _rng(search, 0)
    size = len(chain.timesteps)
    drawn = [
        _sorted(rng.choice(size, search.num_steps, replace=False)) for _ in range(POPULATION)
    ]
    return list(dict.fromkeys([*known, *drawn]))[:POPULATION]


def _children(search: Evolution, ranked: Sequence[Kept], index: int) -> list[Kept]:
    """New members, half of them children of two of the best and half mutants of one."""
    parents, rng = ranked[:PARENTS], _rng(search, index)
    old, new = set(ranked), {}
    for draw in range(DRAWS * POPULATION):
        if len(new) == POPULATION:
            break
        one, other = (parents[i] for i in rng.integers(len(parents), size=2))
        child = _crossed(one, other, rng) if draw % 2 else _mutated(search, one, rng)
        if child not in old:
            new.setdefault(child)
    return list(new)


def _crossed(one: Kept, other: Kept, rng: np.random.Generator) -> Kept:
    both = set(one) & set(other)
    either = sorted(set(one) ^ set(other))
    return _sorted([*both, *rng.choice(either, len(one) - len(both), replace=False)])


def _mutated(search: Evolution, one: Kept, rng: np.random.Generator) -> Kept:
    kept = set(one)
    for step in one:
        free = sorted(set(range(len(search.chain.timesteps))) - kept)
        if free and rng.random() < MUTATION:
            kept = kept - {step} | {int(rng.choice(free))}
    return _sorted(kept)


def _sorted(kept: object) -> Kept:
    return tuple(sorted(map(int, kept)))


def _rng(search: Evolution, generation: int) -> np.random.Generator:
    return np.random.default_rng([search.seed, search.num_steps, generation])
