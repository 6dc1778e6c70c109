"""One Ray Train worker that learns a mask: data and a network in, checkpoints out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
import ray.train
import ray.train.torch
import torch
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.collective import broadcast_from_rank_zero
from torch import Tensor

from models.transfer import copied
from orchestration.config import Config
from orchestration.errors import StepwiseError
from orchestration.files import Json
from orchestration.machine import out_of_memory, settle
from orchestration.mask_plan import Budgets
from orchestration.training_state import (
    Row,
    append_row,
    begin,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from orchestration.training_worker import OF_MEMORY


@dataclass(frozen=True, eq=False)
class Start:
    """The network that a worker begins with.

    Args:
        network: how it is built, as `checkpoints.build_supernet` takes it.
        weights: of width 1, by name; None for initial ones.
    """

    network: Mapping[str, Json]
    weights: Mapping[str, Tensor] | None


def work(
    config: Config,
    budgets: Budgets,
    folder: Path,
    blocks: Sequence[ray.ObjectRef],
    start: Sequence[ray.ObjectRef],
) -> StepwiseError | None:
    """What Ray Train calls in every worker.

    Args:
        config: of the run.
        budgets: of network calls.
        folder: where its checkpoints and reports lie.
        blocks: what `training_material.share` gave.
        start: one reference to a `Start`.

    Returns:
        Why the learning diverged, or None.
    """
    from orchestration.checkpoints import build_supernet
    from orchestration.mask_loop import MaskTraining
    from orchestration.training_loop import Diverged
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
    material, _ = receive(config, blocks, None, device)
    if not config.data.is_windows:
        material = copied(material, device)
    given: Start = ray.get(start[0])
    network = build_supernet(given.network, (1.0,), config.train.seed).full
    if given.weights is not None:
        network.load_state_dict(dict(given.weights))
    training = MaskTraining(
        config, budgets, material, network,
        context.get_world_rank(), context.get_world_size(), given.network.get("num_classes"),
    )  # fmt: skip
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
            checkpoint_upload_mode=CheckpointUploadMode.NO_UPLOAD,
        )

    try:
        training.run(report, save)
    except Diverged as error:
        return error
    except torch.OutOfMemoryError as error:
        raise out_of_memory(error, OF_MEMORY) from None
    return None
