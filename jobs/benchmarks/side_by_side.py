"""Rivals timed in one process, in turn, so that a machine that slows down slows all of them."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one rival, a number for each repetition."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    def to_json(self) -> dict[str, float | int]:
        """Median, range and number of repetitions."""
        return {
            "median_s": self.median,
            "min_s": min(self.seconds),
            "max_s": max(self.seconds),
            "repetitions": len(self.seconds),
        }


def side_by_side(
    rivals: Mapping[str, Callable[[], object]], repetitions: int, warm_up: bool = True
) -> dict[str, Timing]:
    """Times each rival once a round, in turn; every other round goes backwards.

    Args:
        rivals: what is called, by name.
        repetitions: rounds, at least 1.
        warm_up: call each once before, untimed.
    """
    if warm_up:
        for call in rivals.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for k in range(repetitions):
        for name in list(rivals)[:: 1 - 2 * (k % 2)]:
            start = time.perf_counter()
            rivals[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def piece_by_piece(
    rivals: Mapping[str, Callable[[], Iterable[object]]], repetitions: int
) -> dict[str, Timing]:
    """Times rivals that take long and yield on their way: in turn, up to the next yield of each.

    So what the machine does within a minute meets all of them. Every other turn goes backwards.

    Args:
        rivals: what is run to its end, once a round, by name.
        repetitions: rounds, at least 1.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repetitions):
        going = {name: iter(call()) for name, call in rivals.items()}
        taken = dict.fromkeys(rivals, 0.0)
        while going:
            for name in list(going):
                start = time.perf_counter()
                if next(going[name], _END) is _END:
                    del going[name]
                taken[name] += time.perf_counter() - start
            going = dict(reversed(going.items()))
        for name, total in taken.items():
            seconds[name].append(total)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


_END = object()


def ratio(timings: Mapping[str, Timing], slow: str, fast: str) -> float:
    """How many times as fast `fast` is: the median over rounds, each of them side by side."""
    rounds = zip(timings[slow].seconds, timings[fast].seconds, strict=True)
    return statistics.median(a / b for a, b in rounds)
