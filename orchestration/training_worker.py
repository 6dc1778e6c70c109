"""One Ray Train worker: images in, reports and checkpoints out, the training loop between.

The networks (and with them diffusers) are imported once a worker is at work: the driver, which
only names `work`, need not wait for them before it starts the workers.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.collective import broadcast_from_rank_zero
from torch import Tensor

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
        blocks: tables with a column `image` and perhaps `label`, all of them in order.
        num_classes: of the labels; None where there are none.

    Returns:
        Why the training diverged, which starting the workers again would not mend; or None.
    """
    from orchestration.training_batches import Labels
    from orchestration.training_loop import Diverged, Training

    context = ray.train.get_context()
    is_first = context.get_world_rank() == 0
    torch.set_num_threads(config.train.threads)
    labels = None
    if config.network.conditional and num_classes is not None:
        labels = Labels(_labels(blocks), num_classes, config.train.label_dropout)
    training = Training(
        config, take_images(blocks), context.get_world_rank(), context.get_world_size(), labels
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


def take_images(blocks: Sequence[ray.ObjectRef]) -> Tensor:
    """All images, uint8 (n, C, H, W), on the device that this worker trains on."""
    tables: list[pa.Table] = ray.get(list(blocks))
    images = [table["image"].combine_chunks().to_numpy_ndarray() for table in tables]
    return torch.from_numpy(np.concatenate(images)).to(ray.train.torch.get_device())


def _labels(blocks: Sequence[ray.ObjectRef]) -> Tensor:
    """The class of each image, int64 (n,), on the same device."""
    tables: list[pa.Table] = ray.get(list(blocks))
    labels = np.concatenate([table["label"].to_numpy() for table in tables])
    return torch.from_numpy(labels).to(ray.train.torch.get_device())
