"""The space of timesteps at full width, and the choice of a space by its name."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import RandomState

from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import even_grid
from search_spaces.segments import SegmentsSpace
from search_spaces.spaces import SPACES, make_space
from search_spaces.timesteps import TimestepsSpace

PER_STEP = PerStepSpace(even_grid(1000, 50), (1.0, 0.75, 0.5, 0.25))
SPACE = TimestepsSpace(PER_STEP)


def test_codes_by_hand():
    space = TimestepsSpace(PerStepSpace((30, 20, 10, 0), (1.0, 0.5)))
    assert space.expand(np.array([0, 1, 0, 1])).tolist() == [0, 2, 0, 2]
    assert space.decode(np.array([0, 1, 0, 1])) == ((20, 1.0), (0, 1.0))
    assert space.encode(((20, 1.0), (0, 1.0))).tolist() == [0, 1, 0, 1]
    assert space.expand(np.zeros(4)).tolist() == [0, 0, 2, 0]  # at least one step
    with pytest.raises(ValueError, match="full width"):
        space.encode(((20, 1.0), (0, 0.5)))


def test_encode_inverts_decode_on_all_codes_of_a_tiny_space():
    space = TimestepsSpace(PerStepSpace(even_grid(100, 6), (1.0, 0.5)))
    for code in product((0, 1), repeat=6):
        if any(code):
            assert space.encode(space.decode(np.array(code))).tolist() == list(code)


def test_uniform_schedules_are_those_at_full_width():
    expected = [g.tolist() for g in PER_STEP.uniform() if set(g) <= {0, 4}]
    assert [SPACE.expand(code).tolist() for code in SPACE.uniform()] == expected
    assert [sum(code) for code in SPACE.uniform()] == [50, 38, 25, 18, 13, 8]


def test_first_guesses_are_the_steps_of_the_per_step_ones():
    found = {tuple(code) for code in SPACE.one_switch()}
    assert found == {tuple((g > 0).astype(int)) for g in PER_STEP.one_switch()}
    assert len(SPACE.one_switch()) == len(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_mutants_and_children_are_codes_that_keep_a_step(num_steps, seed):
    space = TimestepsSpace(PerStepSpace(even_grid(1000, num_steps), (1.0, 0.25)))
    rng = RandomState(seed)
    first, second = (space.spread(rng.rand(space.num_units)) for _ in range(2))
    for code in (space.mutate(first, rng), space.crossover(first, second, rng)):
        assert set(code.tolist()) <= {0, 1} and code.any()
        assert {width for _, width in space.decode(code)} == {1.0}


def test_most_mutations_change_which_steps_run():
    """Of the per-step space's twelve, a third would only change widths."""
    rng = RandomState(0)
    parent = SPACE.uniform()[3]
    changed = sum(SPACE.mutate(parent, rng).tolist() != parent.tolist() for _ in range(300))
    assert changed > 160


def test_every_schedule_of_a_tiny_space_is_reached_by_mutation():
    space = TimestepsSpace(PerStepSpace(even_grid(100, 4), (1.0, 0.5)))
    rng, found = RandomState(0), {(1, 1, 1, 1)}
    for _ in range(600):
        known = sorted(found)
        found.add(tuple(space.mutate(np.array(known[rng.randint(len(known))]), rng).tolist()))
    assert len(found) == 2**4 - 1


def test_spread_codes_cover_all_savings():
    rng = RandomState(0)
    kept = [SPACE.spread(rng.rand(SPACE.num_units)).sum() / 50 for _ in range(1000)]
    assert np.histogram(kept, bins=10, range=(0, 1))[0].min() >= 50


def test_a_space_is_made_by_its_name():
    made = [make_space(name, PER_STEP, 3) for name in SPACES]
    assert made == [PER_STEP, SegmentsSpace(PER_STEP, 3), SPACE]
    assert all(space.per_step == PER_STEP for space in made)
    with pytest.raises(ValueError, match="'segment', expected one of per-step, segments, times"):
        make_space("segment", PER_STEP, 3)
