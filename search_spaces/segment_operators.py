"""Mutation and crossover of schedules in pieces: pure functions of pieces and a random state.

Pieces are an int array (K, 3) in sampling order, a row each: length (grid positions; they sum to
S), gene (1 .. num_widths, narrow to wide), and how many of its positions are kept, evenly thinned.
A piece of length 0 is unused. As with `operators.py`, an operator may give back what it was given,
or pieces that keep no step: the caller refuses those.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import RandomState

LENGTH, GENE, COUNT = range(3)
Mutation = Callable[[np.ndarray, RandomState, int], np.ndarray]


def change_width(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One piece with steps becomes one width narrower or wider."""
    child, row = pieces.copy(), rng.choice(np.flatnonzero(pieces[:, COUNT]))
    child[row, GENE] = np.clip(pieces[row, GENE] + rng.choice((-1, 1)), 1, num_widths)
    return child


def set_width(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One piece with steps gets any width."""
    child, row = pieces.copy(), rng.choice(np.flatnonzero(pieces[:, COUNT]))
    child[row, GENE] = 1 + rng.randint(num_widths)
    return child


def change_count(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One piece keeps one or two steps more or less."""
    child, row = pieces.copy(), rng.choice(np.flatnonzero(pieces[:, LENGTH]))
    child[row, COUNT] += rng.choice((-2, -1, 1, 2))
    return _clipped(child)


def scale_count(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One piece keeps .5 to 1.5 times as many steps."""
    child, row = pieces.copy(), rng.choice(np.flatnonzero(pieces[:, LENGTH]))
    child[row, COUNT] = np.round(pieces[row, COUNT] * rng.uniform(0.5, 1.5))
    return _clipped(child)


def scale_counts(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """All pieces keep .7 to 1.3 times as many steps."""
    child = pieces.copy()
    child[:, COUNT] = np.round(pieces[:, COUNT] * rng.uniform(0.7, 1.3))
    return _clipped(child)


def empty(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One piece is skipped."""
    child = pieces.copy()
    child[rng.choice(np.flatnonzero(pieces[:, COUNT])), COUNT] = 0
    return child


def shift_end(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """The border of two pieces moves by one to four positions; each keeps its number of steps."""
    child = pieces.copy()
    if len(pieces) > 1:
        row, room = rng.randint(len(pieces) - 1), pieces[:, LENGTH]
        shift = np.clip(rng.choice((-1, 1)) * (1 + rng.randint(4)), -room[row], room[row + 1])
        child[[row, row + 1], LENGTH] += (shift, -shift)
    return _clipped(child)


def shift_end_evenly(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """The border of two pieces moves by one to four positions; each keeps its density."""
    child = shift_end(pieces, rng, num_widths)
    child[:, COUNT] = _thinned(pieces, child[:, LENGTH])
    return child


def split(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """One piece is cut in two, of which one becomes a width narrower or wider, or is skipped.

    Where all pieces are used, the two shortest neighbours become one for it.
    """
    row = rng.choice(np.flatnonzero(pieces[:, LENGTH]))
    if len(pieces) < 2 or pieces[row, LENGTH] < 2:
        return pieces.copy()
    first, second = _cut(pieces[row], 1 + rng.randint(pieces[row, LENGTH] - 1))
    changed = (first, second)[rng.randint(2)]
    if rng.randint(3):
        changed[GENE] = np.clip(changed[GENE] + rng.choice((-1, 1)), 1, num_widths)
    else:
        changed[COUNT] = 0
    return join([*pieces[:row], first, second, *pieces[row + 1 :]], len(pieces))


def merge(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """Two neighbours become one piece, as wide as the one with more steps."""
    used = pieces[pieces[:, LENGTH] > 0]
    if len(used) < 2:
        return pieces.copy()
    row = rng.randint(len(used) - 1)
    rows = [*used[:row], _merged(used[row], used[row + 1]), *used[row + 2 :]]
    return join(rows, len(pieces))


def move_start(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """The chain starts one to six positions later or earlier, its first piece as dense as before.

    Before the start lies a skipped piece, which is made where there is none.
    """
    start = np.flatnonzero(pieces[:, COUNT])[0]
    before, length = pieces[:start, LENGTH].sum(), pieces[start, LENGTH]
    shift = rng.choice((-1, 1)) * (1 + rng.randint(6))
    shift = np.clip(shift, -before, length - 1)
    skipped = np.array([before + shift, 1, 0])
    head = pieces[start].copy()
    head[LENGTH] = length - shift
    head[COUNT] = max(_thinned(pieces[start : start + 1], head[LENGTH])[0], 1)
    return join([skipped, head, *pieces[start + 1 :]], len(pieces))


MUTATIONS: tuple[Mutation, ...] = (
    change_width,
    set_width,
    change_count,
    scale_count,
    scale_counts,
    empty,
    shift_end,
    shift_end_evenly,
    split,
    merge,
    move_start,
)


def mutate(pieces: np.ndarray, rng: RandomState, num_widths: int) -> np.ndarray:
    """Pieces (K, 3) after one to three mutations chosen at random; at least one step is kept."""
    for _ in range(rng.choice((1, 2, 3), p=(0.5, 0.3, 0.2))):
        child = MUTATIONS[rng.randint(len(MUTATIONS))](pieces, rng, num_widths)
        pieces = child if child[:, COUNT].any() else pieces
    return pieces


def crossover(first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
    """A child (K, 3) with a stretch of the grid from `second`, the rest from `first`.

    The stretch begins and ends where a piece of either parent does, so that what is taken over
    stays whole where it can. In half of the cases it reaches to the end. Where the child has more
    than K pieces, neighbours are merged, the shortest first; a child without steps is refused:
    `first` is returned instead.
    """
    size = first[:, LENGTH].sum()
    ends = np.concatenate([np.cumsum(parent[:, LENGTH]) for parent in (first, second)])
    borders = np.unique(np.append(ends, 0))
    start, end = np.sort(rng.choice(borders, size=2, replace=False))
    end = size if rng.randint(2) else end
    rows = [*_between(first, 0, start), *_between(second, start, end), *_between(first, end, size)]
    child = join(rows, len(first))
    return child if child[:, COUNT].any() else first.copy()


def join(rows: Sequence[np.ndarray], num_pieces: int) -> np.ndarray:
    """Rows as pieces (num_pieces, 3): unused ones go last, and too many are merged."""
    used = [row for row in rows if row[LENGTH]]
    while len(used) > num_pieces:
        lengths = np.array([row[LENGTH] for row in used])
        at = int((lengths[1:] + lengths[:-1]).argmin())
        used[at : at + 2] = [_merged(used[at], used[at + 1])]
    unused = [np.array([0, 1, 0])] * (num_pieces - len(used))
    return np.array([*used, *unused])


def _between(pieces: np.ndarray, start: int, end: int) -> list[np.ndarray]:
    """What lies in the positions from `start` to before `end`, each piece as dense as it was."""
    ends = np.cumsum(pieces[:, LENGTH])
    inside = np.clip(ends, start, end) - np.clip(ends - pieces[:, LENGTH], start, end)
    return list(np.stack([inside, pieces[:, GENE], _thinned(pieces, inside)], axis=1))


def _cut(piece: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pieces for one, the first of a length; together they keep as many steps."""
    count = int(round(piece[COUNT] * length / piece[LENGTH]))
    first = np.array([length, piece[GENE], count])
    return first, np.array([piece[LENGTH] - length, piece[GENE], piece[COUNT] - count])


def _merged(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    gene = first[GENE] if first[COUNT] > second[COUNT] else second[GENE]
    return np.array([first[LENGTH] + second[LENGTH], gene, first[COUNT] + second[COUNT]])


def _thinned(pieces: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Counts (K,) of the same densities at other lengths (K,)."""
    return np.round(lengths * pieces[:, COUNT] / np.maximum(pieces[:, LENGTH], 1)).astype(np.int64)


def _clipped(pieces: np.ndarray) -> np.ndarray:
    pieces[:, COUNT] = np.clip(pieces[:, COUNT], 0, pieces[:, LENGTH])
    return pieces
