"""Error bars of Fréchet distances: the delete-block jackknife.

The estimand is E[FD_N], the expected distance at N images given the reference: FD at N is unbiased
for it, whatever its bias against infinitely many images. Its variance comes from leaving out one
block of images at a time. For blocks of equal size this is Tukey's jackknife; a smaller last block
is weighted as in Busing, Meijer and van der Leeden (1999), "Delete-m jackknife for unequal m".

Two schedules scored on the same noise are compared by the differences of their distances, block by
block left out of both: what the noise does to both of them cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from models.downdate import Downdate
from models.frechet import Reference, distance
from models.gram import Gram
from models.moments import FeatureBlock, block_moments, fold, remove

FEW = 8
"""Dimensions for each image of a block, and one more, from which on `Downdate` is less work."""


@dataclass(frozen=True, eq=False)
class Replicates:
    """A statistic of all blocks, and of all but one.

    Attributes:
        full: The statistic of all images.
        without: (g,) float64, the statistic without block b, g >= 2.
        counts: (g,) int64, the images of block b.
    """

    full: float
    without: np.ndarray
    counts: np.ndarray

    def __sub__(self, other: "Replicates") -> "Replicates":
        """The paired difference; ValueError unless the blocks are of equal sizes."""
        if not np.array_equal(self.counts, other.counts):
            raise ValueError(
                f"a paired difference needs equal blocks, got {self.counts.tolist()} and "
                f"{other.counts.tolist()} images"
            )
        return Replicates(self.full - other.full, self.without - other.without, self.counts)


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error from `num_blocks` blocks of images."""

    value: float
    se: float
    num_blocks: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The two-sided interval by Student's t with num_blocks - 1 degrees of freedom."""
        reach = float(stdtrit(self.num_blocks - 1, (1 + confidence) / 2)) * self.se
        return self.value - reach, self.value + reach

    def tail(self) -> float:
        """The chance of a value as large as this where the true one is 0, by the same t."""
        if self.se == 0:
            return float(self.value <= 0)
        return float(stdtr(self.num_blocks - 1, -self.value / self.se))


def jackknife(blocks: Sequence[FeatureBlock], reference: Reference) -> Replicates:
    """The distances of all blocks, and of all but one.

    They take g + 1 eigenvalue problems of the size of the features or of the number of images,
    whichever is less; or, where blocks are much smaller than the features, two (`Downdate`).

    Args:
        blocks: At least 2, in the fixed order in which they are folded.
        reference: The Gaussian to compare with.

    Raises:
        ValueError: For fewer than 2 blocks, or fewer than 2 images beside a block.
        NonFiniteFeatures: At a NaN or an infinity.
    """
    if len(blocks) < 2:
        raise ValueError(f"an error bar needs at least 2 blocks of images, got {len(blocks)}")
    features = [block for block in blocks if isinstance(block, np.ndarray)]
    if len(features) == len(blocks) and sum(map(len, features)) <= len(reference.mean):
        return _few_images(features, reference)
    whole = fold(blocks)
    full = distance(whole, reference)
    if len(features) == len(blocks) and FEW * (max(map(len, features)) + 1) <= len(reference.mean):
        downdate = Downdate(whole, reference)
        without = [downdate.without(block) for block in features]
        return Replicates(full, np.array(without), np.array([len(block) for block in features]))
    without, counts = [], []
    for block in blocks:  # moments one at a time: of 40 blocks in 1,280 dimensions, half a GB
        part = block_moments(block)
        without.append(distance(remove(whole, part), reference))
        counts.append(part.count)
    return Replicates(full, np.array(without), np.array(counts))


def _few_images(blocks: Sequence[np.ndarray], reference: Reference) -> Replicates:
    gram = Gram(np.concatenate(blocks), reference)
    counts = np.array([len(block) for block in blocks])
    of_row = np.repeat(np.arange(len(blocks)), counts)
    without = [gram.distance(np.flatnonzero(of_row != block)) for block in range(len(blocks))]
    return Replicates(gram.distance(np.arange(len(of_row))), np.array(without), counts)


def estimate(replicates: Replicates) -> Estimate:
    """The statistic of all images with its jackknife standard error.

    The error is about right where the candidate is off the reference by more than noise. It is too
    large, by up to a half, where it is not, or where images are fewer than dimensions: there the
    distance is quadratic in the sample, and the jackknife counts that part of the variance twice
    (Efron and Stein, 1981). Paired differences are hardly touched by this.
    """
    g = len(replicates.counts)
    h = replicates.counts.sum() / replicates.counts
    # Pseudo-values: for equal blocks their mean square deviation is Tukey's variance estimate.
    pseudo = h * replicates.full - (h - 1) * replicates.without
    variance = ((pseudo - _center(replicates)) ** 2 / (h - 1)).sum() / g
    return Estimate(replicates.full, float(np.sqrt(variance)), g)


def expected_at(replicates: Replicates, num_images: int) -> Estimate:
    """What the statistic is expected to be at `num_images`, from those there are.

    As far as its bias goes as 1 / images, of which the jackknife knows the size (Quenouille,
    1956). With fewer images than dimensions it goes slower, and only a part of it is taken away.
    """
    found = estimate(replicates)
    bias = replicates.full - _center(replicates)
    shift = bias * (1 - float(replicates.counts.sum()) / num_images)
    return Estimate(float(found.value - shift), found.se, found.num_blocks)


def _center(replicates: Replicates) -> float:
    """The statistic without the bias that goes as 1 / images."""
    h = replicates.counts.sum() / replicates.counts
    weighted = ((1 - 1 / h) * replicates.without).sum()
    return len(replicates.counts) * replicates.full - weighted


def paired(candidate: Replicates, baseline: Replicates) -> Estimate:
    """The difference candidate - baseline on equal blocks, with its standard error.

    The blocks must hold the same images (the same seeds) in the same order; only their sizes can
    be checked here (ValueError).
    """
    return estimate(candidate - baseline)
