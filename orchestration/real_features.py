"""Features of many real images, on the devices that scoring runs on.

On CPUs they are tasks. On GPUs they are actors, which are gone before features are handed out: a
task that is told of its GPU by `options` goes to whichever process is idle, and that keeps the
first GPU it saw, and memory of it, long after the task; were it declared with a GPU, every few
images would cost the start of a process.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import ray
import torch
from ray import ObjectRef
from ray.exceptions import RayError, RayTaskError
from torch import nn

from models.images import from_uint8
from models.transfer import copied
from orchestration.actors import await_actors, started
from orchestration.cluster import num_cpus
from orchestration.config import Config
from orchestration.durations import clock
from orchestration.errors import MachineError
from orchestration.gpu_faults import guarded
from orchestration.machine import Hardware, assigned_device, hardware, settle
from orchestration.patience import Patience, free_now
from orchestration.placement import Placement, observe, place

SECONDS_BETWEEN_LINES = 5.0
POLL_S = 5.0

# Under way for each device: one is at work while the next is on its way.
PARTS_A_DEVICE = 2

WHAT = "tasks that take features, each with 1 CPU"
"""What is awaited on CPUs; actors on GPUs are there before they are given anything."""

OF_MEMORY = "fewer score.actors_per_gpu, or GPUs that nobody else is on"
"""What mends a GPU that is too small."""

Take = Callable[[np.ndarray], ObjectRef]
"""Gives images to some device, and promises their features."""


def real_features(
    network: nn.Module,
    images: np.ndarray,
    images_a_task: int,
    config: Config,
    say: Callable[[str], None],
) -> np.ndarray:
    """The features of images, the same bits on any number of devices of one kind.

    Args:
        network: its `features` maps (n, C, H, W) in [-1, 1] to (n, D).
        images: uint8 (n, C, H, W).
        images_a_task: go through the network together; bits may depend on it.
        config: its `score` and `ray` say where.
        say: takes lines of progress.

    Returns:
        float32 (n, D).

    Raises:
        MachineError: the cluster loses tasks again and again, or has no room; a GPU is too small,
            torch can't use it, or they are not alike.
    """
    placement = place(config, observe())
    shared = ray.put(network)
    starts = list(range(0, len(images), images_a_task))
    parts: dict[int, np.ndarray] = {}
    waiting: dict[ObjectRef, tuple[int, Take]] = {}
    with _takers(shared, placement, len(starts), config, say) as idle:
        begun = told = time.monotonic()
        patience = Patience(WHAT, {"CPU": 1.0}, say, config.ray.patience_s, free_now)
        for start in starts:
            if not idle:
                idle += _collect(waiting, parts, patience)
            take = idle.pop(0)
            waiting[take(images[start : start + images_a_task])] = start, take
            if parts and time.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                rest_s = (told - begun) * (len(starts) - len(parts)) / len(parts)
                say(_line(len(parts) * images_a_task, len(images), rest_s))
        while waiting:
            _collect(waiting, parts, patience)
    return np.concatenate([parts[start] for start in starts])


@contextmanager
def _takers(
    shared: ObjectRef,
    placement: Placement,
    num_parts: int,
    config: Config,
    say: Callable[[str], None],
) -> Iterator[list[Take]]:
    """What takes parts, as often as it may be given one before it has answered."""
    if not placement.num_gpus:
        task = _features.options(num_cpus=1)
        yield [partial(task.remote, shared)] * (PARTS_A_DEVICE * num_cpus())
        return
    placement = replace(placement, num_actors=min(placement.num_actors, num_parts))
    actors = started(FeatureActor, placement, config.score.tf32)
    try:
        await_actors(
            actors, placement, say, config.ray.patience_s, name="actors that take features"
        )
        yield [partial(actor.features.remote, [shared]) for actor in actors] * PARTS_A_DEVICE
    finally:
        for actor in actors:
            ray.kill(actor)


def _collect(
    waiting: dict[ObjectRef, tuple[int, Take]], parts: dict[int, np.ndarray], patience: Patience
) -> list[Take]:
    """Moves what is done from `waiting` to `parts`, once there is something; who is idle now."""
    done: list[ObjectRef] = []
    while not done:
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=POLL_S)
        if not done and not parts:  # what is slow is no concern, but what has not begun
            patience.tick()
    idle = []
    for ref in done:
        start, take = waiting.pop(ref)
        try:
            parts[start] = ray.get(ref)
        except RayTaskError as error:
            raise error.cause from error
        except RayError as error:
            raise MachineError(f"features of real images: tasks were lost: {error}") from error
        idle.append(take)
    return idle


def _line(done: int, total: int, rest_s: float) -> str:
    done = min(done, total)
    return f"data    features of {done:,} of {total:,} real images   {clock(rest_s)} left"


@ray.remote
def _features(network: nn.Module, images: np.ndarray) -> np.ndarray:
    torch.set_num_threads(1)
    return _of(network, images, "cpu")


class FeatureActor:
    """A network on a GPU, there when it is first needed, and again after a restart.

    Args:
        tf32: see `machine.settle`.
    """

    def __init__(self, tf32: bool) -> None:
        self.tf32 = tf32
        self.network: nn.Module | None = None

    def hardware(self) -> Hardware:
        """The device that this actor has been given; MachineError where torch can't use it."""
        return hardware(assigned_device())

    def features(self, shared: list[ObjectRef], images: np.ndarray) -> np.ndarray:
        """Features (n, D) of images, by the network that a reference is to."""
        return guarded(OF_MEMORY, self._features, shared, images)

    def _features(self, shared: list[ObjectRef], images: np.ndarray) -> np.ndarray:
        device = assigned_device()
        if self.network is None:
            settle(device, self.tf32)
            self.network = ray.get(shared[0]).to(device)
        return _of(self.network, images, device)


def _of(network: nn.Module, images: np.ndarray, device: str) -> np.ndarray:
    x = from_uint8(copied(torch.from_numpy(images.copy()), device))
    with torch.inference_mode():
        return network.features(x).cpu().numpy()
