"""The per-step space: on a grid of S timesteps each gene is a width or a skip.

A genome is an int array (S,) in sampling order, noisiest timestep first. Gene 0 skips the
timestep; gene g = 1 .. K runs the g-th narrowest of the K widths, so that K is the widest.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from search_spaces.prefixes import Step

# The uniform schedules: each width with these percentages of the S steps (rounded up).
UNIFORM_PERCENTS = (100, 75, 50, 35, 25, 15)


@dataclass(frozen=True)
class PerStepSpace:
    """Genomes over a grid of timesteps.

    Attributes:
        grid: S timesteps, strictly falling.
        widths: K widths in (0, 1], strictly falling.

    Raises:
        ValueError: if either is empty or doesn't fall.
    """

    grid: tuple[int, ...]
    widths: tuple[float, ...]

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

    def uniform(self) -> list[np.ndarray]:
        """The uniform schedules, without repeats: widest first, most steps first.

        n steps are kept at the rising grid indices floor(i S / n), as diffusers' "leading"
        spacing does; the first of the list is the baseline (every timestep at full width).
        """
        counts = dict.fromkeys(-(-self.num_genes * p // 100) for p in UNIFORM_PERCENTS)
        return [
            self.even(count, narrow=gene, wide=gene)
            for gene in range(self.num_widths, 0, -1)
            for count in counts
        ]

    def one_switch(self) -> list[np.ndarray]:
        """Schedules that run narrow first and wide last, best guesses first, without repeats.

        Widest steps at the low-noise end, one of the narrower widths before them, for several
        switch points, counts and starts below the noisiest timestep (T-Stitch, Pan et al. 2024).
        """
        genomes = [
            self.even(-(-self.num_genes * percent * start // 10000), narrow, wide, start, switch)
            for percent, wide in ((100, 0), (75, 0), (50, 0), (100, 1), (50, 1), (35, 1))
            for start in (80, 60)
            for switch in (50, 70, 30)
            for narrow, wide in ((self.num_widths - wide - 2, self.num_widths - wide),)
            if narrow >= 1
        ]
        unique = {genome.tobytes(): genome for genome in genomes}
        return list(unique.values())

    def even(
        self, count: int, narrow: int, wide: int, start: int = 100, switch: int = 0
    ) -> np.ndarray:
        """Genome of `count` evenly spaced steps, `narrow` gene first, then `wide`.

        Args:
            count: number of kept steps, at most as many as there are.
            narrow: gene of the noisiest steps.
            wide: gene of the others.
            start: percentage of the grid, from its clean end, that the steps are spread over.
            switch: percentage of the steps that are narrow.
        """
        genome = np.zeros(self.num_genes, dtype=np.int64)
        span = max(self.num_genes * start // 100, 1)
        count = min(count, span)
        rising = np.arange(count) * span // count
        num_wide = count - count * switch // 100
        genome[self.num_genes - 1 - rising] = np.where(np.arange(count) < num_wide, wide, narrow)
        return genome
