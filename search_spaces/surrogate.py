"""What a schedule's quality will be, guessed from those that were scored.

A Gaussian process on the logarithm of quality. Two schedules are alike where their profiles are:
for each grid position, how long the step that covers it is, how narrow it is, and whether the
chain has begun. Profiles are smoothed along the grid, so that a step one place further is almost
the same step. Rasmussen and Williams (2006), "Gaussian Processes for Machine Learning", eq. 2.25.
"""

import numpy as np

SMOOTHING = 8.0  # grid positions

LINEAR = 3.0  # variance of the linear part, as a multiple of the squared exponential one's
NOISE = 1e-2  # variance of the observations, in the same unit
# Scored schedules that a guess is made from: the newest, for a guess costs their number cubed.
MOST_OBSERVATIONS = 800


class Surrogate:
    """Guesses qualities of genomes.

    Args:
        genomes: (n, S) that were scored; 0 skips, 1 .. num_widths from narrow to wide.
        qualities: (n,) above 0.
        num_widths: K.
    """

    def __init__(self, genomes: np.ndarray, qualities: np.ndarray, num_widths: int) -> None:
        self._num_widths = num_widths
        self._basis = _smoothing_basis(genomes.shape[1])
        self._inputs = self._embed(genomes[-MOST_OBSERVATIONS:])
        values = np.log(qualities[-MOST_OBSERVATIONS:])
        self._scale = np.mean((self._inputs**2).sum(axis=1))
        self._mean = values.mean()
        covariance = self._kernel(self._inputs) + NOISE * np.eye(len(values))
        self._weights = np.linalg.solve(covariance, values - self._mean)

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """The most likely quality (n,) of each genome (n, S)."""
        return np.exp(self._kernel(self._embed(genomes)) @ self._weights + self._mean)

    def _kernel(self, points: np.ndarray) -> np.ndarray:
        """A linear and a squared exponential part, (len(points), number of observations)."""
        inner = points @ self._inputs.T
        squares = (points**2).sum(axis=1)[:, None] + (self._inputs**2).sum(axis=1)
        return LINEAR * inner / self._scale + np.exp((2 * inner - squares) / self._scale)

    def _embed(self, genomes: np.ndarray) -> np.ndarray:
        smooth = np.einsum("nsf,sk->nfk", profiles(genomes, self._num_widths), self._basis)
        return smooth.reshape(len(genomes), -1)


def profiles(genomes: np.ndarray, num_widths: int) -> np.ndarray:
    """(n, S, 1 + K): what covers each grid position.

    The root of the covering step's length (in grid positions), 1 before the
    first step, and for each of the K - 1 narrower genes 1 where the step is at most that wide.
    """
    result = np.zeros((*genomes.shape, 1 + num_widths))
    for row, genome in zip(result, genomes, strict=True):
        kept = np.flatnonzero(genome)
        lengths = np.diff(np.append(kept, len(genome)))
        row[: kept[0], 1] = 1
        row[kept[0] :, 0] = np.sqrt(np.repeat(lengths, lengths))
        covering = np.repeat(genome[kept], lengths)
        row[kept[0] :, 2:] = covering[:, None] <= np.arange(1, num_widths)
    return result


def _smoothing_basis(num_genes: int) -> np.ndarray:
    """(S, k): inner products of projected profiles are those of Gaussian-smoothed ones."""
    place = np.arange(num_genes)
    values, vectors = np.linalg.eigh(np.exp(-0.5 * ((place[:, None] - place) / SMOOTHING) ** 2))
    counts = values > 1e-3 * values.max()
    return vectors[:, counts] * np.sqrt(values[counts])
