"""The spaces that a search can choose from, behind one interface.

Schedules are written as genomes (S,) of the per-step space, whatever the space: scoring, sharing
of prefixes and duplicates know nothing else. A space has integers of its own, a *code*, that give
a genome, and knows how codes change. `per-step` is the space whose codes are the genomes.
"""

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.random import RandomState

from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step
from search_spaces.segments import SegmentsSpace
from search_spaces.timesteps import TimestepsSpace

SPACES = ("per-step", "segments", "timesteps")


class Space(Protocol):
    """What an optimizer needs of a space."""

    @property
    def per_step(self) -> PerStepSpace:
        """The grid and the widths: where genomes live."""

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest code (n,), gene by gene."""

    @property
    def num_units(self) -> int:
        """How many uniform numbers `spread` makes a code of."""

    def expand(self, code: np.ndarray) -> np.ndarray:
        """The genome (S,) of a code (n,) within the bounds; at least one step is kept."""

    def decode(self, code: np.ndarray) -> tuple[Step, ...]:
        """The steps of a code (n,)."""

    def encode(self, steps: Iterable[Step]) -> np.ndarray:
        """A code (n,) of steps; ValueError where the space has none."""

    def uniform(self) -> list[np.ndarray]:
        """Codes of the uniform schedules that the space can express, the baseline first."""

    def guesses(self) -> list[np.ndarray]:
        """Codes of what a search begins with after the uniform schedules, the best first."""

    def mutate(self, code: np.ndarray, rng: RandomState) -> np.ndarray:
        """A changed code (n,)."""

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
        """A code (n,) with parts of both."""

    def spread(self, units: np.ndarray) -> np.ndarray:
        """A code (n,) from uniform numbers (num_units,), savings spread from 0 to 1."""


def make_space(name: str, per_step: PerStepSpace, num_segments: int) -> Space:
    """The space of a name; ValueError for an unknown one.

    Args:
        name: one of SPACES.
        per_step: the grid and the widths.
        num_segments: of `segments`, the most pieces that a schedule may have.
    """
    if name == "per-step":
        return per_step
    if name == "segments":
        return SegmentsSpace(per_step, num_segments)
    if name == "timesteps":
        return TimestepsSpace(per_step)
    raise ValueError(f"space is {name!r}, expected one of {', '.join(SPACES)}")
