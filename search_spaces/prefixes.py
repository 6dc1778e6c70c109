"""Counting network calls of a population that is sampled through shared prefixes.

The output of a network at the k-th step depends on the first k steps alone (noise is a function
of position), so two schedules with the same first k steps share these k calls. What a population
costs is then the number of distinct non-empty prefixes, that is, the nodes of its trie.
"""

from collections.abc import Iterable, Sequence

Step = tuple[int, float] | tuple[int, float, float]
"""(t, width), and alpha_cumprod where it isn't the chain's own at t."""


def count_calls(schedules: Iterable[Sequence[Step]], known: Iterable[Sequence[Step]] = ()) -> int:
    """Network calls that one block of images needs to sample every schedule.

    Args:
        schedules: the steps of each schedule in sampling order; duplicates cost nothing.
        known: schedules whose every prefix is already at hand (kept states).

    Returns:
        The number of distinct non-empty prefixes of `schedules` that are no prefix of `known`.
    """
    known_steps = [tuple(steps) for steps in known]
    both = known_steps + [tuple(steps) for steps in schedules]
    return _count_prefixes(both) - _count_prefixes(known_steps)


def charge(schedules: Sequence[Sequence[Step]], kept: Sequence[Sequence[Step]]) -> list[int]:
    """Steps that each schedule adds to the kept ones and to those before it."""
    known = list(kept)
    charges = []
    for steps in schedules:
        shared = max((shared_length(steps, other) for other in known), default=0)
        charges.append(len(steps) - shared)
        known.append(steps)
    assert sum(charges) == count_calls(schedules, kept)
    return charges


def shared_length(a: Sequence[Step], b: Sequence[Step]) -> int:
    """Number of first steps in which `a` and `b` agree."""
    for length, (step_a, step_b) in enumerate(zip(a, b, strict=False)):
        if step_a != step_b:
            return length
    return min(len(a), len(b))


def _count_prefixes(schedules: list[tuple[Step, ...]]) -> int:
    # In sorted order the neighbour is the schedule with the longest common prefix.
    ordered = sorted(schedules)
    calls = len(ordered[0]) if ordered else 0
    for previous, steps in zip(ordered, ordered[1:], strict=False):
        calls += len(steps) - shared_length(previous, steps)
    return calls
