"""Schedules timed end to end, and how well that was predicted."""

from collections.abc import Mapping, Sequence

import numpy as np

from orchestration.costs import Cost, Step
from orchestration.members import Latency
from orchestration.plan import NUM_SAMPLES
from orchestration.pool import Pool

# Each schedule is run so often, or less often where all of them together would take longer.
MIN_RUNS, MAX_RUNS, MAX_SECONDS = 2, 10, 60.0


def time_schedules(
    pool: Pool, schedules: Mapping[str, Sequence[Step]], predicted: Cost | None
) -> tuple[dict[str, Latency], dict[str, np.ndarray]]:
    """Samples NUM_SAMPLES images at once by each schedule, in turn, on one actor.

    A time is the least of several runs: whatever else the machine does only adds to it. They are
    taken in turn, so that a slow minute is one for all schedules.

    Args:
        pool: whose first actor samples.
        schedules: by key, the baseline first.
        predicted: the latency that is expected, where it is known.

    Returns:
        Latencies, and samples as float32 (NUM_SAMPLES, C, H, W) in [-1, 1], by key.
    """
    samples: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    done, num_runs = 0, MIN_RUNS
    while done < num_runs:
        for key, steps in schedules.items():
            samples[key], taken = pool.one("sample", steps, 0, range(NUM_SAMPLES))
            seconds[key] = min(seconds.get(key, np.inf), taken)
        done += 1
        if done == MIN_RUNS:
            affordable = MAX_SECONDS / sum(seconds.values())
            num_runs = int(min(MAX_RUNS, max(MIN_RUNS, affordable)))
    base = next(iter(seconds.values()))
    return {
        key: _latency(1000 * taken / NUM_SAMPLES, base / taken, schedules[key], predicted)
        for key, taken in seconds.items()
    }, samples


def _latency(
    milliseconds: float, speedup: float, steps: Sequence[Step], predicted: Cost | None
) -> Latency:
    found: Latency = {"latency_ms": milliseconds, "speedup": speedup}
    if predicted is not None:
        found["latency_predicted_ms"] = predicted.of(steps)
        found["latency_error"] = found["latency_predicted_ms"] / milliseconds - 1
    return found
