"""Schedules timed end to end, by a pool that tells the times."""

import numpy as np
import pytest

from orchestration.costs import Cost
from orchestration.latency import MAX_RUNS, MIN_RUNS, time_schedules

SCHEDULES = {"base": ((900, 1.0), (300, 1.0)), "a": ((900, 0.5),), "b": ((9, 1.0),)}


class TimedPool:
    """Samples at a pace that is told, and remembers by what."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.calls = []

    def one(self, method, *args):
        assert method == "sample"
        steps, seed, images = args
        self.calls.append((steps, seed, images))
        return np.full((len(images), 1, 4, 4), len(steps), "f4"), self.seconds.pop(0)


def test_latency_is_of_one_image_and_speed_up_is_over_the_baseline():
    paces = [32.0, 8.0, 16.0, 16.0, 9.0, 20.0]
    pool = TimedPool(list(paces))
    latency, samples = time_schedules(pool, SCHEDULES, None)
    assert latency == {
        "base": {"latency_ms": 1000.0, "speedup": 1.0},
        "a": {"latency_ms": 500.0, "speedup": 2.0},
        "b": {"latency_ms": 1000.0, "speedup": 1.0},
    }
    # in turn, and the same noise for all
    assert pool.calls == [(s, 0, range(16)) for _ in range(2) for s in SCHEDULES.values()]
    assert {key: (images.shape, images.max()) for key, images in samples.items()} == {
        "base": ((16, 1, 4, 4), 2), "a": ((16, 1, 4, 4), 1), "b": ((16, 1, 4, 4), 1)
    }  # fmt: skip


@pytest.mark.parametrize(("pace", "runs"), [(0.01, MAX_RUNS), (4.0, 5), (100.0, MIN_RUNS)])
def test_what_is_quick_is_run_more_often(pace, runs):
    pool = TimedPool([pace] * 3 * MAX_RUNS)
    time_schedules(pool, SCHEDULES, None)
    assert len(pool.calls) == 3 * runs


def test_an_error_is_what_the_prediction_is_too_high_by():
    predicted = Cost("latency", {1.0: 100.0, 0.5: 30.0}, 10.0)
    pool = TimedPool([3.2, 0.8, 1.6] * MAX_RUNS)  # 200, 50 and 100 ms an image
    latency, _ = time_schedules(pool, SCHEDULES, predicted)
    found = [(of["latency_predicted_ms"], of["latency_error"]) for of in latency.values()]
    assert found == [
        (210.0, pytest.approx(0.05)), (40.0, pytest.approx(-0.2)), (110.0, pytest.approx(0.1))
    ]  # fmt: skip
