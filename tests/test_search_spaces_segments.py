"""The space of pieces: codes by hand, against brute force on tiny grids, and what operators do."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState

from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import SPACINGS, even_grid
from search_spaces.segment_fit import nearest_pieces
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
from search_spaces.segments import SegmentsSpace

WIDTHS = (1.0, 0.75, 0.5, 0.25)
TINY = SegmentsSpace(PerStepSpace((40, 30, 20, 10, 0), (1.0, 0.5)), 2)


def space_of(num_steps, num_widths, num_segments, spacing="leading"):
    grid = even_grid(1000, num_steps, spacing)
    return SegmentsSpace(PerStepSpace(grid, WIDTHS[:num_widths], spacing), num_segments)


spaces = st.builds(
    space_of, st.integers(1, 12), st.integers(1, 4), st.integers(1, 5), st.sampled_from(SPACINGS)
)


@st.composite
def spaces_and_codes(draw, number=1):
    """A space and codes anywhere within its bounds."""
    space = draw(spaces)
    lowest, highest = space.bounds
    codes = [
        np.array([draw(st.integers(a, b)) for a, b in zip(lowest, highest, strict=True)], int)
        for _ in range(number)
    ]
    return space, *codes


def all_codes(space):
    ranges = [range(a, b + 1) for a, b in zip(*space.bounds, strict=True)]
    return [np.array(code) for code in product(*ranges)]


def expand_slowly(space, code):
    """Position by position, from the definition."""
    num, size = space.num_segments, space.per_step.num_genes
    cuts = [0, *sorted(code[: num - 1].tolist()), size]
    genome = [0] * size
    for i in range(num):
        length, count = cuts[i + 1] - cuts[i], min(code[2 * num - 1 + i], cuts[i + 1] - cuts[i])
        for place in even_grid(length, count, space.per_step.spacing) if count else ():
            genome[cuts[i + 1] - 1 - place] = int(code[num - 1 + i])
    return genome


def test_a_code_by_hand():
    space = space_of(10, 4, 3)
    # [0, 3) is skipped, [3, 7) keeps 2 at the second width, [7, 10) all at the widest.
    code = np.array([3, 7, 1, 2, 4, 0, 2, 3])
    assert space.expand(code).tolist() == [0, 0, 0, 0, 2, 0, 2, 4, 4, 4]
    assert space.decode(code) == ((500, 0.5), (300, 0.5), (200, 1.0), (100, 1.0), (0, 1.0))
    assert space.pieces(code).tolist() == [[3, 1, 0], [4, 2, 2], [3, 4, 3]]
    assert space.code(space.pieces(code)).tolist() == code.tolist()


@settings(max_examples=60, deadline=None)
@given(spaces_and_codes())
def test_every_code_is_a_schedule_with_at_least_one_step(found):
    space, code = found
    slow = expand_slowly(space, code)
    genome = space.expand(code)
    assert genome.any()
    assert genome.tolist() == slow if any(slow) else np.count_nonzero(genome) == 1
    assert space.per_step.encode(space.decode(code)).tolist() == genome.tolist()


@settings(max_examples=60, deadline=None)
@given(spaces_and_codes())
def test_encode_inverts_decode(found):
    space, code = found
    steps = space.decode(code)
    assert space.decode(space.encode(steps)) == steps


def test_encode_refuses_what_no_code_gives_and_nothing_else():
    known = {tuple(TINY.expand(code).tolist()) for code in all_codes(TINY)}
    refused = 0
    for genome in product(range(3), repeat=5):
        if not any(genome):
            continue
        steps = TINY.per_step.decode(np.array(genome))
        if genome in known:
            assert TINY.expand(TINY.encode(steps)).tolist() == list(genome)
        else:
            refused += 1
            with pytest.raises(ValueError, match="not 2 pieces"):
                TINY.encode(steps)
    assert refused > 100


@pytest.mark.parametrize("bad", [[0, 1, 1, 1], [6, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 6]])
def test_codes_beyond_the_bounds_are_refused(bad):
    with pytest.raises(ValueError, match="code is"):
        TINY.expand(np.array(bad))


def test_there_is_at_least_one_piece():
    with pytest.raises(ValueError, match="num_segments is 0"):
        SegmentsSpace(TINY.per_step, 0)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_segments", [1, 2, 6])
def test_all_uniform_schedules_are_expressed_in_their_order(num_segments, spacing):
    space = space_of(50, 4, num_segments, spacing)
    expanded = [space.expand(code).tolist() for code in space.uniform()]
    assert expanded == [genome.tolist() for genome in space.per_step.uniform()]


def even_places(length, count, spacing):
    return np.array(even_grid(length, count, spacing)[::-1] if count else (), dtype=int)


def distance(genome, pieces, spacing):
    """Of a genome from pieces that keep as many steps at each stretch."""
    off, start = 0, 0
    for length, gene, count in pieces:
        part = genome[start : start + length][::-1]
        off += np.abs(np.flatnonzero(part) - even_places(length, count, spacing)).sum()
        off += np.abs(part[part > 0] - gene).sum()
        start += length
    return off


def test_the_nearest_pieces_against_brute_force():
    rng = RandomState(0)
    for case in range(40):
        size, num_pieces, spacing = rng.randint(2, 8), rng.randint(1, 4), SPACINGS[case % 2]
        genome = rng.randint(0, 4, size=size)
        found, off = nearest_pieces(genome, num_pieces, 3, spacing)
        assert len(found) <= num_pieces and found[:, LENGTH].sum() == size
        assert distance(genome, found, spacing) == off
        offs = []
        for cuts in product(range(size + 1), repeat=num_pieces - 1):
            borders = [0, *sorted(cuts), size]
            spans = list(zip(borders, borders[1:], strict=False))
            counts = [np.count_nonzero(genome[a:b]) for a, b in spans]
            for genes in product(range(1, 4), repeat=num_pieces):
                rows = zip((b - a for a, b in spans), genes, counts, strict=True)
                offs.append(distance(genome, list(rows), spacing))
        assert off == min(offs)


def test_first_guesses_come_near_those_of_the_per_step_space():
    space = space_of(50, 4, 6)
    codes = space.one_switch()
    assert len(codes) == len({space.expand(code).tobytes() for code in codes}) >= 8
    for code, genome in zip(codes, space.per_step.one_switch(), strict=True):
        found = space.expand(code)
        assert np.count_nonzero(found) == np.count_nonzero(genome)
        assert np.bincount(found[found > 0]).tolist() == np.bincount(genome[genome > 0]).tolist()
        assert np.abs(np.flatnonzero(found) - np.flatnonzero(genome)).max() <= 2


def test_a_long_grid_is_cut_at_fewer_places():
    genome = np.zeros(1000, dtype=int)
    genome[300:600], genome[600:] = 1, 4
    pieces, off = nearest_pieces(genome, 3, 4, "leading", most_borders=100)
    assert pieces.tolist() == [[300, 1, 0], [300, 1, 300], [400, 4, 400]] and off == 0


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


def test_spread_codes_cover_all_savings():
    space, rng = space_of(20, 3, 4), RandomState(0)
    macs = np.array([0, 7, 25, 100])
    genomes = [space.expand(space.spread(rng.rand(space.num_units))) for _ in range(1000)]
    savings = np.array([1 - macs[genome].sum() / 2000 for genome in genomes])
    share, _ = np.histogram(savings, bins=10, range=(0, 1))
    assert share.min() >= 20


def test_spread_code_by_hand():
    space = space_of(12, 2, 2)
    # A cut at 6 of 12; q = .5 makes u of u: .5 and 1 of 6 positions; the middle leanness makes
    # floor(2 u) of a width.
    code = space.spread(np.array([0.25, 0.5, 0.5, 0.4, 0.9, 0.5, 1.0]))
    assert space.pieces(code).tolist() == [[6, 1, 3], [6, 2, 6]]
