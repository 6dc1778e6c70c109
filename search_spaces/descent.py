"""Descent over which candidates are kept: by moves of one, and of runs of neighbours together."""

from collections.abc import Callable, Iterator, Sequence

Kept = tuple[int, ...]


def descend(start: Sequence[int], num_candidates: int, loss: Callable[[Kept], float]) -> Kept:
    """A subset of the same size that no neighbour of it (`neighbours`) is better than.

    Args:
        start: indices, rising.
        num_candidates: indices are below it.
        loss: of a subset; lower is better.
    """
    best = tuple(start)
    least = loss(best)
    place, still = 0, 0
    while still < len(best):
        found = min(neighbours(best, place, num_candidates), key=loss, default=best)
        if found != best and (value := loss(found)) < least:
            best, least, still = found, value, 0
        else:
            still += 1
        place = (place + 1) % len(best)
    return best


def neighbours(kept: Kept, place: int, num_candidates: int) -> Iterator[Kept]:
    """Subsets in which one index, or a run that begins with it, is elsewhere.

    The one goes anywhere between the indices beside it, a run up or down by one.

    Args:
        kept: indices, rising.
        place: which one.
        num_candidates: indices are below it.
    """
    low = kept[place - 1] + 1 if place else 0
    after = [*kept[place + 1 :], num_candidates]
    for index in range(low, after[0]):
        if index != kept[place]:
            yield kept[:place] + (index,) + kept[place + 1 :]
    for end in range(place + 2, len(kept) + 1):
        run, rest = kept[place:end], kept[end:]
        if run[0] > low:
            yield kept[:place] + tuple(i - 1 for i in run) + rest
        if run[-1] + 1 < (rest[0] if rest else num_candidates):
            yield kept[:place] + tuple(i + 1 for i in run) + rest
