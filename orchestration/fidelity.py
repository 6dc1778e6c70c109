"""Further numbers beside a Fréchet distance, on the same features of the same samples.

A Fréchet distance sees a mean and a covariance. KID sees third moments too and has no bias;
precision and recall tell whether samples are unlike real images, or real images are missing among
the samples. They are bounded in what they cost: the first MAX_IMAGES samples are compared with as
many real images, which for 5,000 of each takes some 20 s on one core.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.kid import kid
from models.precision_recall import precision_recall
from orchestration.members import FidelityFacts

MAX_IMAGES = 5000
SEED = 0  # of the choice of real images, and of KID's subsets

NEIGHBORS, SUBSET_SIZE, NUM_SUBSETS = 3, 1000, 100


class Fidelity(NamedTuple):
    """KID, lower is better; precision and recall, shares in [0, 1], higher is better."""

    kid: float
    precision: float
    recall: float


def real_subset(real: np.ndarray) -> np.ndarray:
    """The features (M, D) of real images that are looked at, MAX_IMAGES at most."""
    if len(real) <= MAX_IMAGES:
        return real
    rng = np.random.default_rng(SEED)
    return real[np.sort(rng.choice(len(real), MAX_IMAGES, replace=False))]


def fidelity_facts(num_images: int, num_real: int) -> FidelityFacts:
    """What the numbers of so many samples and real images are taken on."""
    num_images = min(num_images, MAX_IMAGES)
    fewest = min(num_images, num_real)
    return {
        "num_images": num_images,
        "num_real": num_real,
        "neighbors": min(NEIGHBORS, fewest - 1),
        "subset_size": min(SUBSET_SIZE, fewest),
        "num_subsets": NUM_SUBSETS,
    }


def fidelity(blocks: Sequence[np.ndarray], real: np.ndarray) -> Fidelity:
    """The numbers of one schedule.

    Args:
        blocks: features (n, D) of its samples, in their order.
        real: features (M, D), as `real_subset` leaves them.
    """
    samples = np.concatenate(blocks)[:MAX_IMAGES]
    facts = fidelity_facts(len(samples), len(real))
    sizes = {name: facts[name] for name in ("subset_size", "num_subsets")}
    distance = kid(samples, real, **sizes, seed=SEED)
    return Fidelity(distance, *precision_recall(samples, real, facts["neighbors"]))
