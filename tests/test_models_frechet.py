"""Fréchet distance: closed forms, pytorch-fid, exact invariances, and what must be refused."""

import numpy as np
import pytest
from pytorch_fid.fid_score import calculate_frechet_distance

from models.frechet import Reference, distance, noise_floor
from models.moments import Moments, NonFiniteFeatures, moments


def gaussian(rng, dimension):
    """A random mean and a full covariance with eigenvalues over three decades."""
    basis = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    return rng.normal(size=dimension), (basis * np.logspace(-2, 1, dimension)) @ basis.T


def exactly(mean, covariance, count=10_000):
    """Moments with this mean and covariance."""
    return Moments(count, mean, covariance * (count - 1))


def test_closed_form_of_one_dimension():
    found = distance(
        exactly(np.array([1.0]), np.array([[4.0]])),
        Reference(np.array([-2.0]), np.array([[0.25]])),
    )
    assert found == pytest.approx(3**2 + (2 - 0.5) ** 2)


def test_closed_form_of_commuting_covariances():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a, b = rng.uniform(0.1, 3, size=(2, 6))
    mean_a, mean_b = rng.normal(size=(2, 6))
    found = distance(
        exactly(mean_a, (basis * a**2) @ basis.T), Reference(mean_b, (basis * b**2) @ basis.T)
    )
    assert found == pytest.approx(((mean_a - mean_b) ** 2).sum() + ((a - b) ** 2).sum())


@pytest.mark.parametrize("dimension", [2, 64, 200])
def test_equals_pytorch_fid(dimension):
    rng = np.random.default_rng(dimension)
    (mean, covariance), (mean_r, covariance_r) = gaussian(rng, dimension), gaussian(rng, dimension)
    theirs = calculate_frechet_distance(mean, covariance, mean_r, covariance_r)
    ours = distance(exactly(mean, covariance), Reference(mean_r, covariance_r))
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_equals_pytorch_fid_on_the_same_features():
    rng = np.random.default_rng(1)
    real = rng.normal(size=(500, 32)) ** 3
    fake = (rng.normal(size=(300, 32)) @ rng.normal(size=(32, 32))).astype(np.float32)
    theirs = calculate_frechet_distance(
        fake.mean(axis=0, dtype=np.float64),
        np.cov(fake.astype(np.float64), rowvar=False),
        real.mean(axis=0),
        np.cov(real, rowvar=False),
    )
    assert distance(moments(fake), Reference.of(moments(real))) == pytest.approx(theirs, rel=1e-6)


def test_is_symmetric_and_ignores_rotations_and_shifts():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(80, 16)), rng.exponential(size=(90, 16))
    plain = distance(moments(x), Reference.of(moments(y)))
    assert plain > 1
    assert distance(moments(y), Reference.of(moments(x))) == pytest.approx(plain, rel=1e-10)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    moved = distance(moments(x @ turn + 5), Reference.of(moments(y @ turn + 5)))
    assert moved == pytest.approx(plain, rel=1e-9)


def test_distance_of_a_set_from_itself_is_zero():
    x = moments(np.random.default_rng(3).normal(size=(200, 64)))
    assert abs(distance(x, Reference.of(x))) < 1e-9


@pytest.mark.parametrize(("n", "dimension"), [(2, 64), (20, 64), (64, 64), (65, 64), (300, 1280)])
def test_fewer_vectors_than_dimensions_agree_with_their_gram_matrix(n, dimension):
    """The n x n Gram matrix has the same eigenvalues but one without the null space."""
    rng = np.random.default_rng(n)
    mean_r, covariance_r = gaussian(rng, dimension)
    x = rng.normal(size=(n, dimension))
    reference = Reference(mean_r, covariance_r)
    centered = x - x.mean(axis=0)
    gram = centered @ covariance_r @ centered.T / (n - 1)
    traces = (centered**2).sum() / (n - 1) + np.trace(covariance_r)
    root_trace = np.sqrt(np.linalg.eigvalsh(gram)[-min(n - 1, dimension) :].clip(0)).sum()
    expected = ((x.mean(axis=0) - mean_r) ** 2).sum() + traces - 2 * root_trace
    assert distance(moments(x), reference) == pytest.approx(expected, rel=1e-9)


def test_constant_features():
    constant = moments(np.full((10, 4), 3.0))
    reference = Reference(np.zeros(4), np.diag([1.0, 2.0, 0.0, 4.0]))
    assert distance(constant, reference) == pytest.approx(4 * 9 + 7)


def test_reference_of_lower_rank():
    reference = Reference.of(moments(np.outer(np.arange(5.0), [1.0, 2.0])))
    assert distance(exactly(np.array([2.0, 4.0]), np.eye(2)), reference) == pytest.approx(
        # The reference has the one standard deviation sqrt(2.5 * 5) along a line; the rest is 0.
        (np.sqrt(12.5) - 1) ** 2 + 1
    )


def test_root_of_the_reference_squares_to_its_covariance():
    mean, covariance = gaussian(np.random.default_rng(4), 64)
    root = Reference(mean, covariance).root
    np.testing.assert_allclose(root @ root, covariance, atol=1e-12)
    np.testing.assert_allclose(root, root.T, atol=1e-14)


def test_one_vector_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        distance(moments(np.zeros((1, 3))), Reference(np.zeros(3), np.eye(3)))
    with pytest.raises(ValueError, match="at least 2"):
        Reference.of(moments(np.zeros((1, 3))))


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="dimension 3, expected 4"):
        distance(moments(np.eye(3)), Reference(np.zeros(4), np.eye(4)))
    with pytest.raises(ValueError, match=r"expected \(D,\) and \(D, D\)"):
        Reference(np.zeros(4), np.eye(3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_statistics_never_become_a_number(bad):
    reference = Reference(np.zeros(2), np.eye(2))
    for mean, scatter in [
        (np.array([bad, 0]), np.eye(2)),
        (np.zeros(2), np.array([[1, 0], [0, bad]])),
    ]:
        with pytest.raises(NonFiniteFeatures):
            distance(Moments(5, mean, scatter), reference)
        with pytest.raises(NonFiniteFeatures):
            Reference(mean, scatter)


def test_noise_floor_compares_disjoint_halves():
    x = np.random.default_rng(5).normal(size=(60, 3))
    x[:30] += 100  # were the halves not random, or not disjoint, the numbers below would differ
    floor = noise_floor(x, 1000, seed=1)
    assert floor == noise_floor(x, 30, seed=1)  # at most half of the images
    assert floor != noise_floor(x, 30, seed=2)
    assert 0 < floor < 1000
    # All four different numbers are used once: parts that shared some could agree.
    assert min(noise_floor(np.array([[0.0], [1], [3], [7]]), 2, s) for s in range(9)) > 1


@pytest.mark.parametrize("n", [200, 800])
def test_noise_floor_of_a_gaussian_is_that_of_theory(n):
    """To first order E[FD] = (D + D (D + 1) / 4) (1/n + 1/n) for equal unit covariances."""
    x = np.random.default_rng(6).normal(size=(4000, 16))
    floors = [noise_floor(x, n, seed) for seed in range(8)]
    assert np.mean(floors) == pytest.approx((16 + 16 * 17 / 4) * 2 / n, rel=0.12)


def test_noise_floor_of_too_few_images_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        noise_floor(np.zeros((3, 2)), 10, seed=0)
