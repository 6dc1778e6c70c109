"""Score one schedule on any number of images, against the baseline on the same noise.

Writes <out>/<key>.json: quality with its 95 % interval, the paired difference from the baseline,
KID, precision, recall, MACs and savings; with --latency, how long an image takes and how well
that was predicted.

With --front, judges every schedule of a run's front again, on other features by
`--set features.name=...`, and tells whether it keeps its order: <out>/<quality's name>.json.
"""

import argparse
import sys

from jobs import cli, schedule_arguments
from orchestration.files import Json
from orchestration.members import all_schedules, landmark, read_front
from orchestration.weights import check_files
from search_spaces.schedule import StepSchedule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    schedule_arguments.add_arguments(parser, or_front=True)
    parser.add_argument(
        "--num-images", type=int, metavar="N", help="default: score.num_images of the run"
    )
    parser.add_argument("--latency", action="store_true", help="measure it too, end to end")


def main(invocation: cli.Invocation) -> None:
    """Runs the command."""
    arguments, config = invocation.arguments, invocation.config
    num_images = config.score.num_images
    if arguments.num_images is not None:
        num_images = arguments.num_images
    cli.check_within("--num-images", num_images, 2 * config.score.block_size)
    check_files(config.features)
    run = _score_one if arguments.front is None else _judge_front
    run(invocation, num_images)


def _score_one(invocation: cli.Invocation, num_images: int) -> None:
    arguments, config = invocation.arguments, invocation.config
    schedule = schedule_arguments.read_schedule(arguments.schedule)
    supernet = schedule_arguments.supernet_of(arguments)
    schedule_arguments.check_runs([schedule], supernet)
    path = invocation.out / f"{schedule.key}.json"
    what = "windows" if config.data.is_windows else "images"
    print(f"{num_images:,} {what} in {len(schedule.steps)} steps of {supernet} -> {path}")
    if invocation.dry_run:
        return
    from orchestration.cluster import cluster
    from orchestration.files import write_json
    from orchestration.rundir import RunDirectory
    from orchestration.scoring import score_schedule

    plan = schedule_arguments.run_of(arguments).plan
    with cluster(config):
        run = RunDirectory(invocation.out)
        result = score_schedule(
            config, schedule, supernet, run, num_images, plan, print, arguments.latency
        )
    write_json(path, result)
    low, high = result["quality_ci"]
    print(
        f"{result['quality_name']} {result['quality']:.3f} [{low:.3f}, {high:.3f}],"
        f" baseline {result['baseline_quality']:.3f}, {landmark(result).name},"
        f" saves {result['savings']:.1%} of {_of_what(result)}"
    )
    if arguments.latency:
        print(_latency_line(result))


def _of_what(result: dict[str, Json]) -> str:
    """What the savings are a share of."""
    if "baseline_latency_predicted_ms" in result:
        return f"{result['baseline_latency_predicted_ms']:.3g} ms, as predicted"
    return f"{result['baseline_macs']:,} MACs"


def _latency_line(result: dict[str, Json]) -> str:
    times = f"{result['speedup']:.2f} times as fast as the baseline"
    line = f"{result['latency_ms']:.3g} ms an image, {times}"
    if "latency_error" not in result:
        return f"{line}; not predicted, for there is no plan with latencies"
    predicted, error = result["latency_predicted_ms"], result["latency_error"]
    return f"{line}; {predicted:.3g} ms were predicted ({error:+.1%})"


def _judge_front(invocation: cli.Invocation, num_images: int) -> None:
    arguments, config = invocation.arguments, invocation.config
    judged = schedule_arguments.run_of(arguments)
    supernet = schedule_arguments.supernet_of(arguments)
    front = read_front(judged.front)
    found = [StepSchedule.from_json(e.member["schedule"]) for e in all_schedules(front)]
    schedule_arguments.check_runs(found, supernet)
    print(f"{judged.front}: judged again on {num_images:,} images of {supernet}")
    if invocation.dry_run:
        return
    from orchestration.cluster import cluster
    from orchestration.files import write_json
    from orchestration.rundir import RunDirectory
    from orchestration.second_judge import judge_again, lines

    with cluster(config):
        run = RunDirectory(invocation.out)
        result = judge_again(config, front, supernet, run, num_images, judged.plan, print)
    path = invocation.out / f"{result['quality']}.json"
    write_json(path, result)
    print("\n".join([*lines(result), f"-> {path}"]))


if __name__ == "__main__":
    sys.exit(
        cli.run("score", main, __doc__, add_arguments, default=schedule_arguments.default_config)
    )
