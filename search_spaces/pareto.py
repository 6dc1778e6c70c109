"""Pareto dominance, ranks, crowding and hypervolume of points with two objectives, both minimised.

Points are float arrays (n, 2). One point dominates another if it is no worse in both objectives
and better in at least one; equal points don't dominate each other, so duplicates share a rank.
Deb et al. 2002 (NSGA-II): ranks (section III.A), crowding distance (section III.B).
"""

import numpy as np


def dominated(points: np.ndarray) -> np.ndarray:
    """Mask (n,) bool: which points are dominated by another one."""
    points = _checked(points)
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    better = (points[:, None] < points[None]).any(axis=2)
    return (no_worse & better).any(axis=0)


def non_dominated(points: np.ndarray) -> np.ndarray:
    """Indices of the points that no other dominates, rising; of equal points all are kept."""
    return np.flatnonzero(~dominated(points))


def ranks(points: np.ndarray) -> np.ndarray:
    """Ranks (n,) int: 0 for the front, 1 for the front of what remains, and so on."""
    points = _checked(points)
    result = np.full(len(points), -1)
    rank = 0
    while (result < 0).any():
        remaining = np.flatnonzero(result < 0)
        result[remaining[non_dominated(points[remaining])]] = rank
        rank += 1
    return result


def crowding_distance(points: np.ndarray) -> np.ndarray:
    """Crowding distances (n,), n >= 1, of one front's points: inf at the ends of each objective.

    Each objective contributes the gap between a point's two neighbours over the front's range
    (nothing where the range is 0).
    """
    points = _checked(points)
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        spread = np.ptp(values)
        if spread > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / spread
        distance[order[[0, -1]]] = np.inf
    return distance


def best(points: np.ndarray, number: int, reference: np.ndarray) -> np.ndarray:
    """Indices of the best points, at most `number`, best first.

    By rank, those beyond the reference point (2,) in any objective last, then by crowding
    distance within the rank.
    """
    points = _checked(points)
    rank = ranks(points)
    rank[(points > reference).any(axis=1)] += rank.max() + 1
    crowding = np.zeros(len(points))
    for same in (np.flatnonzero(rank == value) for value in np.unique(rank)):
        crowding[same] = crowding_distance(points[same])
    return np.lexsort((-crowding, rank))[:number]


def hypervolume(points: np.ndarray, reference: np.ndarray) -> float:
    """Area that the points dominate within the box below the reference point (2,), exact.

    Points that don't lie strictly below the reference in both objectives count nothing.
    """
    points, reference = _checked(points), np.asarray(reference, dtype=float)
    inside = points[(points < reference).all(axis=1)]
    area, lowest = 0.0, reference[1]
    for x, y in inside[np.lexsort((inside[:, 1], inside[:, 0]))]:
        if y < lowest:
            area += (reference[0] - x) * (lowest - y)
            lowest = y
    return float(area)


def contributions(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Hypervolume (n,) that is lost if one point alone is left out; 0 for duplicates."""
    points = _checked(points)
    total = hypervolume(points, reference)
    without = [hypervolume(np.delete(points, i, axis=0), reference) for i in range(len(points))]
    return np.maximum(total - np.array(without, dtype=float), 0)


def improvements(points: np.ndarray, front: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Hypervolume (n,) that each point alone would add to a front (m, 2), exact.

    The area below the front is cut into vertical strips between its corners; a point adds, in each
    strip right of it, what lies between its height and the front's.
    """
    points, front = _checked(points), _checked(front)
    reference = np.asarray(reference, dtype=float)
    inside = front[(front < reference).all(axis=1)]
    corners = inside[non_dominated(inside)] if len(inside) else inside
    corners = corners[np.argsort(corners[:, 0], kind="stable")]
    left = np.concatenate([[-np.inf], corners[:, 0]])
    right = np.concatenate([corners[:, 0], reference[:1]])
    height = np.concatenate([reference[1:], corners[:, 1]])
    width = np.clip(right - np.maximum(left, points[:, :1]), 0, None)
    return (width * np.clip(height - points[:, 1:], 0, None)).sum(axis=1)


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"points have shape {points.shape}, expected (n, 2), all of them finite")
    return points
