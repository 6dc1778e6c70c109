"""A landscape of schedules in closed form, with the shape that was measured on digits.

Each move of the chain makes an error of discretisation, by the length of the step, and one of
capacity, by the width of its network; both matter most at low (not the lowest) noise, and errors
made early are partly undone by later steps. Starting below T from unit noise costs nothing at
first. Quality is 1 plus the square of what errors are left, as a Fréchet distance is, so it is
neither a sum over steps nor the exponential of one.

On 50 steps and widths 1, .75, .5, .25 the uniform schedules have about the qualities measured on
digits: 50 steps at .75 1.1 times the baseline's, 25 steps at width 1 1.25, at .5 1.7, 8 at 1 4.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import even_grid

SPACE = PerStepSpace(even_grid(1000, 50), (1.0, 0.75, 0.5, 0.25))
CAPACITY_ERROR = np.array([np.nan, 1.0, 0.45, 0.2, 0.0])  # by gene
MACS = np.array([0.0, 0.07, 0.25, 0.56, 1.0])  # by gene, of one call
# Of a quality relative to the baseline's, both on the same noise: the paired standard error.
STANDARD_ERROR = 0.02


def quality(genome: np.ndarray) -> float:
    """Quality of a genome (S,) of SPACE, or of such a space on another grid, without noise."""
    kept = np.flatnonzero(genome)
    level = np.append(kept, len(genome)) / len(genome)  # 0 is the noisiest
    discretisation, capacity = 0.0, 3.0 * max(level[0] - 0.3, 0.0)
    for start, end, gene in zip(level[:-1], level[1:], genome[kept], strict=True):
        length, weight = end - start, np.exp(-((0.75 - (start + end) / 2) ** 2) / 0.08)
        undone = np.exp(-2.0 * length)
        discretisation = undone * discretisation + 47.0 * weight * length**2
        capacity = undone * capacity + 2.8 * weight * length * CAPACITY_ERROR[gene]
    return 1.0 + (discretisation + capacity) ** 2


def cost(genome: np.ndarray) -> float:
    """MACs of a genome (S,), relative to the baseline's."""
    return MACS[genome].sum() / len(genome)


def losses(genomes: Iterable[np.ndarray], space: PerStepSpace = SPACE) -> np.ndarray:
    """(n, 2): quality and cost relative to the baseline's, without noise."""
    baseline = quality(space.uniform()[0])
    return np.array([(quality(g) / baseline, cost(g)) for g in genomes]).reshape(-1, 2)


def observe(genomes: Iterable[np.ndarray], true: np.ndarray, seed: int) -> np.ndarray:
    """(n, 2): losses as a search sees them, a function of the schedule and of `seed` alone.

    The baseline is compared with itself and has no error.
    """
    baseline = SPACE.uniform()[0]
    errors = [0.0 if np.array_equal(g, baseline) else _unit_error(g, seed) for g in genomes]
    seen = true.copy()
    seen[:, 0] += STANDARD_ERROR * np.array(errors)
    return seen


def _unit_error(genome: np.ndarray, seed: int) -> float:
    digest = hashlib.sha256(genome.astype(np.uint8).tobytes()).digest()
    return np.random.default_rng([seed, *digest]).standard_normal()
