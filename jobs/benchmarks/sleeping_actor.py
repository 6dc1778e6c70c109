"""A scoring actor that sleeps instead of sampling; several of them fit into one process.

It imports no torch, so that many of them fit into a small machine's memory.
"""

import time
from collections.abc import Sequence

import numpy as np

from models.intervals import Replicates

NUM_BLOCKS = 2  # the fewest that an error bar can be made of

Steps = Sequence[tuple[int, float]]


class SleepingActor:
    """Answers as `scoring_actors.ScorerActor` does; has no state, so threads may share it.

    Args:
        seconds_per_block: what one candidate's samples of one batch take.
    """

    def __init__(self, seconds_per_block: float) -> None:
        self.seconds_per_block = seconds_per_block

    def call(self, shared: object, method: str, *args: object) -> None:
        """Nothing: it keeps nothing."""

    def score(
        self,
        shared: object,
        schedules: Sequence[Steps],
        seed: int,
        images: range,
        whole: bool = False,
    ) -> list[float] | float:
        """What stands for the features of each schedule; of one schedule, its own alone."""
        time.sleep(self.seconds_per_block * len(schedules))
        # The more and the wider the steps, the better
        told = [1 + 100 / (1 + sum(width for _, width in steps)) for steps in schedules]
        return told if len(told) > 1 else told[0]

    def judge(self, shared: object, num_schedules: int, *blocks: float) -> list[Replicates]:
        """Distances of schedules: the means of their batches."""
        of_each = np.reshape(blocks, (num_schedules, -1))
        counts = np.full(NUM_BLOCKS, of_each.shape[1])
        return [
            Replicates(float(full), np.full(NUM_BLOCKS, full), counts)
            for full in of_each.mean(axis=1)
        ]
