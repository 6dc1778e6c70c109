"""Where scoring actors go: what the cluster has, what each of them claims, how many there are.

Observed once when a command begins (`observe`), decided by a pure function (`place`), done by the
pool, which claims as much of Ray for every actor. All actors of a command run on one kind of
device: on a GPU each has a share of it, in a mixed cluster all on GPUs of one type, because others
give other bits. The driver itself claims nothing, and needs no GPU.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray

from orchestration.errors import MachineError
from orchestration.sections import Config

# An actor computes on one core, and leaves a little of it to the searches that feed it.
ACTOR_CPUS = 0.9

UNKNOWN = "unknown"
"""The type of GPUs that Ray has no name for."""

TYPE = "accelerator_type:"
"""How Ray's resource of a node begins that names the type of its GPUs."""


@dataclass(frozen=True)
class Node:
    """What a node of the cluster has.

    Args:
        cpus: of it.
        gpus: of it.
        gpu_type: as Ray names it, such as `A100`; None without GPUs.
    """

    cpus: float
    gpus: int = 0
    gpu_type: str | None = None


@dataclass(frozen=True)
class Placement:
    """What scoring actors claim.

    Args:
        num_actors: how many there are.
        num_cpus: of each.
        num_gpus: of each, 0 on CPUs; at most 1.
        gpu_type: that each must have; None for any.
    """

    num_actors: int
    num_cpus: float
    num_gpus: float = 0.0
    gpu_type: str | None = None

    @property
    def device(self) -> str:
        """What they compute on: `cuda` or `cpu`."""
        return "cuda" if self.num_gpus else "cpu"

    @property
    def options(self) -> dict[str, float | str]:
        """Of a Ray actor."""
        options: dict[str, float | str] = {"num_cpus": self.num_cpus}
        if self.num_gpus:
            options["num_gpus"] = self.num_gpus
        if self.gpu_type is not None:
            options["accelerator_type"] = self.gpu_type
        return options

    @property
    def bundle(self) -> dict[str, float]:
        """The same as a bundle of a placement group."""
        bundle = {"CPU": self.num_cpus}
        if self.num_gpus:
            bundle["GPU"] = self.num_gpus
        if self.gpu_type is not None:
            bundle[f"{TYPE}{self.gpu_type}"] = 0.001
        return bundle

    def describe(self) -> str:
        """What an actor claims, for a line of progress or an error."""
        claims = [f"{self.num_cpus:g} CPU"]
        if self.num_gpus:
            claims.append(f"{self.num_gpus:.3g} GPU")
        kind = "" if self.gpu_type is None else f" of type {self.gpu_type}"
        return " and ".join(claims) + kind


def observe() -> list[Node]:
    """The living nodes of the cluster."""
    return [node_of(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def node_of(resources: Mapping[str, float]) -> Node:
    """A node from Ray's resources of it.

    Of several types the longest counts: Ray names one itself, such as `H100`; who tells its boards
    apart gives the node another, such as `H100-PCIe`.
    """
    gpus = int(resources.get("GPU", 0))
    types = sorted(key.removeprefix(TYPE) for key in resources if key.startswith(TYPE))
    gpu_type = max(types, key=len, default=UNKNOWN) if gpus else None
    return Node(resources.get("CPU", 0), gpus, gpu_type)


def place(config: Config, nodes: Sequence[Node], searches: int = 1) -> Placement:
    """Decides how many actors there are and what they claim.

    Without `score.actors` there are `score.actors_per_gpu` for each GPU, or else one for each CPU,
    shared out among the searches that run beside each other.

    Args:
        config: its `score` and `ray.accelerator_type`.
        nodes: of the cluster.
        searches: that have actors of their own at the same time.

    Raises:
        MachineError: there are no such GPUs, or too few of them.
    """
    score, asked = config.score, config.ray.accelerator_type
    counts = gpus_by_type(nodes)
    on_cpus = score.device == "cpu" or score.scorer == "stub"
    if on_cpus or (score.device == "auto" and not counts and asked is None):
        cpus = max(1, int(sum(node.cpus for node in nodes)))
        num_actors = score.actors or max(1, cpus // searches)
        return Placement(num_actors, cpus_of_actor(num_actors, cpus))
    gpu_type = choose_type(counts, asked)
    num_gpus = counts[gpu_type]
    room = num_gpus * score.actors_per_gpu
    num_actors = score.actors or max(1, room // searches)
    if num_actors > room:
        raise MachineError(
            f"score.actors: got {num_actors}, expected at most {room}: the cluster has {num_gpus}"
            f" GPUs of type {gpu_type}, and score.actors_per_gpu is {score.actors_per_gpu}"
        )
    return Placement(
        num_actors,
        _cpus_beside_gpus(nodes, gpu_type, score.actors_per_gpu),
        share_of_gpu(score.actors_per_gpu),
        # Where there is but one type, no node that joins later is kept out by the lack of a name
        gpu_type if gpu_type != UNKNOWN and (len(counts) > 1 or asked is not None) else None,
    )


def gpus_by_type(nodes: Sequence[Node]) -> Counter[str]:
    """How many GPUs of each type there are."""
    counts: Counter[str] = Counter()
    for node in nodes:
        if node.gpus and node.gpu_type is not None:
            counts[node.gpu_type] += node.gpus
    return counts


def choose_type(
    counts: Mapping[str, int], asked: str | None, device_key: str = "score.device"
) -> str:
    """The type of GPU to run on: the one asked for, or the one there are most of.

    Args:
        counts: GPUs of each type.
        asked: `ray.accelerator_type`.
        device_key: the key that asks for GPUs.

    Raises:
        MachineError: there is none of it.
    """
    if asked is not None and asked not in counts:
        there = ", ".join(f"{n} x {name}" for name, n in sorted(counts.items())) or "none"
        raise MachineError(
            f"ray.accelerator_type: got {asked}, expected one of the cluster's GPUs ({there})"
        )
    if not counts:
        raise MachineError(
            f"{device_key}: got cuda, but the cluster has no GPU; expected nodes with GPUs that"
            " Ray knows of (see `ray status`), or auto"
        )
    return asked or min(counts, key=lambda name: (-counts[name], name))


def share_of_gpu(actors_per_gpu: int) -> float:
    """What each actor claims of a GPU, so that as many fit, and not one more.

    Ray counts in units of 1/10,000: rounded to the nearest, a sixth would be too much.
    """
    return math.floor(10_000 / actors_per_gpu) / 10_000


def cpus_of_actor(num_actors: int, cpus: int) -> float:
    """The share of a CPU that each actor claims; where they outnumber the CPUs, several fit."""
    return ACTOR_CPUS / math.ceil(num_actors / cpus)


def _cpus_beside_gpus(nodes: Sequence[Node], gpu_type: str, actors_per_gpu: int) -> float:
    """The share of a CPU of each actor, by the node that has fewest for those it may get."""
    shares = [
        cpus_of_actor(node.gpus * actors_per_gpu, max(1, int(node.cpus)))
        for node in nodes
        if node.gpus and node.gpu_type == gpu_type
    ]
    return min(shares)
