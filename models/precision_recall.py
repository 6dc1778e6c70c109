"""Improved precision and recall (Kynkäänniemi et al., NeurIPS 2019, arXiv 1904.06991).

The images of a set are taken to fill the union of balls about each of them, as far as its k-th
nearest neighbour in the set:

    precision: the share of samples within the real images' balls (are they like real ones?)
    recall:    the share of real images within the samples' balls (are all kinds made?)

Both depend on how many images there are of either kind: compare at equal numbers only.
"""

import numpy as np

ROWS = 1000
"""Rows of a matrix of distances that are there at once."""


def precision_recall(
    samples: np.ndarray, real: np.ndarray, neighbors: int = 3
) -> tuple[float, float]:
    """Precision and recall, shares in [0, 1].

    Args:
        samples: features (n, D) of any float type.
        real: features (m, D).
        neighbors: k, 1 <= k < n and m; an image is no neighbour of itself.

    Raises:
        ValueError: too few images for k, or features of two dimensions.
    """
    if samples.shape[1] != real.shape[1]:
        raise ValueError(f"features of dimension {samples.shape[1]} and {real.shape[1]}")
    least = min(len(samples), len(real))
    if not 1 <= neighbors < least:
        raise ValueError(f"{neighbors} neighbors among {least} images, expected 1 to {least - 1}")
    x, y = samples.astype(np.float64), real.astype(np.float64)
    precision = _inside(x, y, _radii(y, neighbors))
    recall = _inside(y, x, _radii(x, neighbors))
    return precision, recall


def _radii(x: np.ndarray, neighbors: int) -> np.ndarray:
    """(n,) squared distance of each row from its k-th nearest other row."""
    radii = np.empty(len(x))
    for start in range(0, len(x), ROWS):
        squares = _squared_distances(x[start : start + ROWS], x)
        rows = np.arange(len(squares))
        squares[rows, start + rows] = np.inf  # itself
        radii[start : start + ROWS] = np.partition(squares, neighbors - 1, axis=1)[
            :, neighbors - 1
        ]
    return radii


def _inside(points: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> float:
    """The share of points within any of the closed balls."""
    hits = 0
    for start in range(0, len(points), ROWS):
        squares = _squared_distances(points[start : start + ROWS], centers)
        hits += np.count_nonzero((squares <= radii).any(axis=1))
    return hits / len(points)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = a @ b.T
    squares *= -2
    squares += (a**2).sum(axis=1)[:, None]
    squares += (b**2).sum(axis=1)
    return squares.clip(min=0, out=squares)
