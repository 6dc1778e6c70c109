"""Arguments of the commands that take a schedule: which, and where its supernet is."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jobs import cli
from orchestration.compatibility import check_fits
from orchestration.errors import DataError
from orchestration.files import MANIFEST, read_json
from orchestration.rundir import RunDirectory
from search_spaces.schedule import StepSchedule


def add_arguments(parser: argparse.ArgumentParser, *, or_front: bool = False) -> None:
    """Adds --schedule and --supernet, and --front as another choice than the schedule."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--schedule", type=Path, metavar="FILE", help="a schedule's JSON")
    if or_front:
        which.add_argument(
            "--front", type=Path, metavar="RUN", help="a run: all schedules of its front"
        )
    parser.add_argument(
        "--supernet",
        type=Path,
        metavar="DIR",
        help="a trained supernet (default: that of the schedule's or the front's run)",
    )


def run_of(arguments: argparse.Namespace) -> RunDirectory:
    """The run directory of the front, or the one whose `schedules/` the schedule lies in."""
    if getattr(arguments, "front", None) is not None:
        return RunDirectory(arguments.front.expanduser().resolve())
    return RunDirectory(_folder(arguments).parent)


def _folder(arguments: argparse.Namespace) -> Path:
    """That the schedule lies in."""
    return arguments.schedule.expanduser().resolve().parent


def default_config(arguments: argparse.Namespace) -> Path:
    """The configuration of the schedule's run, else the general one."""
    config = run_of(arguments).config
    # A configuration that happens to lie two folders above a schedule is none of a run
    alone = arguments.schedule is not None and _folder(arguments).name != "schedules"
    return config if config.exists() and not alone else cli.DEFAULT


def supernet_of(arguments: argparse.Namespace) -> Path:
    """Folder of the supernet to run; DataError where there is none."""
    folder = (arguments.supernet or run_of(arguments).supernet).expanduser().resolve()
    check_supernet(folder)
    return folder


def check_supernet(folder: Path) -> None:
    """Raises DataError where there is no supernet."""
    if not (folder / MANIFEST).exists():
        raise DataError(
            f"no supernet in {folder}: expected a folder that a training wrote; --supernet names"
            " another"
        )


def check_runs(schedules: Sequence[StepSchedule], supernet: Path) -> None:
    """Holds a supernet against schedules of one chain, by what its folder says.

    Raises:
        ConfigError: it lacks a width, or was trained on another chain.
        DataError: it is damaged.
    """
    widths = {width for schedule in schedules for _, width, *_ in schedule.steps}
    check_fits(supernet, schedules[0], widths)


def read_schedule(path: Path) -> StepSchedule:
    """The schedule in a file; DataError where it is none."""
    content = read_json(path.expanduser())
    try:
        return StepSchedule.from_json(content)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
