"""Mutation and crossover of schedules: pure functions of genomes and a random state.

A genome is an int array (S,) in sampling order; gene 0 skips its timestep, genes 1 .. K are widths
from narrowest to widest (`per_step.py`). Independent noise on genes is a poor move: what matters
is where the chain starts, how its steps are spread and where the widths switch, so that is what
the operators change. Each takes (genome, rng, num_widths) and returns a new genome, which may
equal the old one or keep no step at all: the caller repairs and repeats.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import RandomState

Mutation = Callable[[np.ndarray, RandomState, int], np.ndarray]


def change_widths(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One to four kept steps become one width narrower or wider, all the same way."""
    child = genome.copy()
    chosen = _some_kept(genome, rng, 4)
    child[chosen] = np.clip(genome[chosen] + rng.choice((-1, 1)), 1, num_widths)
    return child


def drop_steps(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One to three kept steps are dropped."""
    child = genome.copy()
    child[_some_kept(genome, rng, 3)] = 0
    return child


def add_steps(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One to three skipped timesteps are taken in, at the width of the nearest kept step."""
    child, free = genome.copy(), np.flatnonzero(genome == 0)
    chosen = rng.permutation(free)[: 1 + rng.randint(3)]
    child[chosen] = nearest_widths(genome)[chosen]
    return child


def shift_steps(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One to three kept steps move to a skipped neighbouring timestep, where there is one."""
    child = genome.copy()
    for source in _some_kept(genome, rng, 3):
        target = source + rng.choice((-1, 1))
        if 0 <= target < len(child) and not child[target]:
            child[target], child[source] = child[source], 0
    return child


def set_segment(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """The kept steps of a segment get one width."""
    child = genome.copy()
    child[_kept_segment(genome, rng)] = 1 + rng.randint(num_widths)
    return child


def step_segment(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """The kept steps of a segment become one width narrower or wider."""
    child, segment = genome.copy(), _kept_segment(genome, rng)
    child[segment] = np.clip(genome[segment] + rng.choice((-1, 1)), 1, num_widths)
    return child


def drop_segment(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """A short run of kept steps is dropped."""
    child, kept = genome.copy(), np.flatnonzero(genome)
    start = rng.randint(len(kept))
    child[kept[start : start + 2 + rng.randint(max(len(kept) // 4, 1))]] = 0
    return child


def thin_segment(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """Every second, third or fourth kept step of a segment is dropped."""
    child, stride = genome.copy(), 2 + rng.randint(3)
    child[_kept_segment(genome, rng)[rng.randint(stride) :: stride]] = 0
    return child


def fill_segment(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """Between neighbouring kept steps of a segment the middle timestep is taken in."""
    child, segment = genome.copy(), _kept_segment(genome, rng)
    middle = (segment[1:] + segment[:-1]) // 2
    child[middle] = np.where(genome[middle] > 0, genome[middle], genome[segment[1:]])
    return child


def move_switch(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One place where the width changes moves by one to four kept steps."""
    child, kept = genome.copy(), np.flatnonzero(genome)
    switches = np.flatnonzero(np.diff(genome[kept]))
    if not len(switches):
        return child
    last, length = rng.choice(switches), 1 + rng.randint(4)
    if rng.randint(2):
        child[kept[last + 1 : last + 1 + length]] = genome[kept[last]]
    else:
        child[kept[max(last + 1 - length, 0) : last + 1]] = genome[kept[last + 1]]
    return child


def move_start(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """The first kept steps are dropped, or the whole chain is stretched to another start."""
    kept = np.flatnonzero(genome)
    if rng.randint(2):
        child = genome.copy()
        child[kept[: 1 + rng.randint(3)]] = 0
        return child
    start = np.clip(kept[0] + rng.choice((-1, 1)) * (1 + rng.randint(6)), 0, kept[-1])
    ratio = (kept[-1] - start) / max(kept[-1] - kept[0], 1)
    return _place(genome, kept[-1] - (kept[-1] - kept) * ratio, genome[kept])


def respace(genome: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """Another number of steps, .7 to 1.3 times as many, spread and as wide as the old ones."""
    kept = np.flatnonzero(genome)
    count = max(int(round(len(kept) * rng.uniform(0.7, 1.3))), 1)
    old = np.linspace(0, len(kept) - 1, count)
    positions = np.interp(old, np.arange(len(kept)), kept)
    return _place(genome, positions, genome[kept[np.round(old).astype(int)]])


MUTATIONS: tuple[Mutation, ...] = (
    change_widths,
    drop_steps,
    add_steps,
    shift_steps,
    set_segment,
    step_segment,
    drop_segment,
    thin_segment,
    fill_segment,
    move_switch,
    move_start,
    respace,
)
# Those that change which steps run, and not only how wide.
STEP_MUTATIONS: tuple[Mutation, ...] = (
    drop_steps,
    add_steps,
    shift_steps,
    drop_segment,
    thin_segment,
    fill_segment,
    move_start,
    respace,
)


def mutate(
    genome: np.ndarray,
    rng: RandomState,
    num_widths: int,
    mutations: Sequence[Mutation] = MUTATIONS,
) -> np.ndarray:
    """The genome (S,) after one to three mutations chosen at random; at least one step is kept.

    They hold from a place on that is more likely late than early (its density rises linearly):
    what is before it is shared with the parent, whose states are at hand, and costs no call. So
    nothing may be left of them.
    """
    child = genome
    for _ in range(rng.choice((1, 2, 3), p=(0.5, 0.3, 0.2))):
        changed = mutations[rng.randint(len(mutations))](child, rng, num_widths)
        child = changed if changed.any() else child
    place = int(len(genome) * np.sqrt(rng.random_sample()))
    late = np.concatenate([genome[:place], child[place:]])
    return late if late.any() else child


def toward(
    genome: np.ndarray, rng: RandomState, num_widths: int, kept: np.ndarray
) -> np.ndarray:
    """One to three steps are dropped or taken in as probabilities of being kept say.

    What is dropped is drawn by 1 - kept from the kept steps, what is taken in by kept from the
    others, at the width of the nearest kept step: as many of each, more or less one.

    Args:
        genome: (S,).
        rng: random.
        num_widths: K.
        kept: float (S,) in [0, 1], of each timestep.
    """
    child = genome.copy()
    number = 1 + rng.randint(3)
    for is_kept, weights in ((True, 1 - kept), (False, kept)):
        weights = np.where((genome > 0) == is_kept, weights, 0.0)
        chosen = min(max(number + rng.randint(-1, 2), 0), np.count_nonzero(weights))
        if chosen:
            places = rng.choice(len(genome), chosen, replace=False, p=weights / weights.sum())
            child[places] = 0 if is_kept else nearest_widths(genome)[places]
    return child


def crossover(first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
    """A child (S,) with a segment from `second`, the rest from `first`.

    In half of the cases the segment reaches to the end: the head of one parent, the tail of the
    other. A child without steps is refused: `first` is returned instead.
    """
    start, end = np.sort(rng.choice(len(first) + 1, size=2, replace=False))
    end = len(first) if rng.randint(2) else end
    child = first.copy()
    child[start:end] = second[start:end]
    return child if child.any() else first.copy()


def nearest_widths(genome: np.ndarray) -> np.ndarray:
    """For each timestep (S,) the gene of the kept step nearest to it, the noisier one of two."""
    kept = np.flatnonzero(genome)
    distance = np.abs(np.arange(len(genome))[:, None] - kept)
    return genome[kept[distance.argmin(axis=1)]]


def _some_kept(genome: np.ndarray, rng: RandomState, most: int) -> np.ndarray:
    return rng.permutation(np.flatnonzero(genome))[: 1 + rng.randint(most)]


def _kept_segment(genome: np.ndarray, rng: RandomState) -> np.ndarray:
    """Positions of a run of kept steps, at least one, up to half of them."""
    kept = np.flatnonzero(genome)
    start = rng.randint(len(kept))
    return kept[start : start + 1 + rng.randint((len(kept) + 1) // 2)]


def _place(genome: np.ndarray, positions: np.ndarray, genes: np.ndarray) -> np.ndarray:
    child = np.zeros_like(genome)
    child[np.clip(np.round(positions).astype(int), 0, len(genome) - 1)] = genes
    return child
