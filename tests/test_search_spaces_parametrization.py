"""Genomes as Nevergrad parameters: they go in and out unchanged and move by our own operators."""

import numpy as np
from numpy.random import RandomState

from search_spaces.operators import crossover, mutate
from search_spaces.parametrization import genome_parameter, spread_genome, spread_parameter
from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import even_grid

SPACE = PerStepSpace(even_grid(1000, 20), (1.0, 0.5, 0.25))


def genome_of(parameter):
    return np.asarray(parameter.value, dtype=np.int64)


def test_every_gene_goes_in_and_comes_out():
    genome = np.arange(20) % 4
    child = genome_parameter(SPACE, seed=0).spawn_child(new_value=genome.astype(float))
    assert genome_of(child).tolist() == genome.tolist()


def test_mutation_is_ours_on_the_random_state_of_the_parameter():
    parent = genome_parameter(SPACE, seed=5)
    rng, genome = RandomState(5), np.full(20, 3)
    for _ in range(20):
        child = parent.spawn_child()
        child.mutate()
        assert genome_of(child).tolist() == mutate(genome, rng, 3).tolist()
    assert genome_of(parent).tolist() == genome.tolist()


def test_crossover_is_ours_on_the_random_state_of_the_parameter():
    first = genome_parameter(SPACE, seed=6)
    second = first.spawn_child(new_value=np.full(20, 1.0))
    rng = RandomState(6)
    for _ in range(20):
        child = first.spawn_child()
        child.recombine(second)
        expected = crossover(np.full(20, 3), np.full(20, 1), rng)
        assert genome_of(child).tolist() == expected.tolist()


def test_spread_genomes_cover_all_savings():
    parameter = spread_parameter(SPACE, seed=0)
    macs = np.array([0, 7, 25, 100])
    genomes = [spread_genome(parameter.sample().value, SPACE) for _ in range(1000)]
    savings = np.array([1 - macs[genome].sum() / 2000 for genome in genomes])
    share, _ = np.histogram(savings, bins=10, range=(0, 1))
    assert share.min() >= 20 and share.sum() == 1000


def test_spread_genome_by_hand():
    space = PerStepSpace((2, 1, 0), (1.0, 0.5))
    kept, width = [0.3, 0.7, 0.1], [0.4, 0.9, 0.6]
    # Draws below sqrt(.25) are kept; widths drawn evenly, 1 + floor(2 u).
    assert spread_genome(np.array([0.25, 0.5, *kept, *width]), space).tolist() == [1, 0, 2]
    # As lean as can be, u becomes u^16; as wide as can be, u^(1/16).
    assert spread_genome(np.array([0.25, 1.0, *kept, *width]), space).tolist() == [1, 0, 1]
    assert spread_genome(np.array([0.25, 0.0, *kept, *width]), space).tolist() == [2, 0, 2]
    assert spread_genome(np.array([0.9, 0.5, *kept, *width]), space).tolist() == [1, 2, 2]
    assert spread_genome(np.zeros(8), space).tolist() == [0, 2, 0]
