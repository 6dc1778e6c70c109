"""The judge of samples is judged: right and calibrated on unseen digits, unsure of the rest."""

import numpy as np
import pytest
from second_classifier import SURE, Judge, real_digits

IMAGES, LABELS = real_digits()
ORDER = np.random.default_rng(0).permutation(len(IMAGES))
UNSEEN, TRUTH = IMAGES[ORDER[1::2]], LABELS[ORDER[1::2]]


@pytest.fixture(scope="module")
def judge():
    return Judge(IMAGES[ORDER[::2]], LABELS[ORDER[::2]])


def test_is_sure_of_real_digits_and_right(judge):
    probabilities = judge.probabilities(UNSEEN)
    hit = probabilities.argmax(axis=1) == TRUTH
    sure = probabilities.max(axis=1) > SURE
    assert hit.mean() > 0.975
    assert judge.sure_fraction(UNSEEN) == sure.mean() > 0.93
    assert hit[sure].mean() > 0.99


def test_is_calibrated_on_real_digits(judge):
    """What it says of its own accuracy is true within 1.5 %, overall and where it is unsure."""
    probabilities = judge.probabilities(UNSEEN)
    hit = probabilities.argmax(axis=1) == TRUTH
    confidence = probabilities.max(axis=1)
    assert confidence.mean() == pytest.approx(hit.mean(), abs=0.015)
    unsure = confidence < SURE
    assert confidence[unsure].mean() == pytest.approx(hit[unsure].mean(), abs=0.15)


def blurred(images):
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    return sum(padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 9


RNG = np.random.default_rng(1)
NO_DIGITS = {
    "noise": (RNG.uniform(-1, 1, UNSEEN.shape), 0.01),
    "digits with shuffled pixels": (
        RNG.permuted(UNSEEN.reshape(-1, 64), axis=1).reshape(UNSEEN.shape),
        0.02,
    ),
    "two digits in one": ((UNSEEN + RNG.permutation(UNSEEN)) / 2, 0.4),
    "blurred": (blurred(UNSEEN), 0.3),
    "two digits in one, blurred": (blurred((UNSEEN + RNG.permutation(UNSEEN)) / 2), 0.3),
    "nothing": (-np.ones_like(UNSEEN[:1]), 0.0),
}


@pytest.mark.parametrize("name", NO_DIGITS)
def test_is_unsure_of_what_is_no_digit(judge, name):
    images, most = NO_DIGITS[name]
    assert judge.sure_fraction(images) <= most
