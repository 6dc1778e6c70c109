"""Sample images with a schedule, and write them as a PNG grid.

On a GPU if this machine has one, unless score.device says otherwise.
"""

import argparse
import sys

from jobs import cli, schedule_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    schedule_arguments.add_arguments(parser)
    parser.add_argument("--num-images", type=int, default=64, metavar="N", help="default: 64")
    parser.add_argument(
        "--label",
        type=int,
        metavar="N",
        help="class of all images, from 0 (default: classes as in the data, if there are any)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    arguments = invocation.arguments
    cli.check_within("--num-images", arguments.num_images, 1)
    cli.check_within("--seed", arguments.seed, 0, 2**32 - 1)
    schedule = schedule_arguments.read_schedule(arguments.schedule)
    supernet = schedule_arguments.supernet_of(arguments)
    schedule_arguments.check_runs([schedule], supernet)
    path = invocation.out / f"{schedule.key}.png"
    if arguments.label is not None:
        from orchestration.setting import conditioning  # heavy: only where it is asked for

        conditioning(schedule, supernet, arguments.label)  # so that a wrong one is told at once
    print(f"{arguments.num_images} images in {len(schedule.steps)} steps of {supernet} -> {path}")
    if invocation.dry_run:
        return
    from orchestration.files import write_bytes
    from orchestration.image_grids import sample_grid
    from orchestration.machine import local_device
    from orchestration.sampling import sample_images

    device = local_device(invocation.config.score.device)
    images = sample_images(
        schedule, supernet, arguments.seed, arguments.num_images, arguments.label, device
    )
    write_bytes(path, sample_grid(images))


if __name__ == "__main__":
    sys.exit(
        cli.run("sample", main, __doc__, add_arguments, default=schedule_arguments.default_config)
    )
