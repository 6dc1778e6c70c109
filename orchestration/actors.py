"""Actors on the cluster's devices: how they come to live, and that their devices are alike."""

from collections.abc import Sequence

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from orchestration.errors import MachineError
from orchestration.machine import Hardware, gpu_kind
from orchestration.patience import Patience, Say, free_now
from orchestration.placement import Placement

NUM_RESTARTS = 3

# Between two looks at whether actors have started.
POLL_S = 1.0


def started(actor_class: type, placement: Placement, *args: object) -> list[ActorHandle]:
    """Starts actors that Ray starts again where their process ends, as many as are placed.

    Args:
        actor_class: of them.
        placement: how many, and what each of them claims.
        args: of their constructor.
    """
    remote_class = ray.remote(
        **placement.options, max_restarts=NUM_RESTARTS, max_task_retries=NUM_RESTARTS
    )(actor_class)
    return [remote_class.remote(*args) for _ in range(placement.num_actors)]


def await_actors(
    actors: Sequence[ActorHandle],
    placement: Placement,
    say: Say,
    patience_s: float,
    like: Sequence[Hardware] = (),
    name: str = "scoring actors",
) -> list[Hardware]:
    """Returns once all actors live, on devices that are alike.

    Args:
        actors: just started.
        placement: what each of them claims.
        say: takes lines on what is awaited.
        patience_s: longest wait.
        like: devices of others, that theirs must be like.
        name: what they are, as a line says it.

    Returns:
        The device of each.

    Raises:
        MachineError: some have found no place by then, torch cannot use their GPU, or their GPUs
            are not alike.
    """
    needed = {key: amount * len(actors) for key, amount in placement.bundle.items()}
    what = f"{name}, each with {placement.describe()}"
    patience = Patience(what, needed, say, patience_s, free_now)
    asked = [actor.hardware.remote() for actor in actors]
    waiting = asked
    while waiting:
        _, waiting = ray.wait(
            waiting, num_returns=len(waiting), timeout=POLL_S, fetch_local=False
        )
        if waiting:
            patience.tick(f"{len(waiting)} of {len(actors)}")
    try:
        found = ray.get(asked)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise MachineError(f"{name} were lost as they started: {error}") from error
    check_alike([*like, *found])
    return found


def check_alike(found: Sequence[Hardware]) -> None:
    """Raises MachineError where GPUs are not alike (`machine.gpu_kind`): they give other bits."""
    kinds = {(of_one["processor"], gpu_kind(of_one)) for of_one in found if "device" in of_one}
    if len({kind for _, kind in kinds}) > 1:
        there = ", ".join(f"{name}: {kind}" for name, kind in sorted(kinds))
        raise MachineError(
            f"actors are on GPUs that give other bits ({there}); expected one kind, by"
            " ray.accelerator_type (Ray's names: `ray status -v`); where it has one name for all,"
            " start the nodes of each with another too, as in"
            " `ray start --resources='{\"accelerator_type:H100-PCIe\": 1}'`"
        )
