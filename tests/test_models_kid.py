"""KID against its definition pair by pair, its expectation in closed form, and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from models import kid as kids
from models.kid import kid

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((23, 5)), RNG.standard_normal((31, 5)) + 0.5


def brute_force(x, y):
    """MMD^2 of equally many, pair by pair."""
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n = len(x)
    same = sum(k(s[i], s[j]) for s in (x, y) for i in range(n) for j in range(n) if i != j)
    return same / (n * (n - 1)) - 2 * sum(k(a, b) for a in x for b in y) / n**2


def test_of_one_subset_of_all_it_is_the_unbiased_mmd():
    found = kid(X, Y[:23], subset_size=23, num_subsets=1)
    assert found == pytest.approx(brute_force(X, Y[:23]), rel=1e-12)


def test_of_subsets_it_is_the_mean_over_the_same_subsets(monkeypatch):
    monkeypatch.setattr(kids, "ROWS", 7)  # which leaves a remainder
    found = kid(X, Y, subset_size=10, num_subsets=4, seed=3)
    rng = np.random.default_rng(3)
    of_x, of_y = (
        [rng.choice(count, 10, replace=False) for _ in range(4)] for count in (len(X), len(Y))
    )
    subsets = zip(of_x, of_y, strict=True)
    expected = np.mean([brute_force(X[a], Y[b]) for a, b in subsets])
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_kernel_is_that_of_scikit_learn():
    gram = polynomial_kernel(X, Y[:23], degree=3)  # gamma = 1 / D, coef0 = 1
    within = [polynomial_kernel(a, degree=3) for a in (X, Y[:23])]
    same = sum((k.sum() - np.trace(k)) / (23 * 22) for k in within)
    found = kid(X, Y[:23], subset_size=23, num_subsets=1)
    assert found == pytest.approx(same - 2 * gram.mean(), rel=1e-12)


def test_it_is_unbiased_at_any_number_of_images():
    """In one dimension, E k of independent x, y is a polynomial of moments: 1 + 3 E[xy]^2 + ..."""
    def mean_kernel(m, v):  # moments of N(m[0], v[0]), N(m[1], v[1]); k = (xy + 1)^3
        first, second = m[0] * m[1], (m[0] ** 2 + v[0]) * (m[1] ** 2 + v[1])
        third = np.prod([mean**3 + 3 * mean * var for mean, var in zip(m, v, strict=True)])
        return third + 3 * second + 3 * first + 1

    exact = (mean_kernel((0.5, 0.5), (1, 1)) + mean_kernel((0, 0), (1, 1))
             - 2 * mean_kernel((0.5, 0), (1, 1)))  # fmt: skip
    rng = np.random.default_rng(1)
    for count in (5, 50):
        found = [
            kid(rng.standard_normal((count, 1)) + 0.5, rng.standard_normal((count, 1)),
                subset_size=count, num_subsets=1)
            for _ in range(40_000 // count)
        ]  # fmt: skip
        error = np.std(found) / len(found) ** 0.5
        assert abs(np.mean(found) - exact) < 4 * error and 4 * error < exact


def test_the_same_seed_gives_the_same_bits_and_float32_is_fine():
    x, y = X.astype("f4"), Y.astype("f4")
    sizes = {"subset_size": 10, "num_subsets": 5}
    assert kid(x, y, **sizes) == kid(x, y, **sizes) != kid(x, y, **sizes, seed=1)


@pytest.mark.parametrize(
    ("x", "y", "size", "expected"),
    [(X, Y, 1, "subsets of 1 images, expected 2 to 23"), (X, Y, 24, "expected 2 to 23"),
     (X[:, :3], Y, 5, "dimension 3 and 5")],
)  # fmt: skip
def test_what_cannot_be_is_refused(x, y, size, expected):
    with pytest.raises(ValueError, match=expected):
        kid(x, y, subset_size=size)
