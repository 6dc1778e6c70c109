"""What a search takes from a mask: `search.warm_start`, a run of `jobs.mask` or `s.parquet`.

The probabilities in `s.parquet`, and the schedules that the run has ended with, which lie beside
it: the likeliest steps need not be the best that were met. Where a schedule has noise of its own
(`mask.form: literal`), both go to the timesteps of the chain that have that noise; a table that
lies alone is taken to be of the chain's.
"""

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from models.diffusion import noise_levels, timestep_at
from models.elbo import mask_levels
from orchestration.errors import DataError
from orchestration.files import read_json, sha256_of
from orchestration.rundir import RunDirectory
from search_spaces.guided import Guide, on_grid, steps_on_grid
from search_spaces.schedule import StepSchedule

HISTORY = "s.parquet"
COLUMNS = ["num_steps", "updates", "t", "s"]
OF_CHAIN = ("num_train_timesteps", "betas", "rescale_zero_terminal_snr", "prediction")
"""What a mask and a search from it have in common."""


def read_warm_start(path: Path, baseline: StepSchedule) -> Guide:
    """What was learned for each number of steps, on the grid of a search.

    Args:
        path: `search.warm_start`.
        baseline: the search's own chain, at every timestep of its grid.

    Raises:
        DataError: there is no such table, or it is another one; a schedule is damaged, or of
            another chain.
    """
    path, grid = _table_of(path), tuple(t for t, *_ in baseline.steps)
    table = _read_table(path, baseline.num_train_timesteps)
    kept, chosen = {}, {}
    for num_steps, rows in table.groupby("num_steps"):
        if num_steps > len(grid):
            continue
        last = rows[rows["updates"] == rows["updates"].max()].sort_values("t")
        candidates, s = last["t"].tolist(), last["s"].tolist()
        if len(set(candidates)) < max(num_steps, len(candidates)):
            raise DataError(
                f"search.warm_start {path}: got {len(candidates)} candidates for {num_steps}"
                " steps, expected as many at least, each once"
            )
        file = _schedule_of(path, num_steps)
        if file.exists():
            schedule = _read_schedule(file, baseline)
            chosen[int(num_steps)] = steps_on_grid(grid, _timesteps(schedule))
            candidates = _timesteps_if_kept(candidates, schedule)
        kept[int(num_steps)] = on_grid(grid, candidates, s, int(num_steps))
    if not kept:
        raise DataError(
            f"search.warm_start {path}: expected probabilities for at most search.steps"
            f" ({len(grid)}) steps"
        )
    return Guide(kept, chosen)


def warm_start_sha(path: Path) -> str:
    """What it is known by: the sha256 of the table, or of that and the schedules beside it."""
    path = _table_of(path)
    schedules = sorted(_schedule_of(path, 0).parent.glob("*.json"))
    of_all = [sha256_of(path), *(f"{file.name} {sha256_of(file)}" for file in schedules)]
    return of_all[0] if not schedules else hashlib.sha256("\n".join(of_all).encode()).hexdigest()


def _read_table(path: Path, num_train_timesteps: int) -> pd.DataFrame:
    """The table with `COLUMNS`; DataError where it is missing, or holds what no mask has."""
    name, expected = f"search.warm_start {path}", f"expected a run of jobs.mask or its {HISTORY}"
    if not path.is_file():
        raise DataError(f"{name}: there is no such file; {expected}")
    try:
        table = pq.read_table(path, columns=COLUMNS, page_checksum_verification=True)
        table = table.to_pandas(ignore_metadata=True)  # no column is an index
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{name}: {str(error).splitlines()[0]}; {expected}") from error
    for column, dtype in table.dtypes.items():
        if dtype.kind not in ("iuf" if column == "s" else "iu"):
            raise DataError(f"{name}: got {column} of the kind {dtype}; {expected}")
    if len(table) and table["t"].max() >= num_train_timesteps:
        raise DataError(
            f"{name}: got timestep {table['t'].max()}, expected less than"
            f" diffusion.num_train_timesteps ({num_train_timesteps})"
        )
    if (table["num_steps"] < 1).any() or (table[["updates", "t"]] < 0).any(axis=None):
        raise DataError(f"{name}: got a negative number, or masks of no steps; {expected}")
    if not table["s"].between(0, 1).all():
        raise DataError(f"{name}: got an s that is no probability; {expected}")
    return table


def _table_of(path: Path) -> Path:
    path = path.expanduser()
    return path / HISTORY if path.is_dir() else path


def _schedule_of(table: Path, num_steps: int) -> Path:
    """Where the schedule of so many steps is, if the table still lies in its run."""
    return RunDirectory(table.parent).schedules / f"{num_steps}.json"


def _read_schedule(file: Path, baseline: StepSchedule) -> StepSchedule:
    """A schedule of the search's chain: another's timesteps mean other noise."""
    try:
        schedule = StepSchedule.from_json(read_json(file))
    except ValueError as error:
        raise DataError(f"search.warm_start {file}: {error}") from error
    for name in OF_CHAIN:
        found, expected = getattr(schedule, name), getattr(baseline, name)
        if found != expected:
            raise DataError(
                f"search.warm_start {file}: got {name} {found!r}, expected {expected!r}, the"
                f" search's diffusion.{name}"
            )
    return schedule


def _chain(schedule: StepSchedule) -> Tensor:
    return noise_levels(
        schedule.num_train_timesteps, schedule.betas, schedule.rescale_zero_terminal_snr
    )


def _timesteps(schedule: StepSchedule) -> list[float]:
    """Those that a schedule keeps; where its noise is not the chain's, those that have that."""
    own = [level for _, _, *levels in schedule.steps for level in levels]
    if not own:
        return [t for t, *_ in schedule.steps]
    return timestep_at(torch.tensor(own, dtype=torch.float64), _chain(schedule)).tolist()


def _timesteps_if_kept(candidates: list[int], schedule: StepSchedule) -> list[float]:
    """The chain's timesteps that have the noise of candidates beside what a schedule keeps.

    Where the noise is the chain's they are the candidates themselves. Else each
    has that of a literal mask of itself and the steps that are kept.

    Args:
        candidates: timesteps, rising.
        schedule: keeps some of them.
    """
    own = {t: level for t, _, *levels in schedule.steps for level in levels}
    if not own:
        return candidates
    chain = _chain(schedule)
    kept = torch.tensor([t in own for t in candidates])
    beside = kept | torch.eye(len(kept), dtype=torch.bool)
    levels = mask_levels(beside, chain[candidates], "literal").diagonal()
    return timestep_at(levels, chain).tolist()
