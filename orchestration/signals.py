"""A clean stop when the process is told to stop (SIGINT from Ctrl-C, SIGTERM from `ray job stop`).

Both raise KeyboardInterrupt in the main thread, the one exception that a blocking `ray.get` lets
through (it prints any other and waits on), and the number is kept for the exit code. What must
not be torn, such as a write to a database, holds them until it is done.

Ray puts handlers of its own over these: `ray.init()` for SIGTERM, `TorchTrainer.fit()` for SIGINT.
Call `install()` again after each of them. Until then theirs raise SystemExit, which `jobs.cli`
takes for an interruption too.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A process has one set of signal handlers, so these are one list each
_received: list[int] = []
_holding: list[None] = []


def install() -> None:
    """Makes SIGINT and SIGTERM raise KeyboardInterrupt; does nothing outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
        signal.signal(signal.SIGTERM, _interrupt)


def received() -> int | None:
    """The number of the last signal that asked this process to stop, None if none did."""
    return _received[-1] if _received else None


@contextmanager
def held() -> Iterator[None]:
    """A signal that comes meanwhile is raised at the end; only for what ends within seconds.

    In other threads than the main one nothing is held, since no signal is raised there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = len(_received)
    _holding.append(None)
    try:
        yield
    finally:
        _holding.pop()
        if len(_received) > before and not _holding:
            raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if not _holding:
        raise KeyboardInterrupt
