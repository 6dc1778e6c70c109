"""The space `timesteps`: which steps run, all of them at full width.

A code is an int array (S,) in sampling order, noisiest timestep first: 1 runs, 0 skips.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from search_spaces import operators
from search_spaces.per_step import NUM_ONE_SWITCH, PerStepSpace
from search_spaces.prefixes import Step


@dataclass(frozen=True)
class TimestepsSpace:
    """See `Space` for what is not said here."""

    per_step: PerStepSpace

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Space`."""
        size = self.per_step.num_genes
        return np.zeros(size, dtype=np.int64), np.ones(size, dtype=np.int64)

    @property
    def num_units(self) -> int:
        """One for the share of the steps, one for each timestep."""
        return 1 + self.per_step.num_genes

    def expand(self, code: np.ndarray) -> np.ndarray:
        """See `Space`."""
        kept = np.asarray(code, dtype=np.int64)
        return self.per_step.repair(kept * self.per_step.num_widths)

    def decode(self, code: np.ndarray) -> tuple[Step, ...]:
        """See `Space`."""
        return self.per_step.decode(self.expand(code))

    def encode(self, steps: Iterable[Step]) -> np.ndarray:
        """See `Space`."""
        return self._code(self.per_step.encode(steps))

    def uniform(self) -> list[np.ndarray]:
        """See `Space`."""
        genomes = self.per_step.uniform()
        return [self._code(genome) for genome in genomes if genome.max() == self._widest]

    def one_switch(self) -> list[np.ndarray]:
        """The steps of the one-switch schedules, without repeats."""
        codes = [(genome > 0).astype(np.int64) for genome in self.per_step.one_switch()]
        return list({code.tobytes(): code for code in codes}.values())

    def guesses(self) -> list[np.ndarray]:
        """The first one-switch schedules."""
        return self.one_switch()[:NUM_ONE_SWITCH]

    def mutate(self, code: np.ndarray, rng: RandomState) -> np.ndarray:
        """By those mutations of the per-step space that change which steps run."""
        return operators.mutate(code, rng, 1, operators.STEP_MUTATIONS)

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
        """See `operators.crossover`."""
        return operators.crossover(first, second, rng)

    def spread(self, units: np.ndarray) -> np.ndarray:
        """The first number is the share that is kept, and so the cost."""
        return self._code(self.expand(units[1:] < units[0]))

    @property
    def _widest(self) -> int:
        return self.per_step.num_widths

    def _code(self, genome: np.ndarray) -> np.ndarray:
        if not np.isin(genome, (0, self._widest)).all():
            raise ValueError(f"genome {genome.tolist()} is not at full width throughout")
        return genome // self._widest
