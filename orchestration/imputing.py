"""Filling the gaps of a user's own table with a trained supernet and a schedule, without Ray.

The table is cut into windows that follow each other; the last one ends with it, and says only what
those before it don't. Every sample of a window is a chain of its own, from noise that is a
function of (seed, window, sample). Windows without gaps are not sampled.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from models.windows import Panel
from orchestration.chains import sampler_of
from orchestration.checkpoints import load_supernet
from orchestration.compatibility import check_fits, check_imputes
from orchestration.durations import clock
from orchestration.errors import DataError
from orchestration.execution import Execution
from orchestration.filled_table import QUANTILES, filled_table, gap_rows, times_of
from orchestration.machine import settle
from orchestration.readers.number_cells import check_numbers
from orchestration.readers.time_table import TimeTable
from orchestration.supernet_description import read_description, windows_of
from orchestration.supernet_source import SupernetSource
from orchestration.window_plot import WindowPicture
from search_spaces.schedule import StepSchedule

BATCH_SIZE = 64


@dataclass(frozen=True)
class Imputer:
    """A supernet with what it was trained on.

    Args:
        folder: of the supernet.
        variables: names of its K variables.
        mean, std: of each in the training data.
        length: L, times a window.
        step_s: seconds between them; None where that is not known.
    """

    folder: Path
    variables: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    length: int
    step_s: float | None


@dataclass(frozen=True)
class Filled:
    """What was put into the gaps of a table.

    Args:
        table: the table, medians in its gaps, all other cells as they were; of a CSV texts.
        gaps: a row for each gap that was filled: time as in the table (or the row's number),
            variable, and a column a quantile.
        picture: PNG of the window with the most gaps; None where there are none.
    """

    table: pa.Table
    gaps: pd.DataFrame
    picture: bytes | None


def read_imputer(folder: Path, schedule: StepSchedule) -> Imputer:
    """What a supernet's folder says of itself.

    Raises:
        ConfigError: it makes images, lacks a width of the schedule, or has another chain.
        DataError: it is missing or damaged, or does not say what it was trained on.
    """
    check_fits(folder, schedule, {width for _, width, *_ in schedule.steps})
    check_imputes(folder, True)
    facts = windows_of(folder)
    return Imputer(
        folder,
        tuple(facts["variables"]),
        np.array(facts["mean"]),
        np.array(facts["std"]),
        read_description(folder)["network"]["length"],
        facts.get("step_s"),
    )


def check_columns(imputer: Imputer, table: TimeTable) -> tuple[list[str], list[str], list[str]]:
    """Columns of numbers that are variables of the supernet, those that are none, and variables
    of which the table has no column.

    Raises:
        DataError: there is none of its variables, or one has a cell that is neither a number nor
            empty, or holds truth values or times.
    """
    check_numbers(table.strange, imputer.variables, "the table")
    columns = list(table.values.columns)
    for name in imputer.variables:
        if name in table.places and name not in columns:
            raise DataError(
                f"the table: column {name!r}: got truth values, times or row names, expected the"
                f" numbers that {imputer.folder} was trained on"
            )
    known = [name for name in columns if name in imputer.variables]
    if not known:
        raise DataError(
            f"the table has columns {', '.join(columns)}; expected some of the variables that"
            f" {imputer.folder} was trained on: {', '.join(imputer.variables)}"
        )
    others = [name for name in columns if name not in imputer.variables]
    return known, others, [name for name in imputer.variables if name not in columns]


def check_step(imputer: Imputer, table: TimeTable) -> None:
    """Holds the distance of a table's times against that of the training data, if both are known.

    A table that lacks every second row cannot be told from one of twice the distance; one row in
    between tells it.

    Raises:
        DataError: they differ.
    """
    found, expected = table.step_s, imputer.step_s
    if None not in (found, expected) and found != expected:
        found, expected = (str(pd.Timedelta(seconds=step_s)) for step_s in (found, expected))
        raise DataError(
            f"the table's times: got steps of {found}, expected {expected} as {imputer.folder} was"
            " trained on; if rows are left out throughout, put in one of them, empty"
        )


def fill(
    imputer: Imputer,
    schedule: StepSchedule,
    table: TimeTable,
    time_column: str | None,
    num_samples: int,
    seed: int,
    say: Callable[[str], None],
    device: str = "cpu",
) -> Filled:
    """Fills the gaps of a table.

    Args:
        imputer: that was trained on its variables.
        schedule: that samples are taken by.
        table: to fill; variables that it lacks count as gaps of all times, and are not told.
        time_column: its name, or None.
        num_samples: of each window.
        seed: of the noise.
        say: takes lines of progress.
        device: `cpu` or `cuda`; a GPU gives other last bits.

    Raises:
        DataError: no column is one of the variables, one of them has a cell that is neither a
            number nor empty, times are of another step than in training, or the samples are not
            finite.
    """
    check_step(imputer, table)
    known, *_ = check_columns(imputer, table)
    values = table.values.reindex(columns=list(imputer.variables)).to_numpy()
    prepared = ((values - imputer.mean) / imputer.std).astype(np.float32)
    wanted = np.isnan(values) & np.isin(imputer.variables, known)
    times = times_of(table)
    starts = _starts(wanted, imputer.length)
    quantiles = np.full((len(QUANTILES), *values.shape), np.nan)
    busiest, picture = 0, None
    settle(device)
    for number, samples in _sampled(
        imputer, schedule, prepared, starts, num_samples, seed, say, device
    ):
        start = starts[number]
        rows = slice(start, min(start + imputer.length, len(values)))
        drawn = samples[..., : rows.stop - rows.start].transpose(0, 2, 1)  # (S, times, K)
        if not np.isfinite(drawn).all():
            raise DataError(f"{imputer.folder}: samples are not finite: it has diverged")
        unsaid = np.isnan(quantiles[0, rows])
        found = np.quantile(drawn, QUANTILES, axis=0) * imputer.std + imputer.mean
        quantiles[:, rows] = np.where(unsaid, found, quantiles[:, rows])
        if (count := int(wanted[rows].sum())) > busiest:
            busiest = count
            shown = _picture(imputer, prepared[rows], wanted[rows], times[start])
            title = f"{len(schedule.steps)} steps"
            picture = shown.png([(title, samples[..., : rows.stop - rows.start])])
    return Filled(
        filled_table(table, time_column, times, imputer.variables, wanted, quantiles),
        gap_rows(times, imputer.variables, wanted, quantiles),
        picture,
    )


def _starts(wanted: np.ndarray, length: int) -> list[int]:
    """First times of the windows that hold gaps; `wanted` is (T, K)."""
    last = max(0, len(wanted) - length)
    starts = [*range(0, last, length), last]
    return [start for start in starts if wanted[start : start + length].any()]


def _sampled(
    imputer: Imputer,
    schedule: StepSchedule,
    prepared: np.ndarray,
    starts: Sequence[int],
    num_samples: int,
    seed: int,
    say: Callable[[str], None],
    device: str,
) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the window, prepared samples (S, K, L)); a table shorter than L is padded."""
    if not starts:
        return
    supernet = load_supernet(imputer.folder)
    windows = np.full((len(starts), len(imputer.variables), imputer.length), np.nan, np.float32)
    for window, start in zip(windows, starts, strict=True):
        rows = prepared[start : start + imputer.length].T
        window[:, : rows.shape[1]] = rows
    given = torch.from_numpy(np.isfinite(windows))
    panel = Panel(torch.from_numpy(windows).nan_to_num(0.0), given, ~given, num_samples)
    source = SupernetSource(
        {width: supernet.subnet(width) for width in {width for _, width, *_ in schedule.steps}},
        sampler_of(schedule),
        None,
        (1, *windows.shape[1:]),
        Execution(BATCH_SIZE, threads=1, state_bytes=0),
        device,
        panel,
    )
    began = time.monotonic()
    for number in range(len(starts)):
        parts, draws = [], panel.draws(range(number, number + 1))
        for start in range(draws.start, draws.stop, BATCH_SIZE):
            run = range(start, min(start + BATCH_SIZE, draws.stop))
            ((_, x_0),) = source.samples([schedule.steps], seed, run, BATCH_SIZE)
            parts.append(x_0[:, 0].cpu().numpy())
        yield number, np.concatenate(parts)
        rest_s = (time.monotonic() - began) * (len(starts) - number - 1) / (number + 1)
        say(f"impute  {number + 1:,} of {len(starts):,} windows   {clock(rest_s)} left")


def _picture(
    imputer: Imputer, prepared: np.ndarray, wanted: np.ndarray, name: object
) -> WindowPicture:
    """Of one window, `prepared` and `wanted` (times, K): no gap is hidden, all are real."""
    given = np.isfinite(prepared).T
    return WindowPicture(
        str(name),
        imputer.variables,
        tuple(imputer.mean),
        tuple(imputer.std),
        np.nan_to_num(prepared.T),
        given,
        np.zeros_like(given),
        order=tuple(np.argsort(-wanted.sum(0), kind="stable").tolist()),
    )
