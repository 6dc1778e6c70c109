"""Pareto tools against brute force over pairs, over a grid of cells, and by hand."""

import numpy as np
import pytest

from search_spaces.pareto import (
    best,
    contributions,
    crowding_distance,
    dominated,
    hypervolume,
    improvements,
    non_dominated,
    ranks,
)


def dominates(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and (a[0] < b[0] or a[1] < b[1])


def random_points(seed, count):
    # Integers from a small range: ties in one objective and duplicates are common.
    return np.random.RandomState(seed).randint(0, 7, size=(count, 2)).astype(float)


def test_the_best_are_ordered_by_rank_in_the_box_then_by_crowding():
    points = np.array([
        [2.5, 0.0], [0.9, 0.9], [1.8, 0.2], [1.0, 0.5], [1.01, 0.49], [1.4, 0.3], [1.9, 0.9],
    ])  # fmt: skip
    reference = np.array([2.0, 1.0])
    # The ends, then those with the widest gaps around them, the dominated, what is beyond the box.
    assert set(best(points, 2, reference)) == {1, 2}
    assert best(points, 7, reference)[2:].tolist() == [5, 4, 3, 6, 0]
    assert best(points, 20, reference).tolist() == best(points, 7, reference).tolist()


def area_by_cells(points, reference):
    """Unit cells of an integer box that some point dominates."""
    return sum(
        any(p[0] <= x and p[1] <= y for p in points)
        for x in range(int(reference[0]))
        for y in range(int(reference[1]))
    )


@pytest.mark.parametrize("seed", range(20))
def test_against_brute_force(seed):
    points = random_points(seed, count=1 + seed)
    expected = [any(dominates(b, a) for b in points) for a in points]
    assert dominated(points).tolist() == expected
    assert non_dominated(points).tolist() == [i for i, d in enumerate(expected) if not d]

    rank = ranks(points)
    for i, a in enumerate(points):
        above = [rank[j] for j, b in enumerate(points) if dominates(b, a)]
        assert rank[i] == (max(above) + 1 if above else 0)

    reference = np.array([5, 6])
    area = area_by_cells(points, reference)
    assert hypervolume(points, reference) == area
    shuffled = np.random.RandomState(seed).permutation(points)
    assert hypervolume(shuffled, reference) == area
    lost = [area - area_by_cells(np.delete(points, i, axis=0), reference) for i in range(1 + seed)]
    assert contributions(points, reference).tolist() == lost

    offered = random_points(100 + seed, count=30)
    added = [area_by_cells([*points, point], reference) - area for point in offered]
    assert improvements(offered, points, reference).tolist() == added


def test_empty():
    empty = np.zeros((0, 2))
    assert dominated(empty).shape == ranks(empty).shape == (0,)
    assert hypervolume(empty, np.ones(2)) == 0
    assert improvements(np.array([[0.5, 0.25]]), empty, np.ones(2)).tolist() == [0.375]


def test_hypervolume_converges_to_the_closed_form():
    # Below (1, 1) and above the quarter circle x^2 + y^2 = 1 around (1, 1): area pi / 4.
    angle = np.linspace(0, np.pi / 2, 4001)
    points = 1 - np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert hypervolume(points, np.ones(2)) == pytest.approx(np.pi / 4, abs=1e-3)


def test_crowding_by_hand():
    points = np.array([[0.0, 10.0], [4.0, 0.0], [1.0, 6.0], [3.0, 2.0]])
    # Sorted by x: (0,10), (1,6), (3,2), (4,0); ranges 4 and 10.
    expected = [np.inf, np.inf, 3 / 4 + 8 / 10, 3 / 4 + 6 / 10]
    np.testing.assert_allclose(crowding_distance(points), expected)


def test_crowding_of_equal_points_and_of_one():
    assert crowding_distance(np.ones((1, 2))).tolist() == [np.inf]
    distances = crowding_distance(np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5], [1.0, 0.0]]))
    assert np.isinf(distances[[0, 3]]).all()
    # Each of the twins has its twin on one side and an end, half the range away, on the other.
    assert distances[1] == distances[2] == 1.0


@pytest.mark.parametrize("bad", [[[0.0, np.nan]], [[0.0, np.inf]], [[0.0, 1.0, 2.0]], [1.0, 2.0]])
def test_refuses_points_that_are_no_points(bad):
    for function in (dominated, ranks, crowding_distance):
        with pytest.raises(ValueError, match="expected"):
            function(np.array(bad))
