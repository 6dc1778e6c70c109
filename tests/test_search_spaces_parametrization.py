"""Codes as Nevergrad parameters: in and out unchanged, moved by the space's own operators."""

import numpy as np
import pytest
from numpy.random import RandomState

from search_spaces.parametrization import code_of, code_parameter
from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import even_grid
from search_spaces.spaces import SPACES, make_space

PER_STEP = PerStepSpace(even_grid(1000, 20), (1.0, 0.5, 0.25))
ALL = [make_space(name, PER_STEP, 4) for name in SPACES]


@pytest.mark.parametrize("space", ALL, ids=SPACES)
def test_every_code_goes_in_and_comes_out(space):
    rng = RandomState(0)
    lowest, highest = space.bounds
    parameter = code_parameter(space, seed=0)
    assert code_of(parameter).tolist() == space.uniform()[0].tolist()
    for code in [lowest, highest, *(rng.randint(lowest, highest + 1) for _ in range(10))]:
        child = parameter.spawn_child(new_value=code.astype(float))
        assert code_of(child).tolist() == code.tolist()


@pytest.mark.parametrize("space", ALL, ids=SPACES)
def test_mutation_is_the_spaces_on_the_random_state_of_the_parameter(space):
    parent = code_parameter(space, seed=5)
    rng, code = RandomState(5), space.uniform()[0]
    for _ in range(20):
        child = parent.spawn_child()
        child.mutate()
        assert code_of(child).tolist() == space.mutate(code, rng).tolist()
    assert code_of(parent).tolist() == code.tolist()


@pytest.mark.parametrize("space", ALL, ids=SPACES)
def test_crossover_is_the_spaces_on_the_random_state_of_the_parameter(space):
    first = code_parameter(space, seed=6)
    other = space.one_switch()[0]
    second = first.spawn_child(new_value=other.astype(float))
    rng = RandomState(6)
    for _ in range(20):
        child = first.spawn_child()
        child.recombine(second)
        expected = space.crossover(space.uniform()[0], other, rng)
        assert code_of(child).tolist() == expected.tolist()


def test_spread_genomes_cover_all_savings():
    units = RandomState(0).random_sample((1000, PER_STEP.num_units))
    macs = np.array([0, 7, 25, 100])
    genomes = [PER_STEP.spread(of_one) for of_one in units]
    savings = np.array([1 - macs[genome].sum() / 2000 for genome in genomes])
    share, _ = np.histogram(savings, bins=10, range=(0, 1))
    assert share.min() >= 20 and share.sum() == 1000


def test_spread_genome_by_hand():
    space = PerStepSpace((2, 1, 0), (1.0, 0.5))
    kept, width = [0.3, 0.7, 0.1], [0.4, 0.9, 0.6]
    # Draws below sqrt(.25) are kept; widths drawn evenly, 1 + floor(2 u).
    assert space.spread(np.array([0.25, 0.5, *kept, *width])).tolist() == [1, 0, 2]
    # As lean as can be, u becomes u^16; as wide as can be, u^(1/16).
    assert space.spread(np.array([0.25, 1.0, *kept, *width])).tolist() == [1, 0, 1]
    assert space.spread(np.array([0.25, 0.0, *kept, *width])).tolist() == [2, 0, 2]
    assert space.spread(np.array([0.9, 0.5, *kept, *width])).tolist() == [1, 2, 2]
    assert space.spread(np.zeros(8)).tolist() == [0, 2, 0]
