"""A stand-in for sampling: features in closed form, for tests and for timing the orchestration.

The features of image k are a unit normal vector, the same for every schedule, shifted by
`shift(steps)`, so the expected Fréchet distance from the unit normal is `shift ** 2` and falls
with the width of the steps, those at low noise most, as it does for real networks.
"""

import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from orchestration.step_times import StepTimes

NUM_FEATURES = 4
MACS = 1_000_000  # of the full width


def macs_table(widths: Sequence[float]) -> dict[float, int]:
    """MACs of a step at each width: they fall with its square."""
    return {width: round(MACS * width**2) for width in widths}


def step_times(widths: Iterable[float]) -> StepTimes:
    """Made-up times: they fall with the width, though by less than MACs do, as real ones."""
    return StepTimes({width: 0.5 + 0.5 * width for width in widths}, 0.02, 0.05)


def shift(steps: Sequence[tuple[int, float]], num_train_timesteps: int) -> float:
    """Distance of the mean of a schedule's features from that of the real ones, above 0.

    Each step leaves an error that grows as it narrows, more so at low noise, and so does each
    gap between timesteps. The first counts by the gap after it: a step at 0 costs nothing. A start
    below .8 T leaves an error too, so that there is something to lose at every cost.
    """
    times = [t / num_train_timesteps for t, _ in steps] + [0.0]
    error = 0.0
    for (_, width), t, s in zip(steps, times[:-1], times[1:], strict=True):
        error += (t - s) * (1.0 - width) * (1.0 - 0.9 * t) + 4.0 * (t - s) ** 2 / (0.1 + t)
    return 1.0 + error + 4.0 * max(0.0, 0.8 - times[0]) ** 2


class StubSource:
    """Scores schedules without a network.

    Args:
        num_train_timesteps: T of the schedules.
        seconds_per_batch: what scoring a batch pretends to cost.
    """

    def __init__(self, num_train_timesteps: int, seconds_per_batch: float = 0.0) -> None:
        self.num_train_timesteps = num_train_timesteps
        self.seconds_per_batch = seconds_per_batch

    def calls(self) -> tuple[int, int]:
        """None."""
        return 0, 0

    def features(
        self, schedules: Sequence[Sequence[tuple[int, float]]], seed: int, images: range
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (index of the schedule, float32 features (n, NUM_FEATURES))."""
        if self.seconds_per_batch:
            time.sleep(self.seconds_per_batch)
        noise = np.stack(
            [np.random.default_rng((seed, k)).standard_normal(NUM_FEATURES) for k in images]
        )
        direction = np.full(NUM_FEATURES, NUM_FEATURES**-0.5)
        for index, steps in enumerate(schedules):
            yield index, (noise + shift(steps, self.num_train_timesteps) * direction).astype("f4")

    def keep(self, schedules: Sequence[Sequence[tuple[int, float]]]) -> None:
        """Has no states to keep."""
