"""Precision and recall against the definition pair by pair, and where they are known."""

import numpy as np
import pytest

from models import precision_recall as module
from models.precision_recall import precision_recall


def brute_force(samples, real, k):
    def share(points, centers):
        radii = [sorted(np.linalg.norm(centers - c, axis=1))[k] for c in centers]  # [0] is itself
        inside = [
            any(np.linalg.norm(p - c) <= r for c, r in zip(centers, radii, strict=True))
            for p in points
        ]
        return np.mean(inside)

    return share(samples, real), share(real, samples)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("rows", [7, 1000])
def test_it_is_the_definition(monkeypatch, k, rows):
    monkeypatch.setattr(module, "ROWS", rows)
    rng = np.random.default_rng(k)
    samples, real = rng.standard_normal((40, 3)), rng.standard_normal((33, 3)) + 1.5
    expected = brute_force(samples, real, k)
    assert precision_recall(samples, real, k) == expected
    assert 0 < min(expected) and max(expected) < 1 and expected[0] != expected[1]


def test_real_images_themselves_are_precise_and_complete():
    real = np.random.default_rng(0).standard_normal((50, 4)).astype("f4")
    assert precision_recall(real, real) == (1, 1)


def test_far_away_there_is_neither():
    real = np.random.default_rng(0).standard_normal((50, 4))
    assert precision_recall(real + 100, real) == (0, 0)


def test_one_kind_of_two_is_precise_but_half_of_what_there_is():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 300, 2))
    real = np.concatenate([one, other + 50])
    precision, recall = precision_recall(rng.standard_normal((300, 2)), real)
    assert precision > 0.9 and 0.45 < recall <= 0.5
    assert precision_recall(real, rng.standard_normal((300, 2)))[0] == pytest.approx(0.5, abs=0.05)


def test_in_one_dimension_the_balls_are_known():
    """Of 0, 1, 3 with k = 1 the balls are [-1, 1], [0, 2] and [1, 5], their ends with them."""
    real = np.array([[0.0], [1.0], [3.0]])
    inside = np.array([[-1.0], [2.0], [5.0], [0.5]])
    outside = np.array([[-1.001], [5.001]])
    assert precision_recall(inside, real, 1)[0] == 1
    assert precision_recall(np.concatenate([inside, outside]), real, 1)[0] == pytest.approx(4 / 6)


def test_twins_fill_no_room():
    real = np.zeros((6, 2))
    samples = np.concatenate([np.zeros((4, 2)), np.full((4, 2), 1e-3)])
    assert precision_recall(samples, real, 3)[0] == 0.5


@pytest.mark.parametrize(
    ("samples", "real", "k", "expected"),
    [((3, 2), (9, 2), 3, "3 neighbors among 3 images, expected 1 to 2"),
     ((9, 2), (9, 2), 0, "expected 1 to 8"), ((9, 2), (9, 3), 3, "dimension 2 and 3")],
)  # fmt: skip
def test_what_cannot_be_is_refused(samples, real, k, expected):
    with pytest.raises(ValueError, match=expected):
        precision_recall(np.zeros(samples), np.zeros(real), k)
