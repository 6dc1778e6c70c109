"""Checkpoints of a training: folders `checkpoint-<iteration>`, each complete or not there.

A checkpoint holds the tensors (`state.safetensors`), the iteration and the rows reported so far
(`state.json`), and the sha256 of both. Training goes on from the newest that is whole, whoever
wrote it. So nothing depends on Ray Train's own list of checkpoints, which is written in place and
can be torn by a kill.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
from torch import Tensor

from orchestration.errors import DataError
from orchestration.files import (
    Json,
    check_manifest,
    disk_errors,
    new_folder,
    read_json,
    write_bytes,
    write_json,
    write_manifest,
)

log = logging.getLogger(__name__)

FORMAT = "step-training/1"
PREFIX = "checkpoint-"
TENSORS = "state.safetensors"
STATE = "state.json"
ROWS = "rows.jsonl"
BEGUN = "begun"


@dataclass(frozen=True)
class Row:
    """One report of a training.

    Args:
        iteration: iterations done.
        iterations: iterations in all.
        losses: mean eps-MSE since the row before, by the widths that were trained.
        images_per_s: training images through all their widths, by all workers together.
        seconds_left: if the rest goes at the same pace.
    """

    iteration: int
    iterations: int
    losses: dict[float, float]
    images_per_s: float
    seconds_left: float

    def to_json(self) -> dict[str, Json]:
        """The row as JSON; its widths become keys."""
        losses: dict[str, Json] = {str(width): loss for width, loss in self.losses.items()}
        return {**asdict(self), "losses": losses}

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> "Row":
        """What `to_json` gave."""
        losses = {float(width): loss for width, loss in values["losses"].items()}
        return cls(**{**values, "losses": losses})


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands.

    Args:
        iteration: iterations done.
        tensors: weights, their averages and the optimizer's moments, by name.
        rows: reported so far.
    """

    iteration: int
    tensors: Mapping[str, Tensor]
    rows: Sequence[Row]


def write_checkpoint(folder: Path, state: TrainingState) -> Path:
    """Writes `folder/checkpoint-<iteration>` and returns it.

    Raises:
        MachineError: the disk is full or not writable.
    """
    path = folder / f"{PREFIX}{state.iteration:08d}"
    with new_folder(path) as unfinished:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors.items()}
        write_bytes(unfinished / TENSORS, safetensors.torch.save(tensors))
        write_json(
            unfinished / STATE,
            {"iteration": state.iteration, "rows": [row.to_json() for row in state.rows]},
        )
        write_manifest(unfinished, (TENSORS, STATE), {"format": FORMAT})
    return path


def read_checkpoint(path: Path) -> TrainingState:
    """Reads a checkpoint.

    Raises:
        DataError: it is missing, damaged or of another format.
    """
    found = check_manifest(path).get("format")
    if found != FORMAT:
        raise DataError(f"{path}: got format {found!r}, expected {FORMAT!r}")
    state = read_json(path / STATE)
    return TrainingState(
        iteration=state["iteration"],
        tensors=safetensors.torch.load_file(path / TENSORS),
        rows=[Row.from_json(row) for row in state["rows"]],
    )


def append_row(folder: Path, row: Row) -> None:
    """Adds a report to `folder/rows.jsonl`, for the driver to see; checkpoints keep them.

    Raises:
        MachineError: the disk is full or not writable.
    """
    with disk_errors(folder / ROWS), open(folder / ROWS, "a") as file:
        file.write(json.dumps(row.to_json()) + "\n")


def read_rows(folder: Path, start: int) -> list[Row]:
    """What was appended, from the row numbered `start` on; a line still being written is not."""
    path = folder / ROWS
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [Row.from_json(json.loads(line)) for line in lines[start:]]


def begin(folder: Path) -> None:
    """Leaves word for the driver that workers are there; MachineError as `append_row`."""
    with disk_errors(folder / BEGUN):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BEGUN).touch()


def has_begun(folder: Path) -> bool:
    """Whether workers have ever been at work since the folder was cleared."""
    return (folder / BEGUN).exists()


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from: the newest one that is whole; None where there is none."""
    for path in sorted(folder.glob(f"{PREFIX}*"), reverse=True):
        try:
            check_manifest(path)
        except DataError as error:
            log.warning("passing over a checkpoint: %s", error)
        else:
            return path
    return None


def clear_except(folder: Path, kept: Path | None) -> None:
    """Removes all that lies in `folder` but the checkpoint `kept`.

    Raises:
        MachineError: something cannot be removed.
    """
    with disk_errors(folder):
        for path in folder.iterdir() if folder.exists() else ():
            if path.is_dir() and path != kept:
                shutil.rmtree(path)
            elif not path.is_dir():
                path.unlink()


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors whose names begin with a prefix, such as "ema/", which is cut off."""
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tensor
