"""A space whose first guesses and mutations follow a mask that was learned (`models.masking`).

The steps that were kept in the end are guessed first, at full width, then what the space itself
would guess, then the learned ones again with some steps narrower. The likeliest steps need not be
the best that were met, and are guessed only where nothing else is known. Half of the mutations
drop steps that the mask would rather not keep, and take in others that it would; the rest are the
space's own, so that what the mask is wrong about can be undone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import RandomState

from search_spaces import operators
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step
from search_spaces.spacing import nearest
from search_spaces.timesteps import TimestepsSpace

ORDER = "learned-first"
"""What guesses come in: searches that began in another order are not gone on with."""

FOLLOWS = 0.5  # share of the mutations
NARROW = 0.5  # of a guess's steps, the noisiest, that are a width narrower when it comes again


@dataclass(frozen=True, eq=False)
class Guide:
    """What was learned, for each number of steps, on a space's grid.

    Attributes:
        kept: probabilities, float (S,), in sampling order.
        chosen: the timesteps that were kept in the end, falling; of some numbers, or of none.
    """

    kept: Mapping[int, np.ndarray]
    chosen: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def guesses(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        """Timesteps to begin with, most steps first."""
        found = []
        for num_steps in sorted(self.kept, reverse=True):
            likeliest = np.argsort(-self.kept[num_steps], kind="stable")[:num_steps]
            found.append(self.chosen.get(num_steps, tuple(grid[i] for i in sorted(likeliest))))
        return found


@dataclass(frozen=True, eq=False)
class GuidedSpace:
    """See `Space` for what is not said here.

    Attributes:
        space: whose codes these are.
        guide: what they follow.
    """

    space: PerStepSpace | TimestepsSpace
    guide: Guide

    @property
    def per_step(self) -> PerStepSpace:
        """See `Space`."""
        return self.space.per_step

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Space`."""
        return self.space.bounds

    @property
    def num_units(self) -> int:
        """See `Space`."""
        return self.space.num_units

    def expand(self, code: np.ndarray) -> np.ndarray:
        """See `Space`."""
        return self.space.expand(code)

    def decode(self, code: np.ndarray) -> tuple[Step, ...]:
        """See `Space`."""
        return self.space.decode(code)

    def encode(self, steps: Iterable[Step]) -> np.ndarray:
        """See `Space`."""
        return self.space.encode(steps)

    def uniform(self) -> list[np.ndarray]:
        """See `Space`."""
        return self.space.uniform()

    def guesses(self) -> list[np.ndarray]:
        """What was learned, most steps first, and the space's own, none of which has to go."""
        codes = [*self._learned(0.0), *self.space.guesses(), *self._learned(NARROW)]
        return list({code.tobytes(): code for code in codes}.values())

    def mutate(self, code: np.ndarray, rng: RandomState) -> np.ndarray:
        """By the mask, or by the space's own mutations."""
        if rng.rand() >= FOLLOWS:
            return self.space.mutate(code, rng)
        _, highest = self.bounds
        probabilities = self.guide.kept
        nearest_count = min(probabilities, key=lambda k: (abs(k - np.count_nonzero(code)), k))
        kept = probabilities[nearest_count]
        child = operators.toward(code, rng, int(highest[0]), kept)
        return child if child.any() else np.array(code)

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
        """See `Space`."""
        return self.space.crossover(first, second, rng)

    def spread(self, units: np.ndarray) -> np.ndarray:
        """See `Space`."""
        return self.space.spread(units)

    def _learned(self, narrow: float) -> list[np.ndarray]:
        """Codes of the guesses of the guide, a share of their steps a width narrower."""
        _, highest = self.bounds
        grid = self.per_step.grid
        codes = []
        for timesteps in self.guide.guesses(grid):
            code = np.where(np.isin(grid, timesteps), highest, 0)
            if highest[0] > 1:
                code[np.flatnonzero(code)[: int(len(timesteps) * narrow)]] -= 1
            codes.append(code)
        return codes


def on_grid(
    grid: Sequence[int], timesteps: Sequence[float], probabilities: Sequence[float], num_steps: int
) -> np.ndarray:
    """Learned probabilities on another grid: float (S,) in [0, 1], in its order.

    The likeliest `num_steps` keep places of their own; of all others the mass goes to the nearest.

    Args:
        grid: S timesteps, falling.
        timesteps: those that were learned of; a noise level that none has lies between two.
        probabilities: of each.
        num_steps: how many steps were to be kept, at most S.
    """
    rising = list(reversed(grid))
    order = np.argsort(-np.asarray(probabilities), kind="stable")
    top = sorted(order[:num_steps], key=lambda i: timesteps[i])
    kept = np.zeros(len(rising))
    for i in order[num_steps:]:
        kept[min(range(len(rising)), key=lambda j: abs(rising[j] - timesteps[i]))] += (
            probabilities[i]
        )
    kept = kept.clip(max=0.5)  # what was not among the likeliest is not likelier than they are
    places = nearest(rising, [timesteps[i] for i in top])
    kept[places] = np.maximum(0.5 + 1e-6, [probabilities[i] for i in top])
    return kept[::-1].clip(0, 1)


def steps_on_grid(grid: Sequence[int], timesteps: Sequence[float]) -> tuple[int, ...]:
    """Timesteps on another grid, falling: the nearest ones, each its own.

    Args:
        grid: S timesteps, falling.
        timesteps: at most S; a noise level that no timestep has lies between two.
    """
    rising = list(reversed(grid))
    return tuple(rising[i] for i in reversed(nearest(rising, timesteps)))
