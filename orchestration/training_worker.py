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
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.collective import broadcast_from_rank_zero

from orchestration.config import Config
from orchestration.errors import StepwiseError
from orchestration.training_state import (
    Row,
    append_row,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)


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
    from orchestration.training_loop import Diverged, Training
    from orchestration.training_material import receive

    context = ray.train.get_context()
    is_first = context.get_world_rank() == 0
    torch.set_num_threads(config.train.threads)
    material, labels = receive(config, blocks, num_classes, ray.train.torch.get_device())
    training = Training(
        config, material, context.get_world_rank(), context.get_world_size(), labels
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
    return None
