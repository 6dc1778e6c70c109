"""How images and schedules are cut into tasks."""

from collections.abc import Sequence

from orchestration.scorer import Steps


def batches(num_images: int, batch_size: int) -> list[range]:
    """Consecutive image indices, the last run perhaps shorter."""
    starts = range(0, num_images, batch_size)
    return [range(start, min(start + batch_size, num_images)) for start in starts]


def cuts(schedules: Sequence[Steps], parts: int) -> list[list[int]]:
    """Positions of the schedules in runs of lexicographic neighbours, as even as can be."""
    order = sorted(range(len(schedules)), key=lambda i: tuple(schedules[i]))
    parts = min(parts, len(order))
    edges = [len(order) * p // parts for p in range(parts + 1)]
    return [order[a:b] for a, b in zip(edges, edges[1:], strict=False)]
