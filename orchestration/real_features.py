"""Features of many real images, as tasks on the cluster's CPUs, or its GPUs if it has any."""

import time
from collections.abc import Callable

import numpy as np
import ray
import torch
from ray import ObjectRef
from ray.exceptions import RayError, RayTaskError
from torch import nn

from models.images import from_uint8
from orchestration.cluster import num_cpus
from orchestration.errors import MachineError
from orchestration.progress import clock

SECONDS_BETWEEN_LINES = 5.0


def real_features(
    network: nn.Module, images: np.ndarray, images_a_task: int, say: Callable[[str], None]
) -> np.ndarray:
    """The features of images, the same bits whatever the cluster.

    Args:
        network: its `features` maps (n, C, H, W) in [-1, 1] to (n, D).
        images: uint8 (n, C, H, W).
        images_a_task: go through the network together; bits may depend on it.
        say: takes lines of progress.

    Returns:
        float32 (n, D).

    Raises:
        MachineError: the cluster loses tasks again and again.
    """
    gpus = ray.cluster_resources().get("GPU", 0)
    task = _features.options(**({"num_gpus": 1} if gpus else {"num_cpus": 1}))
    in_flight = 2 * (int(gpus) or num_cpus())
    shared = ray.put(network)
    starts = list(range(0, len(images), images_a_task))
    parts: dict[int, np.ndarray] = {}
    waiting: dict[ObjectRef, int] = {}
    begun = told = time.monotonic()
    for start in starts:
        if len(waiting) == in_flight:
            _collect(waiting, parts)
        waiting[task.remote(shared, images[start : start + images_a_task])] = start
        if parts and time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            rest_s = (told - begun) * (len(starts) - len(parts)) / len(parts)
            say(_line(len(parts) * images_a_task, len(images), rest_s))
    while waiting:
        _collect(waiting, parts)
    return np.concatenate([parts[start] for start in starts])


def _collect(waiting: dict[ObjectRef, int], parts: dict[int, np.ndarray]) -> None:
    """Moves what is done from `waiting` to `parts`, once there is something."""
    done, _ = ray.wait(list(waiting), num_returns=1)
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
def _features(network: nn.Module, images: np.ndarray) -> np.ndarray:
    device = "cuda" if torch.cuda.is_available() else "cpu"  # no GPU asked for, none there
    if device == "cpu":
        torch.set_num_threads(1)
    x = from_uint8(torch.from_numpy(images.copy()).to(device))
    with torch.inference_mode():
        return network.to(device).features(x).cpu().numpy()
