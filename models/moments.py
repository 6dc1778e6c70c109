"""Count, mean and scatter of feature vectors: values that can be merged and taken apart.

For features x_1 .. x_n in R^D: mean = sum x_i / n, scatter = sum (x_i - mean)(x_i - mean)^T. Both
are float64 and centred, so that nothing cancels where features lie far from the origin. Merging
two sets is the update of Chan, Golub and LeVeque (1983), "Algorithms for computing the sample
variance", in several dimensions; removing a part is the same equation solved for the other one.

Sums in floating point depend on their order: fold in a fixed one wherever bits matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


class NonFiniteFeatures(ValueError):
    """Features, or statistics of features, with a NaN or an infinity in them."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Sufficient statistics of a set of feature vectors, for a Fréchet distance.

    Attributes:
        count: Number of vectors, at least 1.
        mean: (D,) float64.
        scatter: (D, D) float64, the sum of outer products about the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance (D, D); ValueError for fewer than 2 vectors."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {self.count}")
        return self.scatter / (self.count - 1)


FeatureBlock = np.ndarray | Moments
"""What is kept of a block of images: features (n, D) float32 with n < D, else their moments."""


def check_features(features: np.ndarray) -> None:
    """Raises ValueError unless (n, D) with n >= 1, NonFiniteFeatures at a NaN or an infinity."""
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features have shape {features.shape}, expected (n >= 1, D >= 1)")
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise NonFiniteFeatures(
            f"{np.count_nonzero(~finite)} of {len(features)} feature vectors are not finite "
            f"(the first in row {np.argmin(finite)}); the images or the features have diverged"
        )


def moments(features: np.ndarray) -> Moments:
    """The moments of features (n, D) of any float type; errors as in `check_features`."""
    check_features(features)
    x = features.astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    return Moments(len(x), mean, x.T @ x)


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets together."""
    count = a.count + b.count
    gap = b.mean - a.mean
    mean = a.mean + gap * (b.count / count)
    scatter = a.scatter + b.scatter + np.outer(gap * (a.count * b.count / count), gap)
    return Moments(count, mean, scatter)


def remove(whole: Moments, part: Moments) -> Moments:
    """The moments of what is left of a set without a part of it, so that merge undoes it.

    Exact to rounding errors of the whole's size: the rest must not be negligible beside the part.

    Raises:
        ValueError: Where nothing would be left.
    """
    count = whole.count - part.count
    if count < 1:
        raise ValueError(f"cannot remove {part.count} of {whole.count} feature vectors")
    gap = part.mean - whole.mean
    mean = whole.mean - gap * (part.count / count)
    spread = np.outer(gap * (part.count * whole.count / count), gap)
    return Moments(count, mean, whole.scatter - part.scatter - spread)


def summarize(features: np.ndarray) -> FeatureBlock:
    """The smaller of two equal descriptions: the features (n, D) where n < D, else their moments.

    Errors as in `check_features`, for both.
    """
    check_features(features)
    return features if features.shape[0] < features.shape[1] else moments(features)


def block_moments(block: FeatureBlock) -> Moments:
    """The moments of a block in either description."""
    return block if isinstance(block, Moments) else moments(block)


def fold(blocks: Iterable[FeatureBlock]) -> Moments:
    """The moments of all blocks, merged from left to right; ValueError for none."""
    total: Moments | None = None
    for block in blocks:
        part = block_moments(block)
        total = part if total is None else merge(total, part)
    if total is None:
        raise ValueError("no blocks of features to fold")
    return total
