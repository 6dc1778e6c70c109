"""What one scoring actor does; an ordinary object, so that it runs in this process too.

A *source* turns schedules into features of their samples: `SupernetSource` by sampling, the stub
in closed form. `Scorer` cuts a batch's features into the blocks that error bars are made of, and
judges collected blocks. Nothing here knows how many actors there are.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from models.energy import energy_score, mean_distance
from models.frechet import Reference
from models.intervals import Replicates, jackknife
from models.moments import FeatureBlock, summarize
from orchestration.fidelity import Fidelity, fidelity
from orchestration.machine import Hardware, hardware
from orchestration.step_times import StepTimes
from orchestration.stopwatch import started
from orchestration.ways import Way

Step = tuple[int, float]
Steps = Sequence[Step]


class Source(Protocol):
    """What turns schedules into features."""

    def features(
        self, schedules: Sequence[Steps], seed: int, images: range
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (index of the schedule, float32 features (len(images), D)), in any order."""

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose prefixes later ones will share."""

    def calls(self) -> tuple[int, int]:
        """Network calls x images made so far, and what they had been one by one."""


class Scorer:
    """Scores batches and judges candidates.

    Args:
        source: of features.
        reference: statistics of the real data.
        block_size: images a block, the unit of the error bars.
        threads: of this process.
    """

    def __init__(
        self, source: Source, reference: Reference, block_size: int, threads: int = 1
    ) -> None:
        torch.set_num_threads(threads)
        self.source = source
        self.reference = reference
        self.block_size = block_size

    def score(
        self, schedules: Sequence[Steps], seed: int, images: range, whole: bool = False
    ) -> list[list[FeatureBlock]]:
        """The blocks of each schedule for one batch of images.

        Args:
            schedules: steps of each.
            seed: of the noise.
            images: their indices.
            whole: leave features as they are, though moments may be smaller.
        """
        found = dict(self.blocks(schedules, seed, images, whole))
        return [found[index] for index in range(len(schedules))]

    def blocks(
        self, schedules: Sequence[Steps], seed: int, images: range, whole: bool = False
    ) -> Iterator[tuple[int, list[FeatureBlock]]]:
        """Yields (index of the schedule, its blocks) as they come; arguments as of `score`."""
        for index, features in self.source.features(schedules, seed, images):
            parts = np.split(features, range(self.block_size, len(features), self.block_size))
            yield index, parts if whole else [summarize(part) for part in parts]

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose prefixes later ones will share."""
        self.source.keep(schedules)

    def calls(self) -> tuple[int, int]:
        """Network calls x images made so far, and what they had been one by one."""
        return self.source.calls()

    def judge(self, *batches: list[FeatureBlock]) -> Replicates:
        """Distance of one schedule, all and leave-one-out, from its blocks, batches in order."""
        return jackknife([block for batch in batches for block in batch], self.reference)

    def fidelity(self, real: np.ndarray, *batches: list[np.ndarray]) -> Fidelity:
        """KID, precision and recall of one schedule, from its whole blocks, batches in order."""
        return fidelity([block for batch in batches for block in batch], real)

    def reward(self, real: np.ndarray, *batches: list[np.ndarray]) -> float:
        """The energy score of one schedule, from its whole blocks; lower is better."""
        return energy_score(np.concatenate([b for batch in batches for b in batch]), real)

    def distance(self, *batches: list[np.ndarray]) -> float:
        """How far one schedule's features are from another's of the same noise, in the mean.

        Args:
            batches: whole blocks of the one, then as many of the other.
        """
        half = len(batches) // 2
        one, other = (
            np.concatenate([block for batch in part for block in batch])
            for part in (batches[:half], batches[half:])
        )
        return mean_distance(one, other)

    def sample(self, steps: Steps, seed: int, images: range) -> tuple[np.ndarray, float]:
        """Samples of one schedule, in one batch of their number, and the seconds they took.

        Returns:
            float32 images (len(images), C, H, W) in [-1, 1]; wall-clock seconds.
        """
        begun = started(self.source.device)
        ((_, x_0),) = self.source.samples([steps], seed, images, len(images))
        images_array = x_0.cpu().numpy()  # which waits for a GPU
        return images_array, time.perf_counter() - begun

    def measure(
        self, ways: Mapping[float, Sequence[Way]], batch_size: int
    ) -> dict[float, dict[Way, float]]:
        """Milliseconds an image of one call of `batch_size` rows, by width and way.

        The fastest of some calls, taken in turn: what else the machine does only adds to it.
        Infinite where a compiled way cannot be had, such as without a compiler.
        """
        return self.source.measure(ways, batch_size)

    def step_times(self, ways: Mapping[float, Way], num_images: int) -> StepTimes:
        """How long the parts of sampling `num_images` at once take, widths in these ways."""
        return self.source.step_times(ways, num_images)

    def hardware(self) -> Hardware:
        """The device that this scorer runs on."""
        return hardware(self.source.device)
