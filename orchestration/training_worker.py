"""One Ray Train worker: data in, reports and checkpoints out, the training loop between.

The networks (and with them diffusers) are imported once a worker is at work: the driver, which
only names `work`, need not wait for them before it starts the workers.
"""

from collections.abc import Sequence
from pathlib import Path

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.collective import broadcast_from_rank_zero

from orchestration.config import Config
from orchestration.errors import StepwiseError
from orchestration.machine import has_bfloat16, out_of_memory, settle
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


def work(
    config: Config,
    folder: Path,
    blocks: Sequence[ray.ObjectRef],
    num_classes: int | None = None,
) -> StepwiseError | None:
    """What Ray Train calls in every worker.

    Args:
        config: of the run.
        folder: where its checkpoints and reports lie.
        blocks: what `training_material.share` gave.
        num_classes: of the labels; None where there are none.

    Returns:
        Why the training diverged, which starting the workers again would not mend; or None.
    """
    from orchestration.training_loop import Diverged, Training, training_dtype
    from orchestration.training_material import receive

    context = ray.train.get_context()
    is_first = context.get_world_rank() == 0
    if is_first:
        begin(folder)
    torch.set_num_threads(config.train.threads)
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    settle(device.type, config.train.tf32)
    num_workers = context.get_world_size()
    dtype = training_dtype(config.train, _all_have_bfloat16(device, num_workers))
    material, labels = receive(config, blocks, num_classes, device)
    training = Training(
        config, material, context.get_world_rank(), num_workers, labels, device, dtype
    )
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


def _all_have_bfloat16(device: torch.device, num_workers: int) -> bool:
    """Whether every worker's device has units for bfloat16: all must compute alike."""
    has = has_bfloat16(device.type)
    if num_workers == 1:
        return has
    least = torch.tensor(int(has), device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return bool(least.item())
