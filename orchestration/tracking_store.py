"""What tracking needs of its surroundings, without MLflow itself.

Kinds of store, settings in the environment, a lock while a database is set up, and the identity by
which the runs of a run directory are found again.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

from orchestration.errors import ConfigError, DataError
from orchestration.files import disk_errors, lock, read_json, write_json

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

IDENTITY_FILE = "tracking.json"

PATIENCE_S = 60.0
"""How long to wait for another driver to set up a database."""


def scheme_of(uri: str) -> str:
    """The kind of store, such as "sqlite" of `sqlite:////path.db`; ConfigError if unknown."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in SERVERS + DATABASES:
        expected = ", ".join(f"{name}:" for name in SERVERS + DATABASES)
        raise ConfigError(f"tracking.uri is {uri!r}, expected one that begins with {expected}")
    return scheme


def settle_environment() -> None:
    """Sets what MLflow reads from the environment when it is used; the user's own goes first."""
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),  # Two lines for each run.
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "5"),  # Else an unreachable server takes four minutes.
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
    ):
        os.environ.setdefault(name, value)
    # They tell of each migration of a new database, and of each request that failed.
    for name in ("mlflow.store.db.utils", "alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)


def identity_of(folder: Path) -> str:
    """A name for a run directory that no other one has, even at the same place after it is gone.

    It is made at the first call and kept in the folder; DataError where it is damaged.
    """
    path = folder / IDENTITY_FILE
    if not path.exists():
        write_json(path, {"identity": token_hex(8)})
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("identity"), str):
        raise DataError(f"{path} is damaged: expected an object with 'identity'")
    return content["identity"]


@contextmanager
def alone_with(uri: str) -> Iterator[None]:
    """Keeps other drivers away from an sqlite file while it is set up.

    Its first use by several processes at once breaks it for good.

    Raises:
        MachineError: the place can't be written, or another driver is at it for a minute.
    """
    with ExitStack() as held:
        if scheme_of(uri) == "sqlite":
            path = Path(f"{urlsplit(uri).path[1:]}.lock")
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            held.enter_context(lock(path, PATIENCE_S))
        yield
