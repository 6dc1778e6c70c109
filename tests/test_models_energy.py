"""The energy score against closed forms, and what it is there for: few samples don't bias it."""

import numpy as np
import pytest
from scipy.stats import norm

from models.energy import energy_score, mean_distance
from models.moments import NonFiniteFeatures


def test_a_worked_example():
    samples, real = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [0.0, 4.0]])
    assert energy_score(samples, real) == pytest.approx((0 + 4 + 5 + 3) / 4 - 5 / 2)


def test_in_one_dimension_it_is_the_crps_of_a_gaussian():
    """Gneiting and Raftery 2007, equation 21."""
    samples = norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
    for y in (-1.3, 0.0, 2.0):
        exact = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.pi**0.5
        assert energy_score(samples, np.array([[y]])) == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("number", [2, 5, 20])
def test_its_mean_does_not_depend_on_the_number_of_samples(number):
    rng = np.random.default_rng(0)
    real = rng.standard_normal((500, 8))
    scores = [energy_score(rng.standard_normal((number, 8)), real) for _ in range(4000 // number)]
    many = energy_score(rng.standard_normal((4000, 8)), real)
    error = np.std(scores) / len(scores) ** 0.5
    assert np.mean(scores) == pytest.approx(many, abs=4 * error + 0.01)


@pytest.mark.parametrize("number", [4, 14])
def test_of_few_samples_those_of_the_true_spread_are_best_in_the_mean(number):
    """By their Fréchet distance narrower ones would be: the other sign."""
    rng = np.random.default_rng(1)
    real = rng.standard_normal((1000, 16))
    drawn = rng.standard_normal((400, number, 16))
    gains = {
        spread: [energy_score(spread * x, real) - energy_score(x, real) for x in drawn]
        for spread in (0.8, 1.25)
    }
    for of_spread in gains.values():
        assert np.mean(of_spread) > 2 * np.std(of_spread) / 20


def test_bad_samples_are_refused():
    real = np.zeros((3, 2))
    with pytest.raises(ValueError, match="expected at least 2 samples"):
        energy_score(np.zeros((1, 2)), real)
    with pytest.raises(ValueError, match="same dimension"):
        energy_score(np.zeros((4, 3)), real)
    with pytest.raises(NonFiniteFeatures, match="1 of 2 feature vectors"):
        energy_score(np.array([[0.0, np.nan], [0.0, 1.0]]), real)


def test_the_distance_of_coupled_samples():
    samples, others = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    assert mean_distance(samples, others) == pytest.approx((1 + 5) / 2)
    with pytest.raises(ValueError, match="expected one shape"):
        mean_distance(samples, others[:1])
    samples[0, 0] = np.nan
    for one, other in ((samples, others), (others, samples)):
        with pytest.raises(NonFiniteFeatures, match="1 of 2 feature vectors are not finite"):
            mean_distance(one, other)


@pytest.mark.parametrize("seed", range(5))
def test_scores_differ_by_twice_the_distance_at_most(seed):
    rng = np.random.default_rng(seed)
    real, samples = rng.standard_normal((300, 3)), rng.standard_normal((400, 3))
    others = samples + rng.gamma(0.3, size=(400, 1)) * rng.standard_normal(3)
    difference = energy_score(others, real) - energy_score(samples, real)
    assert 0 < abs(difference) <= 2 * mean_distance(others, samples)


def test_each_of_the_scores_terms_differs_by_the_distance_at_most():
    """As much as that where two points move away from all data; or draw together beside them."""
    real, samples = np.zeros((1, 2)), np.array([[1e4, 1.0], [1e4, -1.0]])
    for others in (samples + [[1.0, 0.0]], samples * [[1.0, 0.0]]):
        assert energy_score(others, real) - energy_score(samples, real) == pytest.approx(
            mean_distance(samples, others), rel=1e-3
        )
