"""Train a supernet: one set of weights that holds a network of each width.

The same command with the same --out resumes.
"""

import sys

from jobs import cli
from orchestration.dry_run import plan
from orchestration.rundir import open_run


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    config = invocation.config
    planned = plan(config, invocation.out, trains=True, searches=False)
    if invocation.dry_run:
        print(planned)
        return
    with open_run(invocation.out, config) as run:
        print(planned)
        from orchestration import pipeline, telling  # heavy: not before the run is ours
        from orchestration.cluster import cluster

        with telling.tracked(config, run, "train") as track, cluster(config):
            supernet = pipeline.ensure_supernet(config, run, track, print)
    print(f"supernet in {supernet}")


if __name__ == "__main__":
    sys.exit(cli.run("train", main, __doc__))
