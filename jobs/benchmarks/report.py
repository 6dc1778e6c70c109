"""What a benchmark leaves: `benchmark.json` and a table."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from jobs.benchmarks.side_by_side import Timing
from orchestration.files import Json, write_json
from orchestration.machine import processor

LIBRARIES = (
    "torch",
    "ray",
    "diffusers",
    "nevergrad",
    "numpy",
    "scipy",
    "pytorch-fid",
    "pymoo",
    "optuna",
)

Say = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True)
class Row:
    """One timing: of `rival` in `case`."""

    case: str
    rival: str
    timing: Timing


@dataclass(frozen=True)
class Report:
    """What a benchmark found.

    Args:
        name: of the benchmark.
        figures: its results, ratios for the most part.
        rows: the timings behind them.
        notes: what else is to be known, by key.
    """

    name: str
    figures: Mapping[str, float]
    rows: Sequence[Row]
    notes: Mapping[str, Json] | None = None


def write_report(report: Report, folder: Path) -> Path:
    """Writes `folder/benchmark.json`; returns its path."""
    path = folder / "benchmark.json"
    write_json(
        path,
        {
            "name": report.name,
            "figures": dict(report.figures),
            "timings": [
                {"case": row.case, "rival": row.rival, **row.timing.to_json()}
                for row in report.rows
            ],
            "notes": dict(report.notes or {}),
            "machine": {
                "processor": processor(),
                "cpus": len(os.sched_getaffinity(0)),
                "system": platform.platform(),
            },
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in LIBRARIES},
        },
    )
    return path


def timings_table(report: Report) -> Table:
    """The timings as a table."""
    table = Table(title=report.name)
    for column in ("case", "rival", "median", "range"):
        table.add_column(column, justify="left" if column in ("case", "rival") else "right")
    for row in report.rows:
        seconds = row.timing.seconds
        table.add_row(
            row.case,
            row.rival,
            f"{row.timing.median:.4g} s",
            f"{min(seconds):.4g} to {max(seconds):.4g} s",
        )
    return table
