"""The optimizers of a search, built on Nevergrad.

They are asked for a generation and told about all of it, in the order in which it was asked; the
same seed and the same losses give the same candidates. Losses are (quality, cost) relative to the
baseline's, both minimised. No genome is asked twice.

All of them start from the uniform schedules; but for `random`, from first guesses too. `nsga2`,
`de` and `one-plus-one` make children by the same operators, those of the space, and differ in
which of the scored become parents, and how children are made of them (`strategies.py`). `nsga2`
has a surrogate besides, which decides which of many children are asked (`promise.py`).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from search_spaces.candidates import REFERENCE_POINT, Candidate
from search_spaces.evolution import Evolution
from search_spaces.parametrization import code_parameter
from search_spaces.promise import Promise
from search_spaces.random_search import Random
from search_spaces.spaces import Space
from search_spaces.strategies import DifferentialStrategy, OnePlusOneStrategy, ParetoStrategy

__all__ = ["OPTIMIZERS", "REFERENCE_POINT", "Candidate", "Optimizer", "make_optimizer"]

OPTIMIZERS = ("nsga2", "de", "one-plus-one", "random")


class Optimizer(Protocol):
    """What a search needs of an optimizer."""

    def ask_generation(self, size: int) -> list[Candidate]:
        """New candidates, at most `size`; none at all once the space is used up."""

    def tell_generation(self, candidates: Sequence[Candidate], losses: np.ndarray) -> None:
        """Losses (n, 2) of a generation, in ask order.

        Raises ValueError, before anything is told, if one is missing or not finite.
        """

    def survivors(self) -> np.ndarray:
        """(n, S) genomes that the next generation descends from: states worth keeping."""


def make_optimizer(name: str, space: Space, seed: int, population: int) -> Optimizer:
    """The optimizer of a name; ValueError for an unknown one.

    Args:
        name: one of OPTIMIZERS.
        space: of the candidates.
        seed: of its randomness.
        population: parents that it goes on from, at most; nothing to `random`.
    """
    if name == "random":
        return Random(space, seed)
    strategies = {
        "nsga2": ParetoStrategy, "de": DifferentialStrategy, "one-plus-one": OnePlusOneStrategy,
    }  # fmt: skip
    if name not in strategies:
        raise ValueError(f"optimizer is {name!r}, expected one of {', '.join(OPTIMIZERS)}")
    strategy = strategies[name](code_parameter(space, seed), population)
    schedules = space.per_step
    promise = Promise(schedules.num_genes, schedules.num_widths) if name == "nsga2" else None
    return Evolution(space, strategy, promise)
