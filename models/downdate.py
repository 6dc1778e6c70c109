"""Fréchet distances of all vectors but a few, for features of high dimension.

Leaving out k of n vectors takes a matrix of rank k + 1 from their scatter S, and a rotation by the
eigenvectors of A = C_r^(1/2) S C_r^(1/2) makes what is left a diagonal less that: A' = L - W^T W.
From sqrt(a) = 1/pi int_0^inf log(1 + a / t^2) dt and the matrix determinant lemma,

    tr A'^(1/2) = tr A^(1/2) + 1/pi int_0^inf log det(I - W (L + t^2)^(-1) W^T) dt

which needs determinants of size k + 1 alone: one eigenvalue problem of size D for all that are
left out, instead of one for each. In log t the integrand is analytic in a strip of half-width
pi / 2, so the trapezoid rule's error falls as exp(-pi^2 / h) with its spacing h.
"""

import numpy as np

from models.frechet import Reference
from models.moments import Moments

SPACING = 0.35  # exp(-pi^2 / .35) = 6e-13
LEAST, MOST = 1e-10, 1e3  # of t, in units of the root of the largest eigenvalue


class Downdate:
    """Distances of what is left of a set without a part of it.

    Equal to those of `models.frechet.distance` to some 1e-10 of the traces, or 1e-8 where fewer
    vectors than dimensions are left.

    Args:
        whole: moments of all vectors.
        reference: the Gaussian to compare with, of the same dimension.
    """

    def __init__(self, whole: Moments, reference: Reference) -> None:
        self._whole, self._reference = whole, reference
        product = reference.root @ whole.scatter @ reference.root
        eigenvalues, vectors = np.linalg.eigh((product + product.T) / 2)
        # The rank is n - 1 at most; the others are rounding errors
        eigenvalues[: max(0, len(eigenvalues) - whole.count + 1)] = 0
        self._eigenvalues = eigenvalues.clip(min=0)
        self._rotation = reference.root @ vectors
        self._traces = float(np.trace(whole.scatter)), float(np.trace(reference.covariance))

    def without(self, part: np.ndarray) -> float:
        """The distance of all but some vectors, FD >= 0 up to rounding.

        Args:
            part: the vectors (k, D) that are left out; k much smaller than D, or it does not pay.

        Raises:
            ValueError: fewer than 2 would be left.
        """
        k, n = len(part), self._whole.count
        rest = n - k
        if rest < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {rest}")
        x = part.astype(np.float64)
        mean = x.mean(axis=0)
        gap = mean - self._whole.mean
        # As in `moments.remove`: the part's own scatter, and that of its mean
        taken = np.vstack([x - mean, gap * np.sqrt(k * n / rest)])
        root_trace = np.sqrt(self._eigenvalues).sum() + self._change(taken @ self._rotation)
        off = self._whole.mean - gap * (k / rest) - self._reference.mean
        trace, reference_trace = self._traces
        trace = (trace - (taken**2).sum()) / (rest - 1)
        return float(off @ off + trace + reference_trace - 2 * root_trace / np.sqrt(rest - 1))

    def _change(self, w: np.ndarray) -> float:
        """What taking W^T W away, W (k + 1, D), does to the trace of the root; at most 0."""
        scale = np.sqrt(self._eigenvalues[-1])
        if scale == 0:
            return 0.0
        number = int(np.ceil(np.log(MOST / LEAST) / SPACING)) + 1
        t = scale * LEAST * np.exp(SPACING * np.arange(number))
        left = np.empty((number, len(w), len(w)))
        for matrix, node in zip(left, t, strict=True):
            np.matmul(w / (self._eigenvalues + node**2), w.T, out=matrix)
        integrand = t * np.linalg.slogdet(np.eye(len(w)) - left)[1]
        # Beyond both ends it falls by exp(-spacing) from node to node: a geometric series
        ends = (integrand[0] + integrand[-1]) / np.expm1(SPACING)
        return float(SPACING * (integrand.sum() + ends) / np.pi)
