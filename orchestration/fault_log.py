"""`error.log`: the traceback of a fault of our own, until a command with this --out ends well."""

import traceback
from pathlib import Path

from orchestration.files import disk_errors, write_bytes

NAME = "error.log"


def keep(error: BaseException, folder: Path) -> Path:
    """Writes the traceback of `error` into a run directory; returns where it is.

    Raises:
        MachineError: the disk is full or not writable.
    """
    path = folder / NAME
    text = "".join(traceback.format_exception(error))
    write_bytes(path, text.encode(errors="backslashreplace"))  # names of files may be no text
    return path


def forget(folder: Path) -> None:
    """Removes the traceback of an earlier attempt, if there is one.

    Raises:
        MachineError: the disk is not writable.
    """
    path = folder / NAME
    with disk_errors(path):
        path.unlink(missing_ok=True)
