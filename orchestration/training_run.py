"""What every Ray Train worker does around what it trains: its device, reports and checkpoints.

The loops (and with them diffusers) are imported once a worker is at work: the driver, which only
names the work, need not wait for them before it starts the workers.
"""

from pathlib import Path

import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.collective import broadcast_from_rank_zero

from orchestration.errors import StepwiseError
from orchestration.machine import out_of_memory, settle
from orchestration.training_iterations import Diverged, Iterated
from orchestration.training_sections import Train
from orchestration.training_state import (
    Row,
    append_row,
    begin,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

OF_MEMORY = (
    "a smaller train.batch_size (of a new run), train.dtype=bfloat16, more train.num_workers, or"
    " GPUs that nobody else is on; the same command goes on from the last checkpoint"
)
"""What mends a GPU that is too small."""


def settled_device(train: Train, folder: Path) -> torch.device:
    """The device of this worker, made ready; notes in `folder` that the workers have begun."""
    if ray.train.get_context().get_world_rank() == 0:
        begin(folder)
    torch.set_num_threads(train.threads)
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    settle(device.type, train.tf32, gradients=True)
    return device


def run(training: Iterated, folder: Path) -> StepwiseError | None:
    """Trains from the newest checkpoint in `folder`, if there is one, to the end.

    Returns:
        Why it diverged, which starting the workers again would not mend; or None.

    Raises:
        MachineError: the GPU is too small.
    """
    is_first = ray.train.get_context().get_world_rank() == 0
    newest = broadcast_from_rank_zero(newest_checkpoint(folder) if is_first else None)
    if newest is not None:
        training.load(read_checkpoint(newest))

    def report(row: Row) -> None:
        if is_first:
            append_row(folder, row)

    def save() -> None:
        checkpoint = None
        if is_first:
            checkpoint = Checkpoint(write_checkpoint(folder, training.state()))
        ray.train.report(
            {"iteration": training.iteration},
            checkpoint=checkpoint,
            checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD,  # it lies where it belongs
        )

    try:
        training.run(report, save)
    except Diverged as error:
        return error
    except torch.OutOfMemoryError as error:
        raise out_of_memory(error, OF_MEMORY) from None
    return None
