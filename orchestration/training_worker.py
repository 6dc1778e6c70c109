"""One Ray Train worker that trains a supernet; what surrounds it is `training_run.py`."""

from collections.abc import Sequence
from pathlib import Path

import ray
import ray.train
import torch
import torch.distributed

from orchestration.config import Config
from orchestration.errors import StepwiseError
from orchestration.machine import has_bfloat16
from orchestration.training_run import run, settled_device


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
    from orchestration.training_loop import Training
    from orchestration.training_material import receive
    from orchestration.training_network import training_dtype

    context, device = ray.train.get_context(), settled_device(config.train, folder)
    num_workers = context.get_world_size()
    dtype = training_dtype(config.train, all_have_bfloat16(device, num_workers))
    material, labels = receive(config, blocks, num_classes, device)
    training = Training(
        config, material, context.get_world_rank(), num_workers, labels, device, dtype
    )
    return run(training, folder)


def all_have_bfloat16(device: torch.device, num_workers: int) -> bool:
    """Whether every worker's device has units for bfloat16: all must compute alike."""
    has = has_bfloat16(device.type)
    if num_workers == 1:
        return has
    least = torch.tensor(int(has), device=device)
    torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
    return bool(least.item())
