"""Counting network calls of a population that is sampled through shared prefixes.

The output of a network at the k-th step depends on the first k steps alone (noise is a function
of position), so two schedules with the same first k steps share these k calls. What a population
costs is then the number of distinct non-empty prefixes, that is, the nodes of its trie.
"""

from collections.abc import Iterable, Sequence

Step = tuple[int, float] | tuple[int, float, float]
"""(t, width), and alpha_cumprod where it isn't the chain's own at t."""

Trie = dict[Step, "Trie"]


def count_calls(schedules: Iterable[Sequence[Step]], known: Iterable[Sequence[Step]] = ()) -> int:
    """Network calls that one block of images needs to sample every schedule.

    Args:
        schedules: the steps of each schedule in sampling order; duplicates cost nothing.
        known: schedules whose every prefix is already at hand (kept states).

    Returns:
        The number of distinct non-empty prefixes of `schedules` that are no prefix of `known`.
    """
    return sum(charge(schedules, known))


def charge(schedules: Iterable[Sequence[Step]], known: Iterable[Sequence[Step]]) -> list[int]:
    """Network calls that each schedule adds to the known ones and to those before it."""
    trie: Trie = {}
    for steps in known:
        _grow(trie, steps)
    return [_grow(trie, steps) for steps in schedules]


def shared_length(a: Sequence[Step], b: Sequence[Step]) -> int:
    """Number of first steps in which `a` and `b` agree."""
    for length, (step_a, step_b) in enumerate(zip(a, b, strict=False)):
        if step_a != step_b:
            return length
    return min(len(a), len(b))


def _grow(trie: Trie, steps: Sequence[Step]) -> int:
    """Takes in a schedule; the number of new nodes."""
    new = 0
    for step in steps:
        if step not in trie:
            trie[step] = {}
            new += 1
        trie = trie[step]
    return new
