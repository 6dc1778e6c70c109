"""Waiting for a cluster that is full: it is said what is awaited, and there is an end to it."""

import time
from collections.abc import Callable, Mapping

import ray

from orchestration.errors import MachineError

# Nothing is said of a wait that is shorter, where something is known to be missing or not: a busy
# machine takes its time to start processes.
SAY_AFTER_S, SAY_ANYWAY_AFTER_S = 10.0, 60.0
REPEAT_S = 60.0

Say = Callable[[str], None]


class Patience:
    """Keeps account of one wait.

    Args:
        what: is awaited, as a line says it.
        needed: resources in all, by name.
        say: takes lines.
        patience_s: after which waiting is given up.
        free: what the cluster has free, by name, now.
        clock: seconds.
    """

    def __init__(
        self,
        what: str,
        needed: Mapping[str, float],
        say: Say,
        patience_s: float,
        free: Callable[[], Mapping[str, float]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.needed, self.say, self.patience_s = what, needed, say, patience_s
        self.free, self.clock = free, clock
        self.begun = clock()
        self.due_s = SAY_AFTER_S if lacking(needed, free()) else SAY_ANYWAY_AFTER_S

    def tick(self, left: str = "") -> None:
        """To be called every now and then while nothing has come.

        Args:
            left: of it, where some has come, such as `2 of 3`.

        Raises:
            MachineError: the patience is at its end.
        """
        waited_s = self.clock() - self.begun
        line = f"{f'{left} ' if left else ''}{self.what}; {shown(self.free())} free"
        if waited_s >= self.patience_s:
            raise MachineError(
                f"waited {waited_s:.0f} s for {line}: expected room on the cluster (see `ray"
                " status`), or a larger ray.patience_s; the same command resumes"
            )
        if waited_s >= self.due_s:
            self.due_s = waited_s + REPEAT_S
            self.say(f"ray     waits for {line}")


def lacking(needed: Mapping[str, float], free: Mapping[str, float]) -> dict[str, float]:
    """What is free too little of, and how much is missing."""
    return {
        name: amount - free.get(name, 0.0)
        for name, amount in needed.items()
        if amount - free.get(name, 0.0) > 1e-6
    }


def free_now() -> dict[str, float]:
    """What nobody has claimed of the whole cluster."""
    return ray.available_resources()


def shown(resources: Mapping[str, float]) -> str:
    """CPUs and GPUs as a line has them; of others nothing."""
    cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
    return f"{round(cpus, 2):g} CPU" + (f" and {round(gpus, 2):g} GPU" if gpus else "")
