"""Search step schedules for a supernet; report the front, scored again on fresh noise.

Trains the supernet first where there is none. The same command with the same --out resumes.
"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from jobs import cli
from jobs.schedule_arguments import check_supernet
from orchestration.dry_run import plan
from orchestration.rundir import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    parser.add_argument(
        "--supernet", type=Path, metavar="DIR", help="a trained supernet (default: that of --out)"
    )


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    supernet = invocation.arguments.supernet
    if supernet is not None:
        supernet = supernet.expanduser().resolve()
        check_supernet(supernet)
    search(invocation, "search", supernet)


def search(invocation: cli.Invocation, command: str, supernet: Path | None) -> None:
    """Trains if need be, searches, reports; or only tells the plan."""
    config = invocation.config
    if supernet is not None and config.score.scorer != "stub":
        from orchestration import chains  # heavy: not where there is nothing to hold against
        from orchestration.compatibility import check_fits

        check_fits(supernet, chains.baseline(config), config.supernet.widths)
    planned = plan(config, invocation.out, trains=supernet is None, searches=True)
    if invocation.dry_run:
        print(planned)
        return
    with open_run(invocation.out, config) as run:
        print(planned)
        from rich.console import Console  # heavy, as the others: not before the run is ours

        from orchestration import pipeline, telling
        from orchestration.cluster import cluster
        from orchestration.tables import front_table

        ray = nullcontext() if pipeline.is_done(config, run) else cluster(config)
        with telling.tracked(config, run, command) as track, ray:
            chosen = pipeline.find_setting(config, run, supernet, track, print)
            outcome = pipeline.search_front(config, run, chosen, track, print)
    recommended = run.schedules / f"{outcome.front['recommended']}.json"
    print()
    Console().print(front_table(outcome.front, outcome.latency))
    print(f"\nPictures and schedules:  {invocation.out}")
    given = "" if supernet is None else f" --supernet {supernet}"
    if config.data.is_windows:
        print(f"Impute:   python -m jobs.impute --table FILE --schedule {recommended}{given}")
    else:
        print(f"Samples:  python -m jobs.sample --schedule {recommended}{given}")
    print(f"MLflow:   {outcome.look}")


if __name__ == "__main__":
    sys.exit(cli.run("search", main, __doc__, add_arguments))
