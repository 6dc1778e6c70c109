"""Distances from inner products, against those from moments."""

import numpy as np
import pytest

from models.frechet import Reference, distance
from models.gram import Gram
from models.intervals import jackknife
from models.moments import NonFiniteFeatures, moments


def reference_of(dimension, seed=0):
    rng = np.random.default_rng(seed)
    return Reference.of(moments(rng.normal(size=(3 * dimension, dimension)) * 2 + 50))


def features_of(count, dimension, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimension)) @ rng.normal(size=(dimension, dimension)) / 9 + 51


@pytest.mark.parametrize("count", [2, 7, 39, 40, 90])
def test_any_subset_has_the_distance_that_its_moments_give(count):
    reference, features = reference_of(40), features_of(count, 40)
    gram = Gram(features.astype(np.float32), reference)
    rows = np.random.default_rng(2).permutation(count)
    for size in {2, count // 2 + 1, count}:
        part = features.astype(np.float32)[rows[:size]]
        expected = distance(moments(part), reference)
        assert gram.distance(rows[:size]) == pytest.approx(expected, rel=1e-9)


def test_a_reference_of_low_rank():
    reference = Reference.of(moments(features_of(10, 40, seed=3)))
    features = features_of(20, 40)
    expected = distance(moments(features), reference)
    assert Gram(features, reference).distance(np.arange(20)) == pytest.approx(expected, rel=1e-7)


def test_the_jackknife_of_few_images_leaves_out_block_by_block():
    """Blocks of unequal sizes; the last sum of images equals the dimension."""
    reference = reference_of(40)
    for sizes in ([9, 9, 9, 4], [10, 10, 10, 10]):
        blocks = [features_of(n, 40, seed) for seed, n in enumerate(sizes)]
        found = jackknife(blocks, reference)
        whole = distance(moments(np.concatenate(blocks)), reference)
        assert found.full == pytest.approx(whole, rel=1e-9)
        assert found.counts.tolist() == sizes
        for b in range(4):
            rest = np.concatenate(blocks[:b] + blocks[b + 1 :])
            expected = distance(moments(rest), reference)
            assert found.without[b] == pytest.approx(expected, rel=1e-9)


def test_what_is_no_feature_is_refused():
    reference = reference_of(5)
    with pytest.raises(ValueError, match="dimension 4, expected 5"):
        Gram(np.zeros((3, 4)), reference)
    with pytest.raises(ValueError, match="at least 2 feature vectors, got 1"):
        Gram(np.zeros((3, 5)), reference).distance(np.array([1]))
    features = np.zeros((3, 5))
    features[1, 2] = np.nan
    with pytest.raises(NonFiniteFeatures, match="row 1"):
        Gram(features, reference)
