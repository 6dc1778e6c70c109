"""Genomes as Nevergrad parameters, with our own mutation and crossover.

Nevergrad's own touch half of the genes and average parents; schedules need neither.
"""

import nevergrad as ng
import numpy as np
from nevergrad.parametrization.data import Array
from nevergrad.parametrization.mutation import Mutation

from search_spaces.operators import crossover, mutate
from search_spaces.per_step import PerStepSpace


def genome_parameter(space: PerStepSpace, seed: int) -> ng.p.Array:
    """A parameter whose value is a genome (S,), mutated and recombined by `operators`.

    Args:
        space: of the genomes.
        seed: of all randomness that comes of the parameter.
    """
    parameter = ng.p.Array(init=np.full(space.num_genes, float(space.num_widths)))
    parameter.set_mutation(sigma=0.1)  # unused, but must be small beside the bounds
    parameter.set_bounds(-0.499, space.num_widths + 0.499).set_integer_casting()
    parameter = _GenomeCrossover()(_GenomeMutation(space.num_widths)(parameter))
    parameter.random_state.seed(seed)
    return parameter


def spread_parameter(space: PerStepSpace, seed: int) -> ng.p.Array:
    """A parameter that `spread_genome` makes a genome of, uniform in the unit cube."""
    parameter = ng.p.Array(init=np.full(2 * space.num_genes + 2, 0.5)).set_mutation(sigma=0.1)
    parameter.set_bounds(0, 1, full_range_sampling=True)
    parameter.random_state.seed(seed)
    return parameter


def spread_genome(units: np.ndarray, space: PerStepSpace) -> np.ndarray:
    """A genome (S,) from uniform numbers (2 S + 2,), savings spread from 0 to 1.

    The first decides the share of timesteps that are kept, the second how narrow widths are on the
    whole, the others each timestep and each width. A cost is the product of both shares, so even
    ones would nearly always save most of it: hence the root and the wide range of exponents.
    """
    keep, lean = units[:2]
    kept, place = units[2:].reshape(2, space.num_genes)
    widths = 1 + (space.num_widths * place**16.0 ** (2 * lean - 1)).astype(np.int64)
    genome = np.where(kept < np.sqrt(keep), widths.clip(max=space.num_widths), 0)
    return space.repair(genome)


class _GenomeMutation(Mutation):
    """Replaces the value by a mutated one."""

    _TYPE = Array

    def __init__(self, num_widths: int) -> None:
        super().__init__()
        self.num_widths = num_widths

    def _layered_mutate(self) -> None:
        root = self.root()
        genome = np.asarray(root.value, dtype=np.int64)
        root.value = mutate(genome, root.random_state, self.num_widths).astype(float)


class _GenomeCrossover(Mutation):
    """Replaces the value by a child of it and another one."""

    _TYPE = Array

    def _layered_recombine(self, *others: Array) -> None:
        root = self.root()
        first, second = (np.asarray(p.value, dtype=np.int64) for p in (root, others[0]))
        root.value = crossover(first, second, root.random_state).astype(float)
