"""The iterations of a training, of a supernet or a mask: when it reports and when it is saved."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from orchestration.errors import StepwiseError
from orchestration.training_sections import Train
from orchestration.training_state import Row, TrainingState


class Diverged(StepwiseError):
    """A loss or gradient that is no number: the configuration cannot be trained."""

    exit_code = 2


class Iterated(ABC):
    """A training.

    Attributes:
        train: how many iterations it has, and how often it reports.
        iteration: iterations done.
        rows: reported so far.
    """

    def __init__(self, train: Train) -> None:
        self.train = train
        self.iteration = 0
        self.rows: list[Row] = []

    @abstractmethod
    def step(self) -> Tensor:
        """One iteration; what is to be reported of it, without gradients."""

    @abstractmethod
    def state(self) -> TrainingState:
        """Everything that a resumed training needs."""

    @abstractmethod
    def load(self, state: TrainingState) -> None:
        """Goes on from what `state` gave."""

    @abstractmethod
    def losses(self, window: Sequence[Tensor]) -> dict[float, float]:
        """Mean losses by width, over all workers, who must all ask.

        Args:
            window: what `step` gave for each of the newest iterations.

        Raises:
            Diverged: one of them is not finite.
        """

    def run(self, on_row: Callable[[Row], None], on_checkpoint: Callable[[], None]) -> None:
        """Trains to the end.

        Args:
            on_row: called with each report, every `train.report_every` iterations and before a
                checkpoint.
            on_checkpoint: called when the state is to be saved: every `train.checkpoint_every`
                iterations and at the end.

        Raises:
            Diverged: a loss or gradient is not finite; no checkpoint holds what came of it.
        """
        train = self.train
        done, started = self.iteration, time.monotonic()
        window: list[Tensor] = []
        while self.iteration < train.iterations:
            window.append(self.step())
            saves = self._is_due(train.checkpoint_every)
            if saves or self._is_due(train.report_every):
                pace_s = (time.monotonic() - started) / (self.iteration - done)
                row = Row(
                    iteration=self.iteration,
                    iterations=train.iterations,
                    losses=self.losses(window),
                    images_per_s=train.batch_size / pace_s,
                    seconds_left=pace_s * (train.iterations - self.iteration),
                )
                self.rows.append(row)
                on_row(row)
                window.clear()
            if saves:
                on_checkpoint()

    def _is_due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.iteration == self.train.iterations
