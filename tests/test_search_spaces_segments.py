"""The space of pieces: codes by hand, and against brute force on tiny grids."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.random import RandomState
from toy_pieces import TINY, all_codes, space_of, spaces_and_codes

from search_spaces.schedule import SPACINGS, even_grid
from search_spaces.segment_fit import nearest_pieces
from search_spaces.segment_operators import (
    LENGTH,
)
from search_spaces.segments import SegmentsSpace


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
