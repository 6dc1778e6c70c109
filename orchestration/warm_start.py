"""What a search takes from a mask: `search.warm_start`, a run of `jobs.mask` or `s.parquet`.

The probabilities in `s.parquet`, and the schedules that the run has ended with, which lie beside
it: the likeliest steps need not be the best that were met.
"""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from models.diffusion import noise_levels, timestep_at
from orchestration.errors import DataError
from orchestration.files import read_json, sha256_of
from orchestration.rundir import RunDirectory
from search_spaces.guided import Guide, on_grid, steps_on_grid
from search_spaces.schedule import StepSchedule

HISTORY = "s.parquet"
COLUMNS = ["num_steps", "updates", "t", "s"]


def read_warm_start(path: Path, grid: tuple[int, ...]) -> Guide:
    """What was learned for each number of steps, on a grid.

    Raises:
        DataError: there is no such table, or it is another one; a schedule is damaged.
    """
    path = _table_of(path)
    try:
        table = pq.read_table(path, columns=COLUMNS, page_checksum_verification=True).to_pandas()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"search.warm_start {path}: {reason}; expected a run of jobs.mask or its {HISTORY}"
        ) from error
    kept = {}
    for num_steps, rows in table.groupby("num_steps"):
        last = rows[rows["updates"] == rows["updates"].max()]
        if num_steps <= len(grid):
            kept[int(num_steps)] = on_grid(
                grid, last["t"].tolist(), last["s"].tolist(), int(num_steps)
            )
    if not kept:
        raise DataError(
            f"search.warm_start {path}: expected probabilities for at most search.steps"
            f" ({len(grid)}) steps"
        )
    files = {num_steps: _schedule_of(path, num_steps) for num_steps in kept}
    chosen = {
        num_steps: steps_on_grid(grid, _timesteps(file))
        for num_steps, file in files.items()
        if file.exists()
    }
    return Guide(kept, chosen)


def warm_start_sha(path: Path) -> str:
    """What it is known by: the sha256 of the table, or of that and the schedules beside it."""
    path = _table_of(path)
    schedules = sorted(_schedule_of(path, 0).parent.glob("*.json"))
    of_all = [sha256_of(path), *(f"{file.name} {sha256_of(file)}" for file in schedules)]
    return of_all[0] if not schedules else hashlib.sha256("\n".join(of_all).encode()).hexdigest()


def _table_of(path: Path) -> Path:
    path = path.expanduser()
    return path / HISTORY if path.is_dir() else path


def _schedule_of(table: Path, num_steps: int) -> Path:
    """Where the schedule of so many steps is, if the table still lies in its run."""
    return RunDirectory(table.parent).schedules / f"{num_steps}.json"


def _timesteps(file: Path) -> list[float]:
    """Those that a schedule keeps; where its noise is not the chain's, those that have that."""
    try:
        schedule = StepSchedule.from_json(read_json(file))
    except ValueError as error:
        raise DataError(f"search.warm_start {file}: {error}") from error
    own = [level for _, _, *levels in schedule.steps for level in levels]
    if not own:
        return [t for t, *_ in schedule.steps]
    chain = noise_levels(
        schedule.num_train_timesteps, schedule.betas, schedule.rescale_zero_terminal_snr
    )
    return timestep_at(torch.tensor(own, dtype=torch.float64), chain).tolist()
