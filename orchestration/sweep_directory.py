"""Where the things of a sweep lie, and who may write to them.

A sweep may grow: `sweep.*` says which searches there are, and each search's own directory holds
what it was begun with. So another seed or data set can be added to a finished sweep, while a
change of the values that searches share is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.config import changes, load, to_yaml
from orchestration.errors import ConfigError
from orchestration.files import MANIFEST, disk_errors, lock, write_bytes
from orchestration.rundir import PICTURES, RunDirectory
from orchestration.sweep_plan import PlannedSearch
from orchestration.sweep_sections import SweepConfig


@dataclass(frozen=True)
class SweepDirectory:
    """Paths of one sweep.

    Args:
        path: absolute.
    """

    path: Path

    @property
    def run(self) -> RunDirectory:
        """The sweep as a run directory, beside which its searches' shared things lie."""
        return RunDirectory(self.path)

    @property
    def config(self) -> Path:
        """The effective configuration."""
        return self.run.config

    @property
    def summary(self) -> Path:
        """What the searches have come to."""
        return self.path / "summary.json"

    @property
    def table(self) -> Path:
        """The same, a row a search."""
        return self.path / "summary.parquet"

    @property
    def page(self) -> Path:
        """All fronts in one figure, with the table."""
        return self.path / "sweep.html"

    @property
    def picture(self) -> Path:
        """All fronts in one figure."""
        return self.path / "sweep.png"

    def search(self, planned: PlannedSearch) -> RunDirectory:
        """Of one search."""
        return RunDirectory(self.path / "searches" / planned.name, self.path.parent)

    def supernet(self, name: str) -> RunDirectory:
        """Of one supernet's training, by its fingerprint."""
        return RunDirectory(self.path / "supernets" / name, self.path.parent)

    def is_trained(self, name: str) -> bool:
        """Whether a supernet is there."""
        return (self.supernet(name).supernet / MANIFEST).exists()

    def is_done(self, planned: PlannedSearch) -> bool:
        """Whether a search has left all that it leaves."""
        run = self.search(planned)
        left = [run.front, run.candidates]
        if planned.supernet is not None:
            left += [run.latency, *(run.path / name for name in PICTURES)]
        return all(path.exists() for path in left)

    def link_supernet(self, planned: PlannedSearch) -> None:
        """Has the search's directory show the supernet that it runs on."""
        run = self.search(planned)
        target = Path("..", "..", "supernets", planned.supernet, "supernet")
        if not run.supernet.is_symlink():
            with disk_errors(run.supernet):
                run.supernet.symlink_to(target, target_is_directory=True)


@contextmanager
def open_sweep(path: Path, config: SweepConfig) -> Iterator[SweepDirectory]:
    """Locks a sweep's directory, makes it where it is missing, and saves the configuration.

    Raises:
        MachineError: another process is at work in it, or it can't be written.
        ConfigError: it holds something else, or a sweep with other common values.
    """
    directory = SweepDirectory(path)
    with lock(path / ".lock"):
        check_same(directory, config)
        write_bytes(directory.config, to_yaml(config).encode())
        yield directory


def check_same(directory: SweepDirectory, config: SweepConfig) -> None:
    """Raises ConfigError where the directory was begun with other common values."""
    if not directory.config.exists():
        return
    before = load(directory.config, kind=SweepConfig)
    different = [key for key in changes(before, config) if not key.startswith("sweep.")]
    if not (directory.path / "searches").exists() and (directory.path / "front.json").exists():
        raise ConfigError(f"{directory.path} holds a single search: give another --out")
    if different:
        raise ConfigError(
            f"{directory.path} holds a sweep with other values of {', '.join(different)}:"
            " give the same ones to resume it, or another --out"
        )
