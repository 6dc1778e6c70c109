"""Codes of a space as Nevergrad parameters, with the space's own mutation and crossover.

Nevergrad's own touch half of the genes and average parents; schedules need neither.
"""

import nevergrad as ng
import numpy as np
from nevergrad.parametrization.data import Array
from nevergrad.parametrization.mutation import Mutation

from search_spaces.spaces import Space


def code_parameter(space: Space, seed: int) -> ng.p.Array:
    """A parameter whose value is a code (n,), mutated and recombined by the space.

    Args:
        space: of the codes.
        seed: of all randomness that comes of the parameter.
    """
    lowest, highest = space.bounds
    parameter = ng.p.Array(init=space.uniform()[0].astype(float))
    parameter.set_mutation(sigma=0.1)  # unused, but must be small beside the bounds
    parameter.set_bounds(lowest - 0.499, highest + 0.499).set_integer_casting()
    parameter = _CodeCrossover(space)(_CodeMutation(space)(parameter))
    parameter.random_state.seed(seed)
    return parameter


def code_of(parameter: ng.p.Parameter) -> np.ndarray:
    """The code (n,) that is a parameter's value."""
    return np.asarray(parameter.value, dtype=np.int64)


class _CodeMutation(Mutation):
    """Replaces the value by a mutated one."""

    _TYPE = Array

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def _layered_mutate(self) -> None:
        root = self.root()
        root.value = self.space.mutate(code_of(root), root.random_state).astype(float)


class _CodeCrossover(Mutation):
    """Replaces the value by a child of it and another one."""

    _TYPE = Array

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def _layered_recombine(self, *others: Array) -> None:
        root = self.root()
        child = self.space.crossover(code_of(root), code_of(others[0]), root.random_state)
        root.value = child.astype(float)
