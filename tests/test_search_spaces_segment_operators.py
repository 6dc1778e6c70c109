"""What mutations and crossovers do to pieces."""


import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState
from toy_pieces import all_codes, space_of, spaces_and_codes

from search_spaces.segment_operators import (
    COUNT,
    GENE,
    LENGTH,
    MUTATIONS,
    crossover,
    join,
    merge,
    move_start,
    shift_end,
    shift_end_evenly,
    split,
)


@settings(max_examples=80, deadline=None)
@given(spaces_and_codes(2), st.integers(0, 2**32 - 1))
def test_mutants_and_children_are_codes_within_the_bounds(found, seed):
    space, first, second = found
    rng, again = RandomState(seed), RandomState(seed)
    before = first.copy()
    for code in (space.mutate(first, rng), space.crossover(first, second, rng)):
        assert (space.bounds[0] <= code).all() and (code <= space.bounds[1]).all()
        assert space.expand(code).any()
    assert first.tolist() == before.tolist()
    # a function of the random state alone
    assert space.mutate(first, again).tolist() == space.mutate(first, RandomState(seed)).tolist()


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_mutation_gives_pieces_and_moves_something(mutation):
    rng, moved = RandomState(1), 0
    for _ in range(150):
        space = space_of(rng.randint(2, 30), 4, rng.randint(2, 6))
        lowest, highest = space.bounds
        pieces = space.pieces(rng.randint(lowest, highest + 1))
        before = pieces.copy()
        child = mutation(pieces, rng, 4)
        assert pieces.tolist() == before.tolist() and child.shape == pieces.shape
        assert child[:, LENGTH].sum() == pieces[:, LENGTH].sum() and (child[:, LENGTH] >= 0).all()
        assert ((child[:, COUNT] >= 0) & (child[:, COUNT] <= child[:, LENGTH])).all()
        assert ((child[:, GENE] >= 1) & (child[:, GENE] <= 4)).all()
        moved += child.tolist() != pieces.tolist()
    assert moved > 30


def test_every_schedule_of_a_tiny_space_is_reached_by_mutation():
    """From the baseline; brute force over all codes says which schedules there are."""
    space = space_of(3, 2, 2)
    there = {space.expand(code).tobytes() for code in all_codes(space)}
    rng = RandomState(0)
    found = {space.expand(space.uniform()[0]).tobytes(): space.uniform()[0]}
    for _ in range(6000):
        known = list(found.values())
        child = space.mutate(known[rng.randint(len(known))], rng)
        found.setdefault(space.expand(child).tobytes(), child)
    assert set(found) == there and len(there) > 15


def test_ends_shift_with_the_number_of_steps_or_with_their_density():
    pieces = np.array([[20, 1, 10], [20, 4, 20]])
    rng = RandomState(0)
    for _ in range(50):
        child = shift_end(pieces, rng, 4)
        shift = child[0, LENGTH] - 20
        assert 1 <= abs(shift) <= 4 and child[0, COUNT] == 10
        assert child[1, COUNT] == min(20, child[1, LENGTH])
        child = shift_end_evenly(pieces, rng, 4)
        shift = child[0, LENGTH] - 20
        assert abs(child[0, COUNT] - (10 + shift / 2)) <= 0.5 and child[1, COUNT] == 20 - shift


def test_a_split_changes_one_half_and_a_merge_keeps_all_steps():
    rng = RandomState(0)
    one = np.array([[12, 2, 8], [0, 1, 0]])
    for _ in range(50):
        halves = split(one, rng, 4)
        assert halves[:, LENGTH].sum() == 12 and (halves[:, LENGTH] > 0).all()
        changed = (halves[:, GENE] != 2) | (halves[:, COUNT] == 0)
        assert 0 < changed.sum() <= 2
        whole = merge(np.array([[5, 2, 1], [7, 3, 4]]), rng, 4)
        assert whole.tolist() == [[12, 3, 5], [0, 1, 0]]


def test_the_start_moves_and_the_rest_stays():
    rng, starts = RandomState(0), set()
    space = space_of(30, 4, 4)
    pieces = np.array([[6, 1, 0], [12, 2, 6], [12, 4, 12], [0, 1, 0]])
    for _ in range(100):
        child = move_start(pieces, rng, 4)
        genome = space.expand(space.code(child))
        assert genome[18:].tolist() == [4] * 12
        skipped = child[0, LENGTH] if not child[0, COUNT] else 0
        starts.add(int(skipped))
    assert starts == {*range(6), *range(7, 13)}


def test_a_crossover_takes_a_stretch_between_borders_from_the_other_parent():
    rng = RandomState(0)
    first = np.array([[6, 1, 6], [6, 1, 6], [0, 1, 0], [0, 1, 0]])
    second = np.array([[4, 2, 4], [8, 3, 8], [0, 1, 0], [0, 1, 0]])
    space = space_of(12, 4, 4)
    whole = space.expand(space.code(second))
    seen = set()
    for _ in range(200):
        genome = space.expand(space.code(crossover(first, second, rng)))
        taken = np.flatnonzero(genome != 1)
        assert len(taken) and (np.diff(taken) == 1).all()
        assert genome[taken].tolist() == whole[taken].tolist()
        assert {taken[0], taken[-1] + 1} <= {0, 4, 6, 12}
        seen.add((int(taken[0]), int(taken[-1])))
    assert len(seen) == 6


def test_a_child_without_steps_is_refused():
    first, second = np.array([[2, 1, 0], [2, 2, 2]]), np.array([[2, 2, 2], [2, 1, 0]])
    children = [crossover(first, second, RandomState(seed)) for seed in range(60)]
    assert all(child[:, COUNT].any() for child in children)
    assert any(child.tolist() == second.tolist() for child in children)


def test_too_many_pieces_are_merged_shortest_first():
    rows = np.array([[5, 1, 5], [0, 3, 0], [1, 2, 1], [2, 4, 2], [4, 3, 2]])
    assert join(rows, 3).tolist() == [[5, 1, 5], [3, 4, 3], [4, 3, 2]]
    assert join(rows[:1], 3).tolist() == [[5, 1, 5], [0, 1, 0], [0, 1, 0]]
