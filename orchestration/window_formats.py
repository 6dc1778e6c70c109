"""What a reader of time series gives, whatever the files are like: a `WindowSource`.

Windows are float (n, K, L): K variables at L times, NaN where nothing was recorded. They are
split into parts: `train` (which normalisation is from, too), `validation`, which searches look
at, and `test`, which is reported. No time or record is in two parts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from orchestration.errors import DataError
from orchestration.training_sections import Data

HOUR_S = 3600.0
PARTS = ("train", "validation", "test")
MAX_TRAIN = 20_000  # windows: neighbours of a long series overlap, and more teach little

CYCLE = (6, 2, 2)
"""A long series is cut into cycles of ten windows: six to train, two to validate, two to test."""


@dataclass(frozen=True)
class Part:
    """Some windows.

    Args:
        values: float (n, K, L), NaN where nothing was recorded.
        names: of the windows.
        hidden: bool (n, K, L), recorded entries that the source itself hides, to be scored; None
            where it leaves that to `score.hide`.
    """

    values: np.ndarray
    names: tuple[str, ...]
    hidden: np.ndarray | None = None


@dataclass(frozen=True)
class WindowSource:
    """Time series as their files have them.

    Args:
        stamp: another one wherever the files are others, as far as names, sizes and times tell.
        variables: names of the K variables.
        length: L, times a window.
        read: the parts, by name.
        own_unit: whether all variables have one unit, in which errors are told; else errors are
            told in standard deviations.
        step_s: seconds from a time to the next; None where they are not known.
    """

    stamp: str
    variables: tuple[str, ...]
    length: int
    read: Callable[[], Mapping[str, Part]]
    own_unit: bool = False
    step_s: float | None = None


@dataclass(frozen=True)
class WindowHeader:
    """What a prepared data set of windows holds.

    Args:
        name: `data.name`.
        variables: names of the K variables.
        length: L.
        counts: windows of each part.
        mean: of each variable over the training data ...
        std: ... and its standard deviation; values are prepared as (value - mean) / std.
        own_unit, step_s: see `WindowSource`.
        hides: whether the source itself says which entries of the test are to be scored.
        labels: none.
    """

    name: str
    variables: tuple[str, ...]
    length: int
    counts: Mapping[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    own_unit: bool
    hides: bool
    step_s: float | None = None
    labels: None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a window, (1, K, L)."""
        return 1, len(self.variables), self.length

    @property
    def count(self) -> int:
        """Windows of all parts."""
        return sum(self.counts.values())

    @property
    def num_classes(self) -> None:
        """There are no labels."""
        return None


def find_window_source(data: Data) -> WindowSource:
    """The source that the configuration names; DataError where it is not there."""
    match data.name:
        case "weather":
            from orchestration.readers.weather import weather

            return weather(data.path, data.window)
        case "physionet":
            from orchestration.readers.physionet import physionet

            return physionet(data.path)
        case "pm25":
            from orchestration.readers.pm25 import pm25

            return pm25(data.path, data.window)
        case "table":
            from orchestration.readers.time_table import time_table

            return time_table(data.path, data.time, data.window)
        case other:
            raise ValueError(f"{other} are no time series")


def cut_cycles(
    values: np.ndarray, length: int, names: Sequence[str], where: str
) -> dict[str, Part]:
    """The parts of one long series, by CYCLE; a rest of less than a cycle is trained on.

    Training windows start at every time (or every second one, and so on, where they would be more
    than MAX_TRAIN); those of the other parts follow each other.

    Args:
        values: float (T, K).
        length: L.
        names: of the T times.
        where: the series comes from.

    Raises:
        DataError: it is shorter than a cycle.
    """
    train, validation, test = (n * length for n in CYCLE)
    period = train + validation + test
    if len(values) < period:
        raise DataError(
            f"{where}: got {len(values):,} times, expected at least {period:,}: ten windows of"
            f" data.window={length}"
        )
    starts: dict[str, list[int]] = {part: [] for part in PARTS}
    for cycle in range(0, len(values), period):
        whole = cycle + period <= len(values)
        end = cycle + train if whole else len(values)
        starts["train"] += range(cycle, end - length + 1)
        if whole:
            starts["validation"] += range(end, end + validation, length)
            starts["test"] += range(end + validation, cycle + period, length)
    starts["train"] = starts["train"][:: math.ceil(len(starts["train"]) / MAX_TRAIN)]
    return {part: cut(values, at, length, names) for part, at in starts.items()}


def cut(values: np.ndarray, starts: Sequence[int], length: int, names: Sequence[str]) -> Part:
    """The windows of a series (T, K) that start at some of its times."""
    windows = np.stack([values[s : s + length].T for s in starts]).astype(np.float32)
    return Part(windows, tuple(names[s] for s in starts))


