"""Energy score of samples against real data: a reward that few samples don't bias.

    ES = mean over i, j of |x_i - y_j| - 1/2 mean over i != i' of |x_i - x_i'|

for samples x and real y, in features of any dimension (Gneiting and Raftery 2007, "Strictly proper
scoring rules, prediction, and estimation", equation 22; in one dimension, and without i = i' among
the pairs, it is the fair CRPS). Up to a constant of the real data it is half the squared energy
distance (Szekely and Rizzo 2013), which is 0 for the true distribution alone. Its mean does not
depend on how many samples there are; that of a Fréchet distance of few does, and is least for
samples that have drawn together towards their mean.

Between samples x and x' of two distributions that are coupled, as by the noise that both are made
from, the scores' means differ by no more than 2 E|x - x'|: by the triangle inequality the first
term by E|x - x'| at most, and the second by as much.
"""

import numpy as np
from scipy.spatial.distance import cdist, pdist

from models.moments import check_features


def energy_score(samples: np.ndarray, real: np.ndarray) -> float:
    """The score of samples (n, D), n at least 2, against real (m, D); lower is better.

    Raises:
        ValueError: fewer than 2 samples, or features of two dimensions.
        NonFiniteFeatures: a feature of a sample is NaN or infinite.
    """
    if len(samples) < 2 or samples.shape[1] != real.shape[1]:
        raise ValueError(
            f"got samples {samples.shape} and real {real.shape}, expected at least 2 samples of"
            " the same dimension"
        )
    check_features(samples)
    x, y = samples.astype(np.float64), real.astype(np.float64)
    return float(cdist(x, y).mean() - pdist(x).mean() / 2)


def mean_distance(samples: np.ndarray, others: np.ndarray) -> float:
    """The mean of |x_i - x'_i| for coupled samples (n, D) and (n, D).

    Raises:
        ValueError: they are not of one shape.
        NonFiniteFeatures: a feature is NaN or infinite.
    """
    if samples.shape != others.shape:
        raise ValueError(f"got samples {samples.shape} and {others.shape}, expected one shape")
    for features in (samples, others):
        check_features(features)
    difference = samples.astype(np.float64) - others.astype(np.float64)
    return float(np.linalg.norm(difference, axis=1).mean())
