"""Scoring one schedule, and the pool that all scoring of a command goes through."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestration import chains, compatibility, data
from orchestration.actors import await_actors
from orchestration.config import Config
from orchestration.dry_run import check_features, check_number
from orchestration.errors import ConfigError, DataError
from orchestration.files import Json
from orchestration.judge import ensure_judge, judged_setting
from orchestration.latency import time_schedules
from orchestration.members import Member
from orchestration.placement import observe, place
from orchestration.plan import use_plan
from orchestration.plan_file import other_device, read_latency
from orchestration.pool import Pool, start_pool
from orchestration.results import score_again
from orchestration.rundir import RunDirectory
from orchestration.search import Problem, Step
from orchestration.search_sections import Search
from orchestration.setting import Setting
from search_spaces.schedule import StepSchedule, even_grid

log = logging.getLogger(__name__)


@contextmanager
def scoring_pool(
    config: Config, chosen: Setting, say: Callable[[str], None] = log.info
) -> Iterator[Pool]:
    """Scoring actors, on the cluster's GPUs or CPUs as `placement.place` decides, ready to work.

    Raises:
        MachineError: the cluster has no such GPUs, or no room for them in good time.
    """
    placement = place(config, observe())
    pool = start_pool(chosen.make_scorer, chosen.args, placement, config.score.batch_size)
    try:
        await_actors(pool.actors, placement, say, config.ray.patience_s)
        yield pool
    finally:
        pool.close()


def score_schedule(
    config: Config,
    schedule: StepSchedule,
    supernet: Path,
    run: RunDirectory,
    num_images: int,
    plan: Path,
    say: Callable[[str], None],
    timed: bool = False,
) -> dict[str, Json]:
    """Quality and cost of one schedule and of the baseline on its chain, on the same noise.

    Args:
        config: of the run.
        schedule: to score.
        supernet: folder of the one to run it on.
        run: beside which prepared data and features lie.
        num_images: to score on.
        plan: says how subnets run, if it is there; else they run in the plainest way.
            Latency is predicted by it.
        say: takes lines of progress.
        timed: whether to measure latency, end to end.

    Raises:
        ConfigError: the supernet lacks a width or was trained on another chain, or the baseline
            of so many steps can't run on the schedule's.
        DataError: an artifact is missing or damaged, or `search.cost` is latency and there is no
            plan to predict it by.
    """
    chain = _baseline_of(schedule, config.search)
    diffusion = config.diffusion.model_copy(
        update={"num_train_timesteps": schedule.num_train_timesteps}
    )
    config = config.model_copy(update={"diffusion": diffusion})
    steps = [chain.steps, schedule.steps]
    (baseline, scored), facts = score_schedules(
        config, chain, steps, supernet, run, num_images, plan, say, timed
    )
    result = {
        **facts,
        "quality_name": facts["quality"],
        **scored,
        "baseline_quality": baseline["quality"],
        "baseline_macs": baseline["macs"],
    }
    if "cost" in facts:
        result["baseline_latency_predicted_ms"] = baseline["latency_predicted_ms"]
    return result


def _baseline_of(schedule: StepSchedule, search: Search) -> StepSchedule:
    """The baseline on a schedule's chain; ConfigError where that can't have one."""
    last = schedule.num_train_timesteps - 1
    if search.steps > last + 1:
        raise ConfigError(
            f"search.steps: got {search.steps}, expected at most the schedule's"
            f" num_train_timesteps ({last + 1}), to give it a baseline"
        )
    grid = even_grid(last + 1, search.steps, search.spacing)
    if schedule.rescale_zero_terminal_snr and schedule.prediction == "epsilon" and grid[0] == last:
        key, value, expected = "steps", search.steps, f"at most {last}"
        if search.spacing == "trailing":
            key, value, expected = "spacing", search.spacing, "leading"
        raise ConfigError(
            f"search.{key}: got {value}, expected {expected}: the baseline would start at {last},"
            " where nothing of the image is left on the schedule's chain"
            " (rescale_zero_terminal_snr), and epsilon can't tell it"
        )
    return replace(schedule, steps=tuple((t, 1.0) for t in grid))


def score_schedules(
    config: Config,
    chain: StepSchedule,
    schedules: Sequence[Sequence[Step]],
    supernet: Path,
    run: RunDirectory,
    num_images: int,
    plan: Path,
    say: Callable[[str], None],
    timed: bool = False,
) -> tuple[list[Member], dict[str, Json]]:
    """Scores schedules of a chain on the configured features, without a search.

    Args:
        config: of the run.
        chain: of all the schedules; its steps are the baseline's.
        schedules: steps of each, the baseline's first.
        supernet: see `score_schedule`, as for the rest.
        run: ...
        num_images: ...
        plan: ...
        say: ...
        timed: ...

    Returns:
        A MEMBER for each schedule, with what `latency.json` has of it if timed, and what a front
        says of its numbers.
    """
    widths = {width for steps in schedules for _, width, *_ in steps}
    compatibility.check_fits(supernet, chain, widths)
    images = data.prepare(config.data, run.cache)
    check_features(config, images.header, searches=False)
    check_number(num_images, images.header)
    compatibility.check_imputes(supernet, config.data.is_windows)
    compatibility.check_data(supernet, images.header)
    judge = ensure_judge(config, images, run.cache, say)
    chosen = judged_setting(config, chain, supernet, judge)
    latency = read_latency(plan, chosen.macs) if plan.exists() else None
    if config.search.cost == "latency" and latency is None:
        raise DataError(f"{plan}: expected a plan with latencies, by which savings are predicted")
    problem = Problem(chain, chains.space(config), chosen.macs, config.search, latency)
    with scoring_pool(config, chosen, say) as pool:
        if plan.exists():
            different = other_device(plan, pool.one("hardware"))
            if different is None or config.search.cost == "latency":
                use_plan(config, chosen, pool, plan)
            else:
                say(f"score   {different}: each width runs in the plainest way")
                latency = None
        members, facts = score_again(config, chosen, problem, pool, schedules, num_images, say)
        if timed:
            of_key = {m["key"]: s for m, s in zip(members, schedules, strict=True)}
            times, _ = time_schedules(pool, of_key, latency)
            members = [{**m, **times[m["key"]]} for m in members]
    return members, facts
