"""The per-step space: on a grid of S timesteps each gene is a width or a skip.

A genome is an int array (S,) in sampling order, noisiest timestep first. Gene 0 skips the
timestep; gene g = 1 .. K runs the g-th narrowest of the K widths, so that K is the widest.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from search_spaces import operators
from search_spaces.prefixes import Step
from search_spaces.schedule import even_grid

# The uniform schedules: each width with these percentages of the S steps (rounded up).
UNIFORM_PERCENTS = (100, 75, 50, 35, 25, 15)
# First guesses, measured on digits: percentages of the S steps, share of the grid below the start,
# and how much denser the steps are at low noise.
GUESS_PERCENTS = (12, 16, 22, 30, 40)
START_SHARE, SPACING_POWER = 0.7, 1.5
NUM_ONE_SWITCH = 12  # one-switch schedules in the first generations


@dataclass(frozen=True)
class PerStepSpace:
    """Genomes over a grid of timesteps.

    Attributes:
        grid: S timesteps, strictly falling.
        widths: K widths in (0, 1], strictly falling.
        spacing: of the grid and of the uniform schedules on it, see `even_grid`.

    Raises:
        ValueError: if either of the first two is empty or doesn't fall.
    """

    grid: tuple[int, ...]
    widths: tuple[float, ...]
    spacing: str = "leading"

    def __post_init__(self) -> None:
        for name, values in (("grid", self.grid), ("widths", self.widths)):
            if not values or any(a <= b for a, b in zip(values, values[1:], strict=False)):
                raise ValueError(f"{name} is {values}, expected at least one value, falling")

    @property
    def num_genes(self) -> int:
        """S, the length of a genome."""
        return len(self.grid)

    @property
    def num_widths(self) -> int:
        """K, the gene of the widest."""
        return len(self.widths)

    @property
    def per_step(self) -> "PerStepSpace":
        """Itself: its codes are genomes (see `Space`)."""
        return self

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest gene, each (S,)."""
        lowest = np.zeros(self.num_genes, dtype=np.int64)
        return lowest, lowest + self.num_widths

    @property
    def num_units(self) -> int:
        """How many uniform numbers `spread` makes a genome of."""
        return 2 * self.num_genes + 2

    def expand(self, code: np.ndarray) -> np.ndarray:
        """The code as it is: it is a genome (see `Space`)."""
        return self.repair(code)

    def decode(self, genome: np.ndarray) -> tuple[Step, ...]:
        """Steps of a genome (S,); ValueError for a wrong length, gene, or no step at all."""
        genome = np.asarray(genome)
        if genome.shape != (self.num_genes,):
            raise ValueError(f"genome has shape {genome.shape}, expected ({self.num_genes},)")
        if genome.min() < 0 or genome.max() > self.num_widths or not genome.any():
            raise ValueError(
                f"genome is {genome.tolist()}, expected genes of 0 to {self.num_widths}, not all 0"
            )
        return tuple(
            (t, self.widths[-g]) for t, g in zip(self.grid, genome.tolist(), strict=True) if g
        )

    def encode(self, steps: Iterable[Step]) -> np.ndarray:
        """Genome (S,) int64 of steps; ValueError for a t or a width that isn't in the space."""
        genome = np.zeros(self.num_genes, dtype=np.int64)
        for t, width in steps:
            if t not in self.grid or width not in self.widths:
                raise ValueError(f"step (t={t}, width={width}) isn't on {self}")
            genome[self.grid.index(t)] = self.num_widths - self.widths.index(width)
        if not genome.any():
            raise ValueError("a schedule without steps has no genome, expected at least one")
        return genome

    def repair(self, genome: np.ndarray) -> np.ndarray:
        """The genome if it keeps a step, else one that runs only the middle one, at full width."""
        genome = np.array(genome, dtype=np.int64)
        if not genome.any():
            genome[self.num_genes // 2] = self.num_widths
        return genome

    def mutate(self, genome: np.ndarray, rng: RandomState) -> np.ndarray:
        """See `operators.mutate`."""
        return operators.mutate(genome, rng, self.num_widths)

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
        """See `operators.crossover`."""
        return operators.crossover(first, second, rng)

    def spread(self, units: np.ndarray) -> np.ndarray:
        """A genome (S,) from uniform numbers (2 S + 2,), savings spread from 0 to 1.

        The first decides the share of timesteps that are kept, the second how narrow widths are on
        the whole, the others each timestep and each width. A cost is the product of both shares,
        so even ones would nearly always save most of it: hence the root and the wide range of
        exponents.
        """
        keep, lean = units[:2]
        kept, place = units[2:].reshape(2, self.num_genes)
        widths = 1 + (self.num_widths * place**16.0 ** (2 * lean - 1)).astype(np.int64)
        genome = np.where(kept < np.sqrt(keep), widths.clip(max=self.num_widths), 0)
        return self.repair(genome)

    def uniform(self) -> list[np.ndarray]:
        """The uniform schedules, without repeats: widest first, most steps first.

        n steps are kept at those of the rising grid indices that are an even grid themselves, of
        the same spacing; the first of the list is the baseline (every timestep at full width).
        """
        genomes = []
        for gene in range(self.num_widths, 0, -1):
            for count in self._counts(UNIFORM_PERCENTS):
                kept = np.array(even_grid(self.num_genes, count, self.spacing))
                genomes.append(self._place(kept, np.full(count, gene)))
        return genomes

    def one_switch(self) -> list[np.ndarray]:
        """Schedules that run narrow first and wide last, best guesses first, without repeats.

        The first ones have few steps, denser at low noise, and start well below the noisiest
        timestep: the k-th of n from the clean end is at START_SHARE (k / n)^SPACING_POWER of the
        grid. The others run every timestep below a start. (One switch: T-Stitch, Pan et al. 2024;
        uneven steps that start late: AutoDiffusion, Li et al. 2023.)
        """
        genomes = []
        for num_narrower, narrow_percent in ((1, 30), (2, 50)):
            for count in self._counts(GUESS_PERCENTS):
                share = ((np.arange(count) + 1) / count) ** SPACING_POWER
                rising = np.round((START_SHARE * self.num_genes - 1) * share).astype(int)
                genomes.append(self._switched(rising, 0, num_narrower, narrow_percent))
        for narrow_percent in (50, 70, 30):
            for below_widest in (0, 1):
                rising = np.arange(-(-self.num_genes * 4 // 5))
                genomes.append(self._switched(rising, below_widest, 2, narrow_percent))
        return list({genome.tobytes(): genome for genome in genomes}.values())

    def guesses(self) -> list[np.ndarray]:
        """The first one-switch schedules."""
        return self.one_switch()[:NUM_ONE_SWITCH]

    def _counts(self, percents: tuple[int, ...]) -> list[int]:
        """Numbers of steps, each once."""
        return list(dict.fromkeys(-(-self.num_genes * percent // 100) for percent in percents))

    def _switched(
        self, rising: np.ndarray, below_widest: int, num_narrower: int, narrow_percent: int
    ) -> np.ndarray:
        """A genome with one switch of width.

        Args:
            rising: kept grid indices, counted from the clean end.
            below_widest: how many widths the wide steps are below the widest.
            num_narrower: how many widths the narrow steps are below the wide ones.
            narrow_percent: percentage of the steps, the noisiest, that are narrow.
        """
        wide = max(self.num_widths - below_widest, 1)
        num_wide = len(rising) - len(rising) * narrow_percent // 100
        is_wide = np.arange(len(rising)) < num_wide
        return self._place(rising, np.where(is_wide, wide, max(wide - num_narrower, 1)))

    def _place(self, rising: np.ndarray, genes: np.ndarray) -> np.ndarray:
        genome = np.zeros(self.num_genes, dtype=np.int64)
        genome[self.num_genes - 1 - rising.clip(0)] = genes
        return genome
