"""Timing what may run on a GPU, which computes while Python has long gone on."""

import time
from collections.abc import Callable

import torch


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


def started(device: str = "cpu") -> float:
    """The wall clock, once a GPU has done all that was asked of it before."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()
