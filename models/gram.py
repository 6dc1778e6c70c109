"""Fréchet distances of fewer images than dimensions, from inner products.

With n feature vectors in R^D the covariance C has rank n - 1 at most. The eigenvalues of
C_r^(1/2) C C_r^(1/2), whose roots the distance needs (`models.frechet`), are those of the n x n
matrix of inner products of the centred vectors times C_r^(1/2), over n - 1; the others are zero.
For n < D that is less work, and any part of the images takes its rows and columns: leaving out one
block after another needs no product of D x D matrices at all.
"""

import numpy as np

from models.frechet import Reference
from models.moments import check_features


class Gram:
    """Feature vectors of which any subset's distance can be found.

    Args:
        features: (n, D) of any float type.
        reference: the Gaussian to compare with.

    Raises:
        ValueError: another dimension than the reference's, or no vectors.
        NonFiniteFeatures: at a NaN or an infinity.
    """

    def __init__(self, features: np.ndarray, reference: Reference) -> None:
        check_features(features)
        if features.shape[1] != len(reference.mean):
            raise ValueError(
                f"features of dimension {features.shape[1]}, "
                f"expected {len(reference.mean)} as in the reference"
            )
        # From the reference's mean, near to which they lie, so that nothing cancels
        self._x = features.astype(np.float64) - reference.mean
        self._squares = (self._x**2).sum(axis=1)
        scaled = self._x @ reference.root
        self._inner = scaled @ scaled.T
        self._reference_trace = float(np.trace(reference.covariance))

    def distance(self, rows: np.ndarray) -> float:
        """The Fréchet distance of some of the vectors, FD >= 0 up to rounding.

        Args:
            rows: indices of at least 2 vectors.

        Raises:
            ValueError: for fewer than 2.
        """
        n = len(rows)
        if n < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {n}")
        gap = self._x[rows].mean(axis=0)
        trace = (self._squares[rows].sum() - n * (gap @ gap)) / (n - 1)
        inner = self._inner[np.ix_(rows, rows)]
        means = inner.mean(axis=0)
        inner += inner.mean() - means - means[:, None]
        # The rank is D at most, and centring has taken one: the others are rounding errors
        rank = min(n - 1, self._x.shape[1])
        eigenvalues = np.linalg.eigvalsh(inner)[n - rank :].clip(min=0)
        root_trace = np.sqrt(eigenvalues / (n - 1)).sum()
        return float(gap @ gap + trace + self._reference_trace - 2 * root_trace)
