"""Counted calls against the set of all prefixes, spelled out."""

import random

from search_spaces.prefixes import count_calls, shared_length


def prefixes(schedules):
    return {tuple(s[:k]) for s in schedules for k in range(1, len(s) + 1)}


def random_schedules(rng, count):
    # Few timesteps and widths, so that many prefixes are shared and some schedules are equal.
    times = [9, 5, 2, 0]
    schedules = []
    for _ in range(count):
        kept = [t for t in times if rng.random() < 0.7] or [0]
        schedules.append([(t, rng.choice([0.5, 1.0])) for t in kept])
    return schedules


def test_count_calls_equals_brute_force():
    rng = random.Random(0)
    for _ in range(300):
        schedules = random_schedules(rng, rng.randrange(8))
        known = random_schedules(rng, rng.randrange(5))
        assert count_calls(schedules, known) == len(prefixes(schedules) - prefixes(known))


def test_worked_example():
    a = [(9, 0.5), (5, 1.0), (0, 1.0)]
    b = [(9, 0.5), (5, 1.0), (2, 1.0)]
    c = [(9, 1.0), (5, 1.0)]
    assert count_calls([a]) == 3
    assert count_calls([a, b]) == 4
    assert count_calls([a, b, a, c]) == 6
    assert count_calls([b, c], known=[a]) == 3
    assert count_calls([a[:2]], known=[a]) == 0
    assert count_calls([]) == count_calls([], known=[a]) == 0


def test_shared_length():
    a = [(9, 0.5), (5, 1.0), (0, 1.0)]
    assert shared_length(a, a) == 3
    assert shared_length(a, a[:2]) == shared_length(a[:2], a) == 2
    assert shared_length(a, [(9, 0.5), (5, 0.5), (0, 1.0)]) == 1
    assert shared_length(a, []) == 0
