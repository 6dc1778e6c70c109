"""Measure stepwise against its rivals, in one process, in turn; see docs/results.md.

Writes <out>/benchmark.json: the figures, the timings behind them, the machine and the versions.

`training` compares ways to train a supernet instead, once each, on the data of the configuration
(by default `training-benchmark.yaml`); `mask` learns which steps of a trained --supernet to keep
(by default as `mask-benchmark.yaml` says), against evolution. Of both the same command resumes.
"""

import argparse
import importlib
import sys
from pathlib import Path

from jobs import cli
from orchestration.environment import begin_again_with_malloc
from orchestration.errors import ConfigError, DataError

NAMES = (
    "frechet", "latency", "mask", "racing", "roofline", "scale", "scoring", "search", "training",
    "warm_start",
)  # fmt: skip
OF_A_CONFIGURATION = {"training": "training-benchmark.yaml", "mask": "mask-benchmark.yaml"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    parser.add_argument("name", choices=NAMES, help="of the benchmark")
    parser.add_argument(
        "--repetitions", type=int, default=5, metavar="N",
        help="of each timing, or seeds (default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--supernet", type=Path, metavar="DIR", help="a trained supernet, for mask"
    )


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    name, repetitions = invocation.arguments.name, invocation.arguments.repetitions
    cli.check_within("--repetitions", repetitions, 1)
    if (name == "mask") != (invocation.arguments.supernet is not None):
        got = invocation.arguments.supernet or "none"
        expected = "a trained network's folder" if name == "mask" else f"none for {name}"
        raise ConfigError(f"--supernet: got {got}, expected {expected}")
    if name == "training":
        _compare_trainings(invocation)
        return
    if name == "mask":
        _compare_masks(invocation)
        return
    print(f"benchmark {name}, {repetitions} repetitions -> {invocation.out}")
    if invocation.dry_run:
        return
    from rich.console import Console

    from jobs.benchmarks.report import timings_table, write_report

    report = importlib.import_module(f"jobs.benchmarks.{name}").run(repetitions, print)
    path = write_report(report, invocation.out)
    Console().print(timings_table(report))
    for figure, value in report.figures.items():
        print(f"{figure:32s} {value:.4g}")
    print(f"written to {path}")


def _compare_trainings(invocation: cli.Invocation) -> None:
    """The one benchmark that is of the configuration."""
    from orchestration.dry_run import plan

    planned = plan(invocation.config, invocation.out, trains=True, searches=False)
    print(f"benchmark training, each variant in a directory of its own\n{planned}")
    if invocation.dry_run:
        return
    from rich.console import Console

    from jobs.benchmarks import training
    from jobs.benchmarks.report import write_report
    from jobs.benchmarks.training_table import training_table

    report = training.run(invocation.config, invocation.out, print)
    path = write_report(report, invocation.out)
    Console().print(training_table(report))
    print(f"written to {path}")


def _compare_masks(invocation: cli.Invocation) -> None:
    config, repetitions = invocation.config, invocation.arguments.repetitions
    supernet = invocation.arguments.supernet.expanduser().resolve()
    if not (supernet / "config.json").exists():
        raise DataError(f"no network in {supernet}: expected a folder with its config.json")
    steps = ", ".join(map(str, config.mask.steps))
    print(f"benchmark mask: {steps} steps, {repetitions} seeds, each against evolution")
    from jobs.benchmarks import mask  # heavy

    mask.check_pairs(config, supernet)
    if invocation.dry_run:
        return
    from rich.console import Console

    from jobs.benchmarks.report import write_report

    report = mask.run(config, supernet, invocation.out, repetitions, print)
    path = write_report(report, invocation.out)
    Console().print(mask.mask_table(report))
    print(f"written to {path}")


def _default(arguments: argparse.Namespace) -> Path:
    if arguments.name in OF_A_CONFIGURATION:
        return cli.CONFIGS / OF_A_CONFIGURATION[arguments.name]
    return cli.DEFAULT


if __name__ == "__main__":
    begin_again_with_malloc()
    sys.exit(cli.run("benchmark", main, __doc__, add_arguments, default=_default))
