"""The benchmarks' landscape for tests of the optimizers, with a ripple for evaluation noise."""

import numpy as np

from jobs.benchmarks import landscape
from jobs.benchmarks.landscape import SPACE

NOISE = 0.01


def toy_losses(genomes: list[np.ndarray]) -> np.ndarray:
    """(n, 2): quality and cost of genomes of SPACE, relative to the baseline's."""
    ripples = np.array([_ripple(genome) for genome in genomes])
    losses = landscape.losses(genomes)
    losses[:, 0] *= ripples / _ripple(SPACE.uniform()[0])
    return losses


def _ripple(genome: np.ndarray) -> float:
    """Any smooth-free function of the genome, the same at each call."""
    return 1 + NOISE * np.sin(1e3 * (genome * np.sqrt(2.0 + np.arange(50))).sum())
