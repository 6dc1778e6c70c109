"""Where training workers go: how many there are, on which devices and on which nodes.

Decided here; what the cluster has is observed by `training_nodes`, and Ray Train acts.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ray.train

from orchestration.errors import MachineError
from orchestration.placement import UNKNOWN, Node, choose_type, gpus_by_type
from orchestration.sections import Config
from orchestration.training_sections import Train

# With fewer rows than these a CPU would rather run one worker less.
ROWS_OF_A_WORKER = 32


@dataclass(frozen=True)
class Workers:
    """What the workers of a training claim.

    Args:
        num_workers: how many.
        threads: CPUs of each.
        use_gpu: whether each has a GPU for itself.
        gpu_type: that each must have; None for any.
        node: address of the node that all must be on; None for any nodes.
    """

    num_workers: int
    threads: int
    use_gpu: bool = False
    gpu_type: str | None = None
    node: str | None = None

    def scaling(self) -> ray.train.ScalingConfig:
        """The same in Ray Train's words."""
        claims: dict[str, float] = {"CPU": self.threads}
        if self.node is not None:
            claims[f"node:{self.node}"] = 0.001  # every node has one of itself
        return ray.train.ScalingConfig(
            num_workers=self.num_workers,
            use_gpu=self.use_gpu,
            resources_per_worker=claims,
            accelerator_type=self.gpu_type,
        )

    def needed(self) -> dict[str, float]:
        """CPUs and GPUs of all of them."""
        needed = {"CPU": float(self.num_workers * self.threads)}
        return needed | ({"GPU": float(self.num_workers)} if self.use_gpu else {})

    def describe(self) -> str:
        """What one claims, for a line of progress or an error."""
        kind = "" if self.gpu_type is None else f" of type {self.gpu_type}"
        return f"{self.threads} CPU" + (f" and 1 GPU{kind}" if self.use_gpu else "")


def places(config: Config, nodes: Mapping[str, Node], here: str) -> Workers:
    """How many workers there are, and on what.

    A worker trains on a GPU of its own where the cluster has any of the type asked for, unless
    `train.device` says otherwise. Without a number there are as many as have enough rows each and
    a place: a GPU of the driver's node; where that has none, one of the cluster's; where there are
    none, a CPU of the driver's node. One is asked for in any case.

    Args:
        config: its `train` and `ray.accelerator_type`.
        nodes: of the cluster, by address.
        here: address of the driver's.

    Raises:
        MachineError: too few CPUs or GPUs, or none of the type asked for.
    """
    train = config.train
    gpu_type, gpus = _gpus(config, nodes)
    mine = nodes[here]
    cpus = max(1, int(sum(node.cpus for node in nodes.values())))
    if gpu_type is None:
        room = int(mine.cpus) // train.threads
    else:
        at_hand = mine.gpus if mine.gpu_type == gpu_type else 0
        room = min(cpus // train.threads, at_hand or gpus)
    num_workers = train.num_workers or max(1, min(room, train.batch_size // ROWS_OF_A_WORKER))
    if num_workers * train.threads > cpus:
        raise MachineError(
            f"the cluster has {cpus} CPUs; expected train.num_workers ({num_workers}) x"
            f" train.threads ({train.threads}) of them"
        )
    if gpu_type is None:
        return Workers(num_workers, train.threads)
    if num_workers > gpus:
        kind = "" if gpu_type == UNKNOWN else f" of type {gpu_type}"
        raise MachineError(
            f"the cluster has {gpus} GPUs{kind}; expected train.num_workers ({num_workers}) of"
            " them"
        )
    is_named = gpu_type != UNKNOWN and config.ray.accelerator_type is not None
    is_mixed = len(gpus_by_type(list(nodes.values()))) > 1
    asked = gpu_type if is_named or (is_mixed and gpu_type != UNKNOWN) else None
    return Workers(num_workers, train.threads, True, asked)


def tied(
    workers: Workers,
    nodes: Mapping[str, Node],
    here: str,
    strangers: Collection[str],
    folder: Path,
) -> Workers:
    """The same workers, kept to the driver's node where others don't see its storage.

    Args:
        workers: to place.
        nodes: of the cluster, by address.
        here: address of the driver's.
        strangers: addresses of nodes that don't see what the driver writes.
        folder: that workers read and write checkpoints in.

    Raises:
        MachineError: they don't all fit there.
    """
    able = [name for name in strangers if _room(nodes[name], workers) > 0]
    if not able:
        return workers
    if _room(nodes[here], workers) >= workers.num_workers:
        return replace(workers, node=here)
    raise MachineError(
        f"{folder} is not on storage that all nodes share: {', '.join(sorted(able))} don't see"
        f" what is written here; expected --out where all of them do, or train.num_workers"
        f" ({workers.num_workers}, each with {workers.describe()}) that fit on this node"
    )


def num_at_once(trains: Sequence[Train], nodes: Mapping[str, Node], here: str) -> int:
    """How many of these trainings the driver's node has room for beside each other, at least 1.

    GPUs, which a training takes one of for each worker, are never divided.
    """
    has_gpus = bool(gpus_by_type(list(nodes.values())))
    if has_gpus and any(train.device != "cpu" for train in trains):
        return 1
    cpus = int(nodes[here].cpus)
    most = max((train.threads * _on_cpus(train, cpus) for train in trains), default=1)
    return max(1, cpus // most)


def _on_cpus(train: Train, cpus: int) -> int:
    rows = train.batch_size // ROWS_OF_A_WORKER
    return train.num_workers or max(1, min(cpus // train.threads, rows))


def _gpus(config: Config, nodes: Mapping[str, Node]) -> tuple[str | None, int]:
    """The type of GPU to train on and how many there are of it; None and 0 for CPUs."""
    counts = gpus_by_type(list(nodes.values()))
    device, asked = config.train.device, config.ray.accelerator_type
    if device == "cpu" or (device == "auto" and not counts and asked is None):
        return None, 0
    gpu_type = choose_type(counts, asked, "train.device")
    return gpu_type, counts[gpu_type]


def _room(node: Node, workers: Workers) -> int:
    """How many of the workers a node could take, were it empty."""
    room = math.floor(node.cpus / workers.threads)
    if not workers.use_gpu:
        return room
    fits = workers.gpu_type is None or workers.gpu_type == node.gpu_type
    return min(room, node.gpus) if fits else 0
