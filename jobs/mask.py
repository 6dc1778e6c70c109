"""Learn which steps to keep: a schedule for each of mask.steps, from a trained network or with it.

Begins with --supernet, a trained supernet or any folder of diffusers' UNet2DModel, whose weights
stay as they are (mask.weights=frozen) or learn on (tuned); or with neither (scratch). Writes
schedules/<steps>.json, the best mask that was met, the likeliest steps of s among those compared;
mask.json with their quality on fresh noise beside evenly spaced ones, s.parquet and s.png with
what was learned, kept.png. The same command with the same --out resumes.
"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from jobs import cli
from orchestration.dry_run import plan
from orchestration.errors import ConfigError, DataError
from orchestration.rundir import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    parser.add_argument(
        "--supernet",
        type=Path,
        metavar="DIR",
        help="a trained supernet, or a folder that diffusers' UNet2DModel was saved to",
    )


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    config, supernet = invocation.config, invocation.arguments.supernet
    if (supernet is None) != (config.mask.weights == "scratch"):
        given = "none" if supernet is None else supernet
        expected = "none" if config.mask.weights == "scratch" else "a trained network's folder"
        raise ConfigError(
            f"--supernet: got {given}, expected {expected} where mask.weights is"
            f" {config.mask.weights}"
        )
    if supernet is not None:
        supernet = supernet.expanduser().resolve()
        if not (supernet / "config.json").exists():
            raise DataError(f"no network in {supernet}: expected a folder with its config.json")
    planned = plan(config, invocation.out, trains=False, searches=False, kind="mask")
    from orchestration.mask_run import check  # heavy, as the others

    planned = "\n".join([planned, *check(config, supernet)])
    if invocation.dry_run:
        print(planned)
        return
    with open_run(invocation.out, config, kind="mask") as run:
        print(planned)
        from orchestration import telling  # heavy: not before the run is ours
        from orchestration.cluster import cluster
        from orchestration.mask_records import lines
        from orchestration.mask_run import is_done, learn_masks, network_of

        ray = nullcontext() if is_done(run) else cluster(config)
        with telling.tracked(config, run, "mask") as track, ray:
            result = learn_masks(config, run, supernet, track, print)
    print("\n".join(["", *lines(result), "", f"Schedules and pictures:  {invocation.out}"]))
    schedule = run.schedules / f"{config.mask.steps[0]}.json"
    given = f"--schedule {schedule} --supernet {network_of(run, supernet)}"
    if config.data.is_windows:
        print(f"Impute:   python -m jobs.impute --table FILE {given}")
    else:
        print(f"Samples:  python -m jobs.sample {given}")


if __name__ == "__main__":
    sys.exit(cli.run("mask", main, __doc__, add_arguments))
