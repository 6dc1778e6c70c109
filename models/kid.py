"""Kernel inception distance (Binkowski et al., ICLR 2018, arXiv 1801.01401), on any features.

    k(x, y) = (x . y / D + 1)^3
    MMD^2 = mean over i != j of k(x_i, x_j) + mean over i != j of k(y_i, y_j) - 2 mean k(x_i, y_j)

It is unbiased, so that unlike a Fréchet distance it does not depend on the number of images but
for its noise, and may be below 0. As in the paper it is the mean over random subsets, the same
number of each kind; since sums over a subset are s^T K s with s of zeros and ones, all of them
cost one kernel matrix.
"""

import numpy as np

ROWS = 1000
"""Rows of a kernel matrix that are there at once."""


def kid(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    subset_size: int = 1000,
    num_subsets: int = 100,
    seed: int = 0,
) -> float:
    """The mean over subsets of the unbiased MMD^2.

    Args:
        samples: (n, D) of any float type.
        real: (m, D).
        subset_size: of each kind; at most n and m.
        num_subsets: how many pairs of subsets are drawn.
        seed: draws them. A subset has no image twice; subsets overlap.

    Raises:
        ValueError: subsets of fewer than 2, or more than there are; features of two dimensions.
    """
    if samples.shape[1] != real.shape[1]:
        raise ValueError(f"features of dimension {samples.shape[1]} and {real.shape[1]}")
    most = min(len(samples), len(real))
    if not 2 <= subset_size <= most:
        raise ValueError(f"subsets of {subset_size} images, expected 2 to {most}")
    rng = np.random.default_rng(seed)
    of_samples = _subsets(len(samples), subset_size, num_subsets, rng)
    of_real = _subsets(len(real), subset_size, num_subsets, rng)
    x, y = samples.astype(np.float64), real.astype(np.float64)
    pairs = subset_size * (subset_size - 1)
    within = _within(x, of_samples) + _within(y, of_real)
    across = _sums(x, of_samples, y, of_real)
    return float(np.mean(within / pairs - 2 * across / subset_size**2))


def _subsets(count: int, size: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Subsets as columns of zeros and ones, (count, number)."""
    chosen = np.zeros((count, number))
    for column in range(number):
        chosen[rng.choice(count, size, replace=False), column] = 1
    return chosen


def _within(x: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """For each subset the sum of k over its pairs of different images."""
    alone = ((x**2).mean(axis=1) + 1) ** 3
    return _sums(x, chosen, x, chosen) - alone @ chosen


def _sums(x: np.ndarray, of_x: np.ndarray, y: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    """For each pair of subsets the sum of k over all of the one and all of the other."""
    total = np.zeros(of_x.shape[1])
    for start in range(0, len(x), ROWS):
        kernel = x[start : start + ROWS] @ y.T
        kernel /= x.shape[1]
        kernel += 1
        kernel *= kernel**2  # far faster than **3
        total += (of_x[start : start + ROWS] * (kernel @ of_y)).sum(axis=0)
    return total
