"""Measure stepwise against its rivals, in one process, in turn; see docs/results.md.

Writes <out>/benchmark.json: the figures, the timings behind them, the machine and the versions.
"""

import argparse
import importlib
import sys

from jobs import cli

NAMES = ("frechet", "latency", "racing", "roofline", "scale", "scoring", "search")


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


if __name__ == "__main__":
    sys.exit(cli.run("benchmark", main, __doc__, add_arguments))
