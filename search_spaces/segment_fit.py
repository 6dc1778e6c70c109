"""The pieces that come nearest to a genome, by dynamic programming."""

import numpy as np


def evenly(
    index: np.ndarray, count: np.ndarray | int, length: np.ndarray | int, spacing: str
) -> np.ndarray:
    """Where the index-th of `count` kept ones of `length` lies, both counted from the clean end.

    As in `schedule.even_grid`: floor(i length / count) where the spacing is "leading",
    round((i + 1) length / count) - 1 where it is "trailing".
    """
    count = np.maximum(count, 1)
    if spacing == "trailing":
        return np.round((index + 1) * length / count).astype(np.int64) - 1
    return index * length // count


def nearest_pieces(
    genome: np.ndarray,
    num_pieces: int,
    num_widths: int,
    spacing: str,
    most_borders: int | None = None,
) -> tuple[np.ndarray, int]:
    """Pieces (n, 3), n <= num_pieces, as in `segment_operators`, and how far off they are.

    Each piece keeps as many steps as the genome does there. The distance is the sum over steps of
    how many positions a step is off, and of how many widths. Of equally near ones those with the
    fewest pieces are taken.

    Args:
        genome: (S,).
        num_pieces: the most there may be.
        num_widths: K, the widest gene.
        spacing: of the kept steps of a piece, see `evenly`.
        most_borders: only about so many places are tried, evenly spread; None: all of them.
    """
    size = len(genome)
    stride = 1 if most_borders is None else -(-size // most_borders)
    borders = np.unique(np.append(np.arange(0, size, stride), size))
    costs, genes = _costs(genome, borders, num_widths, spacing)
    best = np.where(np.arange(len(borders)) == 0, 0, np.iinfo(np.int32).max).astype(np.int64)
    totals, origins = [], []
    for _ in range(num_pieces):
        through = best[:, None] + costs
        origins.append(through.argmin(axis=0))
        best = through.min(axis=0)
        totals.append(best[-1])
    num_used = int(np.argmin(totals)) + 1
    rows, end = [], len(borders) - 1
    for origin in reversed(origins[:num_used]):
        start = origin[end]
        count = np.count_nonzero(genome[borders[start] : borders[end]])
        rows.append((borders[end] - borders[start], genes[start, end], count))
        end = start
    return np.array(rows[::-1], dtype=np.int64), int(min(totals))


def _costs(
    genome: np.ndarray, borders: np.ndarray, num_widths: int, spacing: str
) -> tuple[np.ndarray, np.ndarray]:
    """Distance and gene, each (B, B), of one piece from border a to border b > a; else a wall."""
    wall = np.iinfo(np.int32).max
    costs = np.full((len(borders), len(borders)), wall, dtype=np.int64)
    genes = np.ones_like(costs)
    kept, before = np.flatnonzero(genome), np.append(0, np.cumsum(genome > 0))[borders]
    widths = np.arange(1, num_widths + 1)
    for b in range(1, len(borders)):
        order = kept[: before[b]][::-1]  # from the clean end
        index = np.arange(len(order))
        counts, lengths = before[b] - before[:b], borders[b] - borders[:b]
        even = evenly(index, counts[:, None], lengths[:, None], spacing)
        off = np.abs(even - (borders[b] - 1 - order)) * (index < counts[:, None])
        widths_off = np.abs(genome[order] - widths[:, None])
        by_width = np.concatenate([np.zeros((num_widths, 1), int), widths_off.cumsum(1)], axis=1)
        costs[:b, b] = off.sum(axis=1) + by_width[:, counts].min(axis=0)
        genes[:b, b] = 1 + by_width[:, counts].argmin(axis=0)
    return costs, genes
