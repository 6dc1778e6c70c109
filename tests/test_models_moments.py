"""Moments: equal to numpy on all vectors at once, in any partition; refusals by name."""

import pickle

import numpy as np
import pytest

from models.moments import (
    Moments,
    NonFiniteFeatures,
    fold,
    merge,
    moments,
    remove,
    summarize,
)


def features(n, dimension=5, seed=0, offset=1000.0):
    """Correlated features far from the origin, where sums of squares would cancel."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dimension)) @ rng.normal(size=(dimension, dimension)) + offset


def assert_equal(a: Moments, b: Moments):
    assert a.count == b.count
    np.testing.assert_allclose(a.mean, b.mean, rtol=1e-13)
    np.testing.assert_allclose(a.scatter, b.scatter, rtol=1e-9, atol=1e-8)


def test_moments_are_those_of_numpy():
    x = features(40)
    found = moments(x)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(x, rowvar=False), rtol=1e-9)


def test_float32_features_are_summed_in_float64():
    x = features(1000).astype(np.float32)
    found = moments(x)
    assert found.mean.dtype == found.scatter.dtype == np.float64
    np.testing.assert_allclose(found.covariance, np.cov(x.astype(np.float64), rowvar=False), 1e-9)


def test_moments_leave_the_features_alone():
    x = features(10)
    before = x.copy()
    moments(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("size", [1, 7, 20, 39])
def test_merge_is_the_moments_of_both(size):
    x = features(40)
    x[size:] += 3  # the parts have different means
    assert_equal(merge(moments(x[:size]), moments(x[size:])), moments(x))


@pytest.mark.parametrize("size", [1, 7, 20, 39])
def test_remove_undoes_merge(size):
    x = features(40)
    x[size:] += 3
    assert_equal(remove(moments(x), moments(x[:size])), moments(x[size:]))


def test_remove_must_leave_something():
    whole = moments(features(4))
    with pytest.raises(ValueError, match="cannot remove 4 of 4"):
        remove(whole, whole)


def test_fold_takes_features_and_moments_alike():
    x = features(23)
    blocks = [x[:10], moments(x[10:20]), x[20:]]
    assert_equal(fold(blocks), moments(x))


def test_fold_merges_from_left_to_right():
    parts = [moments(features(3 + i, seed=i)) for i in range(5)]
    by_hand = parts[0]
    for part in parts[1:]:
        by_hand = merge(by_hand, part)
    np.testing.assert_array_equal(fold(parts).scatter, by_hand.scatter)
    np.testing.assert_array_equal(fold(parts).mean, by_hand.mean)


def test_fold_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no blocks"):
        fold([])


def test_summary_is_the_smaller_description():
    few, many = features(4), features(5)
    assert summarize(few) is few
    assert_equal(summarize(many), moments(many))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("take", [moments, summarize])
@pytest.mark.parametrize("n", [4, 9])  # below and above the dimension
def test_non_finite_features_are_refused_by_name(bad, take, n):
    x = features(n)
    x[2, 1] = bad
    with pytest.raises(NonFiniteFeatures, match=rf"1 of {n} .* row 2"):
        take(x)


@pytest.mark.parametrize("shape", [(0, 5), (5,), (2, 3, 4), (3, 0)])
def test_shapes_that_are_not_features_are_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        moments(np.zeros(shape))


def test_one_vector_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2"):
        _ = moments(features(1)).covariance


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(NonFiniteFeatures("here")))
    assert isinstance(error, ValueError) and str(error) == "here"
