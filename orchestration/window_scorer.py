"""What one scoring actor does with windows of time series: `scorer.Scorer`'s part for CRPS.

The pool's "images" are windows here: a batch of windows is a task, and a block of them the unit of
the error bars. Each is sampled several times; all samples of a task go through the networks in
calls of `execution.batch_size` rows. What is kept of a window is a row of sums (`models.crps`).

The seed says what is sampled: that of reports the test windows, any other one the validation's. So
whatever searches or learns, by whatever seeds, never meets the test.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.crps import Errors, errors, fair_crps, replicates, window_sums
from models.intervals import Replicates
from models.windows import Panel
from orchestration.machine import Hardware, hardware
from orchestration.scorer import Steps
from orchestration.step_times import StepTimes
from orchestration.stopwatch import started
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way


@dataclass(frozen=True)
class Unit:
    """In which unit errors are told: value = prepared x std + mean, each (K,)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, prepared: np.ndarray) -> np.ndarray:
        """Values (..., K, L), float64, of prepared ones."""
        return prepared * np.array(self.std)[:, None] + np.array(self.mean)[:, None]


class WindowScorer:
    """Scores batches of windows and judges candidates; see `Scorer` for what is not told here.

    Args:
        source: samples; what its networks are told is replaced by the panels.
        search: what all is judged on that searches or learns ...
        report: ... and what is told, ...
        report_seed: ... by noise of this seed.
        unit: of the errors.
        block_size: windows a block.
        threads: of this process.
    """

    def __init__(
        self,
        source: SupernetSource,
        search: Panel,
        report: Panel,
        report_seed: int,
        unit: Unit,
        block_size: int,
        threads: int = 1,
    ) -> None:
        torch.set_num_threads(threads)
        self.source = source
        self.search, self.report, self.report_seed = search, report, report_seed
        self.unit = unit
        self.block_size = block_size

    def score(
        self, schedules: Sequence[Steps], seed: int, images: range, whole: bool = False
    ) -> list[list[np.ndarray]]:
        """The blocks of each schedule for one batch of windows: rows of sums.

        Args:
            schedules: steps of each.
            seed: of the noise, which says which windows they are.
            images: the windows; after the last one comes the first again, with other noise.
            whole: of no meaning: rows are small.
        """
        panel = self.report if seed == self.report_seed else self.search
        windows = torch.tensor(images) % len(panel.values)
        scored = panel.scored[windows].numpy()
        truth = self.unit.of(panel.values[windows].numpy())
        blocks = []
        for samples in self._samples(schedules, seed, images, panel):
            rows = window_sums(self.unit.of(samples), truth, scored)
            cuts = range(self.block_size, len(rows), self.block_size)
            blocks.append(np.split(rows, cuts))
        return blocks

    def _samples(
        self, schedules: Sequence[Steps], seed: int, windows: range, panel: Panel
    ) -> list[np.ndarray]:
        """Prepared values (n, S, K, L) of each schedule."""
        draws, rows = panel.draws(windows), self.source.execution.batch_size
        parts: list[list[np.ndarray]] = [[] for _ in schedules]
        for start in range(draws.start, draws.stop, rows):
            run = range(start, min(start + rows, draws.stop))
            sampled = self.source.samples(
                schedules, seed, run, rows, self.source.states, conditioning=panel
            )
            for index, x_0 in sampled:
                parts[index].append(x_0[:, 0].cpu().numpy())
        shape = len(windows), panel.num_samples, *panel.values.shape[1:]
        return [np.concatenate(of_schedule).reshape(shape) for of_schedule in parts]

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose prefixes later ones will share."""
        self.source.keep(schedules)

    def calls(self) -> tuple[int, int]:
        """See `Scorer`."""
        return self.source.calls()

    def judge(self, *batches: list[np.ndarray]) -> Replicates:
        """CRPS of one schedule, all and leave-one-out, from its blocks, batches in order."""
        return replicates([block for batch in batches for block in batch])

    def fidelity(self, compared: None, *batches: list[np.ndarray]) -> Errors:
        """MAE and RMSE of one schedule's medians, from its blocks, with intervals."""
        return errors([block for batch in batches for block in batch])

    def reward(self, compared: None, *batches: list[np.ndarray]) -> float:
        """The fair CRPS of one schedule, from its blocks; lower is better."""
        return fair_crps(np.concatenate([block for batch in batches for block in batch]))

    def sample(self, steps: Steps, seed: int, images: range) -> tuple[np.ndarray, float]:
        """The first draws of the test windows by one schedule, and the seconds they took.

        Returns:
            float32 (len(images), 1, K, L), prepared values; wall-clock seconds.
        """
        begun = started(self.source.device)
        sampled = self.source.samples(
            [steps], seed, images, len(images), conditioning=self.report
        )
        ((_, x_0),) = sampled
        values = x_0.cpu().numpy()
        return values, time.perf_counter() - begun

    def measure(
        self, ways: Mapping[float, Sequence[Way]], batch_size: int
    ) -> dict[float, dict[Way, float]]:
        """Milliseconds a row of one call, by width and way."""
        return self.source.measure(ways, batch_size)

    def step_times(self, ways: Mapping[float, Way], num_images: int) -> StepTimes:
        """How long the parts of sampling `num_images` draws at once take."""
        return self.source.step_times(ways, num_images)

    def hardware(self) -> Hardware:
        """The device that this scorer runs on."""
        return hardware(self.source.device)
