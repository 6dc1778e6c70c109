"""Files that are whole or not there: atomic writes, checksums, locks.

Every write goes to a hidden temporary name beside its target, is flushed to the disk, and is then
renamed, so that a reader (or the same program after `kill -9`) sees the old state or the new one.
A manifest records the sha256 of each file of a folder: neither safetensors nor most image formats
notice a flipped bit.

Errors: DataError for what is read (missing, unreadable, damaged), MachineError for what cannot be
written or locked.
"""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from orchestration.errors import DataError, MachineError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

MANIFEST = "manifest.json"

CACHE_PATIENCE_S = 6 * 3600.0
"""How long to wait for what another process makes."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of the body (disk full, no permission) into a MachineError about `path`."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"cannot write {path}: {error.strerror or error}; "
            "expected a writable place with free space"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically and durably, making its folder where there is none.

    Raises:
        MachineError: the disk is full or the place is not writable; an old file stays as it was.
    """
    temporary = _temporary(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


def canonical_json(value: Json) -> bytes:
    """The one way in which a value is written: sorted keys, two spaces, a newline at the end.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Json) -> None:
    """Writes `canonical_json(value)` atomically: equal values give equal bytes."""
    write_bytes(path, canonical_json(value))


def read_json(path: Path) -> Json:
    """Reads a JSON file.

    Raises:
        DataError: it is missing, unreadable, or not JSON (with line and column).
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; expected a JSON file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged: {error}; expected JSON") from error


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal; DataError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; expected a file") from error


def write_manifest(folder: Path, names: Iterable[str], extra: Mapping[str, Json]) -> None:
    """Writes `folder/manifest.json`: `extra`, and under "files" the sha256 of each named file."""
    files: dict[str, Json] = {name: sha256_of(folder / name) for name in names}
    write_json(folder / MANIFEST, {**extra, "files": files})


def check_manifest(folder: Path) -> dict[str, Json]:
    """Reads `folder/manifest.json` and holds every file that it names against its sha256.

    Raises:
        DataError: the manifest or a file is missing, or a file is not the one that was written.
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DataError(f"{folder / MANIFEST}: expected an object with 'files': {{name: sha256}}")
    for name, expected in manifest["files"].items():
        found = sha256_of(folder / name)
        if found != expected:
            raise DataError(f"{folder / name} is damaged: expected sha256 {expected}, got {found}")
    return manifest


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder that appears at `path` complete, or not at all.

    Yields a temporary folder beside `path` to write into. When the body ends, its files are
    flushed and it takes the place of `path`; when the body raises, it is removed and `path` stays
    as it was. An older folder at `path` is moved aside first: a crash between these two moves
    leaves none.

    Raises:
        MachineError: the place cannot be written.
    """
    temporary, retired = _temporary(path), _temporary(path)
    with disk_errors(path):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with disk_errors(path):
            for file in temporary.rglob("*"):
                _sync(file)
            _sync(temporary)
            if path.exists():
                os.replace(path, retired)
            os.replace(temporary, path)
            _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


@contextmanager
def cached_folder(path: Path) -> Iterator[Path | None]:
    """`new_folder` for what several processes may want at once: one makes it, the others wait.

    Yields None where the folder is there with its manifest, perhaps since the wait.

    Raises:
        MachineError: the place cannot be written, or another process is at it for hours.
    """
    with ExitStack() as held:
        if not (path / MANIFEST).exists():
            held.enter_context(lock(path.with_name(f".{path.name}.lock"), CACHE_PATIENCE_S))
        is_there = (path / MANIFEST).exists()
        yield None if is_there else held.enter_context(new_folder(path))


@contextmanager
def lock(path: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Holds an exclusive lock on the file `path` while the body runs.

    The kernel lets go of it when the process ends, however it ends; the file stays.

    Args:
        path: of the lock; the folder is made where it is missing.
        patience_s: how long to wait for another process.

    Raises:
        MachineError: another process holds it ("held by pid N on HOST"), or it cannot be made.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + patience_s
    try:
        while True:
            try:
                _acquire(descriptor, path)
                break
            except MachineError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        with disk_errors(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except MachineError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        raise MachineError(
            f"{path} is held by {holder or 'another process'}; "
            "expected nobody else at work in this folder: wait for it, or stop it"
        ) from None


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
