"""Features of many real images, as tasks on the devices that scoring runs on."""

import time
from collections.abc import Callable

import numpy as np
import ray
import torch
from ray import ObjectRef
from ray.exceptions import RayError, RayTaskError
from torch import nn

from models.images import from_uint8
from models.transfer import copied
from orchestration.cluster import num_cpus
from orchestration.config import Config
from orchestration.durations import clock
from orchestration.errors import MachineError
from orchestration.machine import assigned_device, check_usable, settle
from orchestration.patience import Patience, free_now
from orchestration.placement import observe, place

SECONDS_BETWEEN_LINES = 5.0
POLL_S = 5.0


def real_features(
    network: nn.Module,
    images: np.ndarray,
    images_a_task: int,
    config: Config,
    say: Callable[[str], None],
) -> np.ndarray:
    """The features of images, the same bits on any number of devices of one type.

    Args:
        network: its `features` maps (n, C, H, W) in [-1, 1] to (n, D).
        images: uint8 (n, C, H, W).
        images_a_task: go through the network together; bits may depend on it.
        config: its `score` and `ray` say where.
        say: takes lines of progress.

    Returns:
        float32 (n, D).

    Raises:
        MachineError: the cluster loses tasks again and again, or has no room.
    """
    placement = place(config, observe())
    options = placement.options if placement.num_gpus else {"num_cpus": 1}
    needed = placement.bundle if placement.num_gpus else {"CPU": 1.0}
    task = _features.options(**options)
    in_flight = 2 * (placement.num_actors if placement.num_gpus else num_cpus())
    what = f"tasks that take features, each with {placement.describe()}"
    patience = Patience(what, needed, say, config.ray.patience_s, free_now)
    shared = ray.put(network)
    starts = list(range(0, len(images), images_a_task))
    parts: dict[int, np.ndarray] = {}
    waiting: dict[ObjectRef, int] = {}
    begun = told = time.monotonic()
    for start in starts:
        if len(waiting) == in_flight:
            _collect(waiting, parts, patience)
        part = images[start : start + images_a_task]
        waiting[task.remote(shared, part, config.score.tf32)] = start
        if parts and time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            rest_s = (told - begun) * (len(starts) - len(parts)) / len(parts)
            say(_line(len(parts) * images_a_task, len(images), rest_s))
    while waiting:
        _collect(waiting, parts, patience)
    return np.concatenate([parts[start] for start in starts])


def _collect(
    waiting: dict[ObjectRef, int], parts: dict[int, np.ndarray], patience: Patience
) -> None:
    """Moves what is done from `waiting` to `parts`, once there is something."""
    done: list[ObjectRef] = []
    while not done:
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL_S)
        if not done and not parts:  # what is slow is no concern, but what has not begun
            patience.tick()
    for ref in done:
        try:
            parts[waiting.pop(ref)] = ray.get(ref)
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise MachineError(f"features of real images: tasks were lost: {error}") from error


def _line(done: int, total: int, rest_s: float) -> str:
    done = min(done, total)
    return f"data    features of {done:,} of {total:,} real images   {clock(rest_s)} left"


@ray.remote
def _features(network: nn.Module, images: np.ndarray, tf32: bool) -> np.ndarray:
    device = assigned_device()
    check_usable(device)
    settle(device, tf32)
    if device == "cpu":
        torch.set_num_threads(1)
    x = from_uint8(copied(torch.from_numpy(images.copy()), device))
    with torch.inference_mode():
        return network.to(device).features(x).cpu().numpy()
