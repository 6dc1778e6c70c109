"""A run directory: where each thing of a run lies, and who may write to it.

Only the process that holds its lock writes. The effective configuration is written first, and what
kind of run it is, and held against those of every later command, so that a directory never mixes
two runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestration.config import Config, changes, load, to_yaml
from orchestration.errors import ConfigError
from orchestration.files import lock, write_bytes

PICTURES = ("pareto.png", "pareto.html", "schedules.png", "samples.png")
"""What is drawn of a finished search."""

RUNS = {"search": "a training or a search", "mask": "a run of jobs.mask"}
Kind = Literal["search", "mask"]
"""Training and searching share a directory; a mask has its own, for its network and its schedules
would take the place of theirs."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run.

    Args:
        path: absolute.
        shared: where the things lie that runs share; None: beside the run directory.
    """

    path: Path
    shared: Path | None = None

    @property
    def config(self) -> Path:
        """The effective configuration."""
        return self.path / "config.yaml"

    @property
    def kind(self) -> Path:
        """Which kind of run it is."""
        return self.path / ".kind"

    @property
    def plan(self) -> Path:
        """How subnets run here, and how fast."""
        return self.path / "plan.json"

    @property
    def supernet(self) -> Path:
        """The trained supernet."""
        return self.path / "supernet"

    @property
    def supernet_samples(self) -> Path:
        """Samples of the supernet at each width."""
        return self.path / "supernet.png"

    @property
    def journal(self) -> Path:
        """Every scored candidate."""
        return self.path / "journal.jsonl"

    @property
    def candidates(self) -> Path:
        """The journal as a table."""
        return self.path / "candidates.parquet"

    @property
    def front(self) -> Path:
        """The front, scored again."""
        return self.path / "front.json"

    @property
    def latency(self) -> Path:
        """Measured latency and speed-up of each member."""
        return self.path / "latency.json"

    @property
    def schedules(self) -> Path:
        """One file for each member."""
        return self.path / "schedules"

    @property
    def cache(self) -> Path:
        """What runs side by side share: prepared data and trained feature extractors."""
        return (self.shared or self.path.parent) / "cache"


@contextmanager
def open_run(
    path: Path, config: Config, shared: Path | None = None, kind: Kind = "search"
) -> Iterator[RunDirectory]:
    """Locks a run directory, makes it where it is missing, and saves the configuration.

    `shared` is as of RunDirectory.

    Raises:
        MachineError: another process is at work in it, or it can't be written.
        ConfigError: it holds a run of another configuration or kind.
    """
    run = RunDirectory(path, shared)
    with lock(path / ".lock"):
        check_same(path, config, kind)
        write_bytes(run.kind, kind.encode())
        write_bytes(run.config, to_yaml(config).encode())
        yield run


def check_same(path: Path, config: Config, kind: Kind = "search") -> None:
    """Raises ConfigError where a run directory holds a run of another configuration or kind.

    Values that change no bit of it, such as where it happens, may differ.
    """
    run = RunDirectory(path)
    if not run.config.exists():
        return
    held = run.kind.read_text() if run.kind.exists() else kind  # of before kinds were noted
    if held != kind:
        raise ConfigError(f"{path} holds {RUNS[held]}: expected another --out for {RUNS[kind]}")
    different = changes(load(run.config), config)
    if different:
        raise ConfigError(
            f"{path} holds a run with other values of {', '.join(different)}:"
            " give the same ones to resume it, or another --out"
        )
