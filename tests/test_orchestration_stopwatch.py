"""The fastest of several calls, on a clock that is told."""

import pytest

from orchestration.stopwatch import MAX_ROUNDS, MAX_SECONDS, MIN_ROUNDS, fastest_s


class Clock:
    """Stands still but for what calls take, which is told."""

    def __init__(self):
        self.now = 0.0
        self.called = []

    def __call__(self):
        return self.now

    def call(self, name, seconds):
        def run():
            self.called.append(name)
            self.now += seconds.pop(0)

        return run


def test_the_fastest_of_calls_taken_in_turn_counts_but_not_the_first():
    clock = Clock()
    slow = [0.1, 5.0, 4.0, 9.0, *[6.0] * MAX_ROUNDS]
    quick = [0.1, 2.0, 3.0, 1.0, *[7.0] * MAX_ROUNDS]
    found = fastest_s({"a": clock.call("a", slow), "b": clock.call("b", quick)}, clock)
    assert found == {"a": pytest.approx(4), "b": pytest.approx(1)}
    assert clock.called == ["a", "b"] * (1 + MIN_ROUNDS)  # which take longer than is allowed


def test_short_calls_are_repeated_until_it_is_enough():
    clock = Clock()
    fastest_s({"a": clock.call("a", [0.001] * 1000)}, clock)
    assert len(clock.called) == 1 + MAX_ROUNDS
    clock = Clock()
    fastest_s({"a": clock.call("a", [MAX_SECONDS / 10] * 1000)}, clock)
    assert MIN_ROUNDS < len(clock.called) - 1 <= 12


def test_so_many_rounds_are_made_as_are_asked_for():
    clock = Clock()
    found = fastest_s({"a": clock.call("a", [0.5, 2.0, 1.0, 3.0])}, clock, most=2)
    assert found == {"a": pytest.approx(1)} and clock.called == ["a"] * 3
