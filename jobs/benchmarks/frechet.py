"""`frechet`: the distance of a candidate against pytorch-fid's `calculate_frechet_distance`.

Both get the candidate's features and the reference's statistics, as both do when candidates are
compared with one reference: pytorch-fid takes mean and covariance by numpy and a general matrix
root; ours takes inner products where images are fewer than dimensions, else the covariance, and
symmetric eigenvalues, with the reference's root kept from candidate to candidate.
"""

from functools import partial

import numpy as np
from pytorch_fid.fid_score import calculate_frechet_distance

from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.side_by_side import ratio, side_by_side
from models.frechet import Reference, distance
from models.gram import Gram
from models.moments import moments

# Dimensions of the digits' classifier, EfficientNet-Lite0 and Inception; images below and above.
CASES = ((64, 48), (64, 2000), (1280, 640), (1280, 2560), (2048, 1000), (2048, 4096))


def run(repetitions: int, say: Say) -> Report:
    """Measures."""
    rows, speedups, differences = [], {}, []
    for dimension, count in CASES:
        case = f"D {dimension}, N {count}"
        say(case)
        candidate, reference = _features(dimension, count)
        mine, theirs = partial(ours, candidate, reference), partial(fid, candidate, reference)
        found, expected = mine(), theirs()
        differences.append(abs(found - expected) / expected)
        timings = side_by_side({"pytorch-fid": theirs, "stepwise": mine}, repetitions, False)
        speedups[dimension, count] = ratio(timings, "pytorch-fid", "stepwise")
        rows += [Row(case, name, timing) for name, timing in timings.items()]
    figures = {
        f"speedup_{dimension}": min(s for (d, _), s in speedups.items() if d == dimension)
        for dimension in sorted({d for d, _ in CASES})
    }
    return Report("frechet", {**figures, "max_relative_difference": max(differences)}, rows)


def _features(dimension: int, count: int) -> tuple[np.ndarray, Reference]:
    """Correlated float32 features with a falling spectrum, and a reference a little off them."""
    rng = np.random.default_rng(dimension + count)
    mix = rng.standard_normal((dimension, dimension)) / np.sqrt(np.arange(1, dimension + 1))
    real = rng.standard_normal((2 * dimension, dimension)) @ mix
    candidate = 1.1 * rng.standard_normal((count, dimension)) @ mix + 0.1
    reference = Reference.of(moments(real))
    _ = reference.root  # once for all candidates
    return candidate.astype(np.float32), reference


def ours(features: np.ndarray, reference: Reference) -> float:
    """The distance of features (n, D), by whichever form is less work."""
    if len(features) <= len(reference.mean):
        return Gram(features, reference).distance(np.arange(len(features)))
    return distance(moments(features), reference)


def fid(features: np.ndarray, reference: Reference) -> float:
    """The distance of features (n, D) as pytorch-fid takes it."""
    x = features.astype(np.float64)
    mean, covariance = x.mean(axis=0), np.cov(x, rowvar=False)
    return calculate_frechet_distance(mean, covariance, reference.mean, reference.covariance)
