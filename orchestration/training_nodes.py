"""What the cluster is like for a training: its nodes, their storage, their GPUs."""

import os
from collections.abc import Mapping
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestration.errors import MachineError
from orchestration.files import disk_errors
from orchestration.machine import check_usable
from orchestration.patience import Patience
from orchestration.placement import Node, node_of
from orchestration.training_places import Workers

ANSWER_S = 60.0  # of a node that is asked whether it sees a file
POLL_S = 1.0
PROBE = ".probe"

# Claimed to look at a GPU; others may be at work on it.
SLIVER = 0.01


def this_node() -> str:
    """The address of the driver's node."""
    node_id = ray.get_runtime_context().get_node_id()
    (address,) = (n["NodeManagerAddress"] for n in ray.nodes() if n["NodeID"] == node_id)
    return address


def observe_nodes() -> dict[str, Node]:
    """The living nodes by address; where several share one, what they have together."""
    found: dict[str, Node] = {}
    for node in ray.nodes():
        if node["Alive"]:
            one, other = node_of(node["Resources"]), found.get(node["NodeManagerAddress"])
            if other is not None:
                gpu_type = one.gpu_type or other.gpu_type
                one = Node(one.cpus + other.cpus, one.gpus + other.gpus, gpu_type)
            found[node["NodeManagerAddress"]] = one
    return found


def without(folder: Path, nodes: Mapping[str, Node], here: str) -> list[str]:
    """Addresses of the nodes that do not see what the driver writes into `folder`.

    Every other node is asked for a file; one that does not answer counts as not seeing it.

    Raises:
        MachineError: the driver cannot write there.
    """
    others = [
        node for node in ray.nodes() if node["Alive"] and node["NodeManagerAddress"] != here
    ]
    if not others:
        return []
    probe, token = folder / PROBE, os.urandom(8).hex()
    with disk_errors(probe):
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text(token)
    try:
        asked = {
            _content.options(**_on(node["NodeID"])).remote(str(probe)): node["NodeManagerAddress"]
            for node in others
        }
        ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
        return sorted(address for ref, address in asked.items() if _answer(ref) != token)
    finally:
        probe.unlink(missing_ok=True)


def check_gpu(workers: Workers, patience: Patience) -> None:
    """Has a process with a GPU, such as a worker will be, tell whether torch can use it.

    Raises:
        MachineError: it cannot, or no GPU is to be had in good time.
    """
    kind = {} if workers.gpu_type is None else {"accelerator_type": workers.gpu_type}
    ref = _usable.options(**kind).remote()
    while not ray.wait([ref], timeout=POLL_S)[0]:
        patience.tick()
    try:
        ray.get(ref)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise MachineError(f"training: no process can be started beside a GPU: {error}") from error


def _on(node_id: str) -> dict[str, object]:
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}


def _answer(ref: ray.ObjectRef) -> str | None:
    try:
        return ray.get(ref, timeout=0)
    except RayError:  # no answer in time, or a node that has gone
        return None


@ray.remote(num_cpus=0, max_retries=0)
def _content(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None


# Declared with a GPU, Ray ends the process after the task; by `options` alone it would stay, and
# hold memory of a GPU that is another's by then.
@ray.remote(num_cpus=0, num_gpus=SLIVER, max_retries=0)
def _usable() -> None:
    check_usable("cuda")
