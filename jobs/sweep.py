"""Search over data sets x optimizers x seeds, as one experiment; compare what they have found.

Supernets are trained first, each once. A data set that cannot be used fails alone. The same
command with the same --out resumes, and does only what is not done.
"""

import sys

from jobs import cli
from orchestration.errors import DataError
from orchestration.sweep_directory import SweepDirectory, open_sweep
from orchestration.sweep_dry_run import plan_sweep
from orchestration.sweep_plan import load_sweep, planned_searches
from orchestration.sweep_sections import SweepConfig


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    config = invocation.config
    assert isinstance(config, SweepConfig)
    planned, errors = plan_sweep(config, SweepDirectory(invocation.out))
    if invocation.dry_run:
        print(planned)
        if errors:
            raise DataError(f"{len(errors)} of the data sets cannot be used, as the plan says")
        return
    with open_sweep(invocation.out, config) as directory:
        print(planned)
        from rich.console import Console  # heavy, as the others: not before the run is ours

        from orchestration import telling
        from orchestration.costs import UNITS
        from orchestration.sweep import run_sweep
        from orchestration.sweep_report import write_sweep_report
        from orchestration.sweep_tables import failure_lines, sweep_tables

        searches = planned_searches(config)
        with telling.tracked(config, directory.run, "sweep") as track:
            fronts, failures = run_sweep(config, directory, track, print)
            summary = write_sweep_report(directory, searches, fronts, failures)
            track.write(directory.summary, directory.page, directory.picture)
            track.save_view(f"{track.name}: fronts", "relative_quality")
            look = telling.how_to_look(config, directory.run, track)
    for table in sweep_tables(summary, UNITS[config.search.cost]):
        print()
        Console().print(table)
    print()
    for line in failure_lines(summary["searches"]):
        print(line)
    print(f"Report:  {directory.page}")
    print(f"MLflow:  {look}")
    failures.check(len(searches))


if __name__ == "__main__":
    sys.exit(
        cli.run("sweep", main, __doc__, default=cli.CONFIGS / "sweep.yaml", load=load_sweep)
    )
