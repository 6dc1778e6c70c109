"""One Ray Train worker that learns a mask; what surrounds it is `training_run.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ray
import ray.train
from torch import Tensor

from orchestration.config import Config
from orchestration.errors import StepwiseError
from orchestration.files import Json
from orchestration.mask_plan import Budgets
from orchestration.training_run import run, settled_device
from orchestration.training_worker import all_have_bfloat16


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
    from orchestration.training_material import receive
    from orchestration.training_network import training_dtype

    context, device = ray.train.get_context(), settled_device(config.train, folder)
    num_workers = context.get_world_size()
    dtype = training_dtype(config.train, all_have_bfloat16(device, num_workers))
    material, _ = receive(config, blocks, None, device)
    if not config.data.is_windows:
        material = material.to(device)
    given: Start = ray.get(start[0])
    network = build_supernet(given.network, (1.0,), config.train.seed).full
    if given.weights is not None:
        network.load_state_dict(dict(given.weights))
    training = MaskTraining(
        config, budgets, material, network,
        context.get_world_rank(), num_workers, given.network.get("num_classes"), dtype,
    )  # fmt: skip
    return run(training, folder)
