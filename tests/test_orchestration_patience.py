"""Waiting for a full cluster; the clock and the cluster are told."""

import pytest

from orchestration.errors import MachineError
from orchestration.patience import Patience, lacking, shown


class Wait:
    """A clock, and what is said as it goes on."""

    def __init__(self, free, needed=None, patience_s=200.0):
        self.now, self.said = 0.0, []
        self.patience = Patience(
            "actors, each with 1 GPU", needed or {"CPU": 2.0, "GPU": 1.0}, self.said.append,
            patience_s, lambda: free, lambda: self.now,
        )  # fmt: skip

    def until(self, seconds, left=""):
        while self.now < seconds:
            self.now += 1.0
            self.patience.tick(left)
        return len(self.said)


def test_what_is_missing_is_said_after_ten_seconds_and_each_minute():
    wait = Wait({"CPU": 5.5, "GPU": 0.5})
    assert wait.until(9) == 0 and wait.until(11, "2 of 3") == 1
    assert wait.said == [
        "ray     waits for 2 of 3 actors, each with 1 GPU; 5.5 CPU and 0.5 GPU free"
    ]
    assert wait.until(69) == 1 and wait.until(71) == 2


def test_where_there_is_room_a_slow_start_is_nothing_to_say():
    wait = Wait({"CPU": 2.0, "GPU": 1.0})
    assert wait.until(59) == 0 and wait.until(61) == 1


def test_patience_ends_with_what_is_awaited_and_how_to_go_on():
    wait = Wait({"CPU": 0.0}, patience_s=30.0)
    with pytest.raises(MachineError, match="waited 30 s for actors, each with 1 GPU; 0 CPU free"):
        wait.until(40)
    assert wait.now == 30 and wait.patience is not None
    with pytest.raises(MachineError, match="ray.patience_s; the same command resumes"):
        wait.patience.tick()


def test_what_is_lacking():
    assert lacking({"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0}) == {"GPU": 1.0}
    assert lacking({"CPU": 0.9}, {"CPU": 0.9 - 1e-9}) == {}
    assert shown({"CPU": 1.2345, "memory": 1e9}) == "1.23 CPU"
