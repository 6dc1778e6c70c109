"""What a search takes from a mask: `search.warm_start`, a run of `jobs.mask` or `s.parquet`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import DataError
from search_spaces.guided import on_grid

HISTORY = "s.parquet"
COLUMNS = ["num_steps", "updates", "t", "s"]


def table_of(path: Path) -> Path:
    """The file that `search.warm_start` means."""
    path = path.expanduser()
    return path / HISTORY if path.is_dir() else path


def read_warm_start(path: Path, grid: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Learned probabilities for each number of steps, on a grid, as `GuidedSpace.kept`.

    Raises:
        DataError: there is no such table, or it is another one.
    """
    path = table_of(path)
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
    return kept
