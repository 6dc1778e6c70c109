"""Fréchet distance between Gaussians fitted to two sets of features.

    FD = |mu - mu_r|^2 + tr C + tr C_r - 2 tr (C_r^(1/2) C C_r^(1/2))^(1/2)

(Dowson and Landau, 1982; on Inception features it is the FID of Heusel et al., arXiv 1706.08500,
eq. 6).
The last trace is a sum of square roots of eigenvalues of a symmetric matrix, so neither a general
matrix root nor complex numbers are needed; the root of the reference is computed once.

FD at N images is biased upwards, by about 1/N: numbers at different N must not be compared.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.moments import Moments, NonFiniteFeatures, moments


@dataclass(frozen=True, eq=False)
class Reference:
    """Mean (D,) and covariance (D, D), float64, of the features that others are compared with.

    Raises:
        ValueError: Where the shapes do not fit each other.
        NonFiniteFeatures: At a NaN or an infinity.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def __post_init__(self) -> None:
        if self.covariance.shape != self.mean.shape * 2:
            raise ValueError(
                f"a reference of mean {self.mean.shape} and covariance {self.covariance.shape}, "
                "expected (D,) and (D, D)"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise NonFiniteFeatures("the reference statistics hold a NaN or an infinity")

    @classmethod
    def of(cls, reference: Moments) -> "Reference":
        """The reference with these moments; ValueError for fewer than 2 feature vectors."""
        return cls(reference.mean, reference.covariance)

    @cached_property
    def root(self) -> np.ndarray:
        """The symmetric square root (D, D) of the covariance."""
        eigenvalues, vectors = np.linalg.eigh((self.covariance + self.covariance.T) / 2)
        return (vectors * np.sqrt(eigenvalues.clip(min=0))) @ vectors.T


def distance(candidate: Moments, reference: Reference) -> float:
    """The Fréchet distance FD >= 0 (up to rounding) of a set of features from the reference.

    Args:
        candidate: Moments of at least 2 vectors, of the reference's dimension.
        reference: The Gaussian to compare with.

    Raises:
        ValueError: For fewer than 2 vectors, or another dimension.
        NonFiniteFeatures: At a NaN or an infinity.
    """
    if candidate.mean.shape != reference.mean.shape:
        raise ValueError(
            f"features of dimension {len(candidate.mean)}, "
            f"expected {len(reference.mean)} as in the reference"
        )
    covariance = candidate.covariance
    # On NaN an eigenvalue routine may answer with anything, or never.
    if not (np.isfinite(candidate.mean).all() and np.isfinite(covariance).all()):
        raise NonFiniteFeatures(
            f"the statistics of {candidate.count} feature vectors hold a NaN or an infinity"
        )
    product = reference.root @ covariance @ reference.root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    # A covariance of n vectors has rank n - 1 at most: eigenvalues beyond that are rounding errors
    # of 1e-16, whose roots of 1e-8 would add up.
    eigenvalues = eigenvalues[max(0, len(eigenvalues) - candidate.count + 1) :].clip(min=0)
    gap = candidate.mean - reference.mean
    traces = np.trace(covariance) + np.trace(reference.covariance)
    return float(gap @ gap + traces - 2 * np.sqrt(eigenvalues).sum())


def noise_floor(features: np.ndarray, num_images: int, seed: int) -> float:
    """FD between two random disjoint parts of real features: what a perfect model would get.

    Args:
        features: (M, D) features of the real images, M >= 4.
        num_images: N; each part has min(N, M // 2) images, which belongs beside the number.
        seed: Chooses the parts.

    Raises:
        ValueError: Where a part would have fewer than 2 images.
        NonFiniteFeatures: At a NaN or an infinity.
    """
    size = min(num_images, len(features) // 2)
    order = np.random.default_rng(seed).permutation(len(features))
    parts = features[order[:size]], features[order[size : 2 * size]]
    return distance(moments(parts[0]), Reference.of(moments(parts[1])))
