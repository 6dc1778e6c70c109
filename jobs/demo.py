"""The whole of stepwise on scikit-learn's digits, in minutes on two cores.

Trains a supernet, searches step schedules, scores the front again on fresh noise, and leaves it
in pictures and in MLflow. The same command with the same --out resumes.
"""

import sys

from jobs import cli
from jobs.search import search


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    search(invocation, "demo", supernet=None)


if __name__ == "__main__":
    sys.exit(cli.run("demo", main, __doc__, default=cli.CONFIGS / "demo.yaml"))
