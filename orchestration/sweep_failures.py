"""Why some searches of a sweep are not done, while the others go on."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestration import fault_log
from orchestration.errors import DataError, MachineError, StepwiseError

log = logging.getLogger(__name__)


class Failures:
    """What went wrong, by the name of a search; the first reason counts.

    Args:
        folders: where each search leaves the traceback of a fault of our own.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.errors: dict[str, Exception] = {}

    def add(self, names: Sequence[str], error: Exception) -> None:
        """These searches have failed."""
        log.debug("%s failed", ", ".join(names), exc_info=error)
        error = getattr(error, "cause", None) or error  # of what a Ray task raised
        for name in names:
            self.errors.setdefault(name, error)
            if not isinstance(error, StepwiseError):
                fault_log.keep(error, self.folders[name])

    @contextmanager
    def of(self, names: Sequence[str]) -> Iterator[None]:
        """What the body raises is the failure of these searches, and of no others."""
        try:
            yield
        except Exception as error:
            self.add(names, error)

    def line(self, name: str) -> str | None:
        """The reason in one line; None where there is none."""
        error = self.errors.get(name)
        return None if error is None else line_of(error)

    def check(self, total: int) -> None:
        """Raises what the command ends with where searches are not done.

        Raises:
            MachineError: the surroundings failed one of them.
            DataError: data, artifacts or configurations of some cannot be used.
            RuntimeError: a fault of our own was among them.
        """
        if not self.errors:
            return
        kinds = {type(error) for error in self.errors.values()}
        text = (
            f"{len(self.errors)} of {total} searches not done, the reasons are in the summary;"
            " the same command does what is left"
        )
        if not all(issubclass(kind, StepwiseError) for kind in kinds):
            raise RuntimeError(text)
        raise (MachineError if MachineError in kinds else DataError)(text)


def line_of(error: Exception) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, StepwiseError):
        return text
    return f"internal error: {type(error).__name__}: {text}"
