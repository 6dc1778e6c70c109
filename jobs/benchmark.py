"""Measure stepwise against its rivals, in one process, in turn; see docs/results.md.

Writes <out>/benchmark.json: the figures, the timings behind them, the machine and the versions.

`training` compares ways to train a supernet instead, once each, on the data of the configuration
(by default `training-benchmark.yaml`); the same command resumes.
"""

import argparse
import importlib
import sys
from pathlib import Path

from jobs import cli

NAMES = ("frechet", "latency", "racing", "roofline", "scale", "scoring", "search", "training")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    parser.add_argument("name", choices=NAMES, help="of the benchmark")
    parser.add_argument(
        "--repetitions", type=int, default=5, metavar="N", help="of each timing (default: 5)"
    )


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    name, repetitions = invocation.arguments.name, invocation.arguments.repetitions
    cli.check_within("--repetitions", repetitions, 1)
    if name == "training":
        _compare_trainings(invocation)
        return
    print(f"benchmark {name}, {repetitions} repetitions -> {invocation.out}")
    if invocation.dry_run:
        return
    from rich.console import Console

    from jobs.benchmarks.report import timings_table, write_report

    report = importlib.import_module(f"jobs.benchmarks.{name}").run(repetitions)
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


def _default(arguments: argparse.Namespace) -> Path:
    return cli.CONFIGS / "training-benchmark.yaml" if arguments.name == "training" else cli.DEFAULT


if __name__ == "__main__":
    sys.exit(cli.run("benchmark", main, __doc__, add_arguments, default=_default))
