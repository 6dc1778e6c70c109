"""Leaving vectors out of a distance by their rank, against a distance of what is left."""

import numpy as np
import pytest

from models import intervals
from models.downdate import Downdate
from models.frechet import Reference, distance
from models.intervals import jackknife
from models.moments import moments

RNG = np.random.default_rng(0)
D = 48


def spread(count, dimension=D, shift=0.0):
    """Correlated vectors with a falling spectrum over six decades."""
    scales = np.logspace(0, -3, dimension)
    mixing = np.linalg.qr(np.random.default_rng(1).standard_normal((dimension, dimension)))[0]
    return (RNG.standard_normal((count, dimension)) * scales) @ mixing + shift


REFERENCE = Reference.of(moments(spread(400, shift=0.1)))


@pytest.mark.parametrize(
    ("count", "part"),
    [(300, 5), (300, 1), (60, 5), (50, 5), (49, 3), (300, 60)],
)  # of rank D before and after, before alone; more than D
def test_it_is_the_distance_of_what_is_left(count, part):
    x = spread(count)
    found = Downdate(moments(x), REFERENCE).without(x[7 : 7 + part])
    expected = distance(moments(np.delete(x, slice(7, 7 + part), axis=0)), REFERENCE)
    assert found == pytest.approx(expected, rel=1e-8 if count - part > D else 1e-7)
    assert expected != pytest.approx(distance(moments(x), REFERENCE), rel=1e-6)


def test_features_that_never_fire_are_no_trouble():
    x, real = spread(200), spread(400)
    x[:, ::3] = real[:, ::3] = 0
    reference = Reference.of(moments(real))
    found = Downdate(moments(x), reference).without(x[:5])
    # Eigenvalues that are 0 but for rounding have roots of 1e-8, one for each such feature
    assert found == pytest.approx(distance(moments(x[5:]), reference), abs=1e-7)


def test_equal_vectors_have_no_spread():
    x = np.ones((20, D))
    found = Downdate(moments(x), REFERENCE).without(x[:5])
    assert found == pytest.approx(distance(moments(x[5:]), REFERENCE), rel=1e-12)


def test_one_vector_is_too_few_to_be_left():
    x = spread(6)
    with pytest.raises(ValueError, match="at least 2 feature vectors, got 1"):
        Downdate(moments(x), REFERENCE).without(x[:5])


@pytest.mark.parametrize("kind", ["features", "some of them moments"])
def test_a_jackknife_takes_it_where_it_pays_and_comes_to_the_same(monkeypatch, kind):
    x = spread(93).astype("f4")
    blocks = [x[start : start + 4] for start in range(0, 93, 4)]  # the last has one
    used = []
    monkeypatch.setattr(
        intervals, "Downdate", lambda *args: used.append(args) or Downdate(*args)
    )
    if kind != "features":
        blocks[3] = moments(blocks[3])
    found = jackknife(blocks, REFERENCE)
    assert len(used) == (kind == "features")
    assert found.full == pytest.approx(distance(moments(x), REFERENCE), rel=1e-8)
    assert found.counts.tolist() == [4] * 23 + [1]
    for b in range(24):
        rest = np.delete(x, slice(4 * b, 4 * b + 4), axis=0)
        assert found.without[b] == pytest.approx(distance(moments(rest), REFERENCE), rel=1e-7)


def test_wide_blocks_are_left_out_one_distance_each(monkeypatch):
    monkeypatch.setattr(intervals, "Downdate", None)
    x = spread(90)
    found = jackknife(np.split(x, 15), REFERENCE)  # 8 x (6 + 1) > D
    assert found.without[0] == pytest.approx(distance(moments(x[6:]), REFERENCE), rel=1e-9)
