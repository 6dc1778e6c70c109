"""Timing what may run on a GPU, which computes while Python has long gone on."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

# Of each call at least so many are timed, and no more than so many or for so long in all.
MIN_ROUNDS, MAX_ROUNDS, MAX_SECONDS = 5, 50, 20.0

Name = TypeVar("Name", bound=Hashable)


def seconds_of(
    call: Callable[[], object],
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds that a call takes, to the end of what it has queued on a GPU.

    A GPU's time is taken by its own events, from when it has nothing else to do.

    Args:
        call: to be timed.
        device: `cpu` or `cuda`, the current one.
        clock: seconds, on the CPU.
    """
    if device == "cpu":
        start = clock()
        call()
        return clock() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1000


def fastest_s(
    calls: Mapping[Name, Callable[[], object]],
    clock: Callable[[], float] = time.perf_counter,
    device: str = "cpu",
    most: int | None = None,
) -> dict[Name, float]:
    """Seconds of the fastest of several calls each (`most`), after one that is not counted.

    `most` rounds are made, or without it as many as time allows, within MIN_ROUNDS and MAX_ROUNDS.
    Whatever else the machine does only adds to a time, so the least is nearest to the truth; and
    calls are taken in turn, so that a slow minute is one for all of them.
    """
    for call in calls.values():
        call()
    began = clock()
    seconds: dict[Name, float] = {}
    for done in range(MAX_ROUNDS if most is None else most):
        if done >= MIN_ROUNDS and clock() - began > MAX_SECONDS:
            break
        for name, call in calls.items():
            seconds[name] = min(seconds.get(name, float("inf")), seconds_of(call, device, clock))
    return seconds


def started(device: str = "cpu") -> float:
    """The wall clock, once a GPU has done all that was asked of it before."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()
