"""The Ray cluster that a command runs on: the one it was submitted to, a given one, or its own."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from orchestration import signals
from orchestration.config import Config
from orchestration.environment import ENVIRONMENT
from orchestration.errors import MachineError

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]

CONNECT_TIMEOUT_S = 10
# Ray gives its own processes 30 seconds, which a busy machine may exceed the first time.
START_ATTEMPTS = 3

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set where Ray runs a submitted job

OF_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # A failed batch fails what waits for it too; the first to be asked for is raised and told.
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    # A job's own variables are in our environment, and what we ask for repeats them as they are;
    # Ray would refuse a name that is there twice.
    "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1",
}

@contextmanager
def cluster(config: Config) -> Iterator[None]:
    """Connects to Ray, starting it on this machine unless told where it is; lets go at the end.

    Where it is, `ray.address` tells, or `RAY_ADDRESS`, which a submitted job finds set. Another
    cluster that happens to be on this machine, or was once, is left alone. Its nodes are sent the
    code, which a submitted job has brought already.

    Raises:
        MachineError: the cluster does not answer.
    """
    address = config.ray.address or os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address)
    # Ray reads these when it starts, and workers on this machine inherit them; what the user has
    # set is left alone. A runtime environment would keep workers from starting early.
    for name, value in {**OF_RAY, **ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    runtime: dict[str, object] = {}
    if address != "local":
        runtime["env_vars"] = {name: os.environ[name] for name in ENVIRONMENT}
    is_submitted = JOB_CONFIG in os.environ
    if config.ray.address is not None or not (address == "local" or is_submitted):
        runtime |= {"working_dir": str(ROOT), "excludes": [".git", ".venv", "runs"]}
    _init(address, runtime)
    signals.install()  # over the handler that ray.init() has put in place
    try:
        yield
    finally:
        ray.shutdown()


def _init(address: str, runtime: dict[str, object]) -> None:
    """Raises MachineError where Ray cannot be started, or joined."""
    attempts = START_ATTEMPTS if address == "local" else 1
    for attempt in range(1, attempts + 1):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=runtime,
                **({"include_dashboard": False} if address == "local" else {}),
            )
            return
        except Exception as error:  # Ray raises bare ones, such as of a start that takes too long
            if attempt == attempts or not _took_too_long(error):
                where = "on this machine" if address == "local" else f"at {address}"
                raise MachineError(f"no Ray cluster {where}: {error}") from error
            log.warning("Ray took too long to start (attempt %d of %d)", attempt, attempts)
            ray.shutdown()


def _took_too_long(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or "timed out" in str(error)


def _check_answers(address: str) -> None:
    """Raises MachineError where nothing listens; Ray itself would try for six minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise MachineError(f"no Ray cluster at {address}: {error}") from error


def num_cpus() -> int:
    """CPUs of the whole cluster."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
