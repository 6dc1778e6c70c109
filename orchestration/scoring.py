"""Scoring one schedule, and the pool that all scoring of a command goes through."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestration import data, setting
from orchestration.cluster import num_cpus
from orchestration.config import Config
from orchestration.dry_run import check_features
from orchestration.errors import ConfigError, DataError
from orchestration.extractor import ensure_extractor
from orchestration.files import Json
from orchestration.latency import time_schedules
from orchestration.members import Member
from orchestration.plan import read_latency, read_ways, use_ways
from orchestration.pool import Pool, start_pool
from orchestration.results import score_again
from orchestration.rundir import RunDirectory
from orchestration.search import Problem, Step
from orchestration.setting import Setting
from search_spaces.schedule import StepSchedule


@contextmanager
def scoring_pool(config: Config, chosen: Setting) -> Iterator[Pool]:
    """Scoring actors, as many as the configuration or the cluster has CPUs."""
    pool = start_pool(
        chosen.make_scorer,
        chosen.args,
        config.score.actors or num_cpus(),
        config.score.batch_size,
    )
    try:
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
        ConfigError: the supernet lacks a width, or was trained on another chain.
        DataError: an artifact is missing or damaged, or `search.cost` is latency and there is no
            plan to predict it by.
    """
    if config.search.steps > schedule.num_train_timesteps:
        raise ConfigError(
            f"search.steps: got {config.search.steps}, expected at most the schedule's"
            f" num_train_timesteps ({schedule.num_train_timesteps}), to give it a baseline"
        )
    diffusion = config.diffusion.model_copy(
        update={"num_train_timesteps": schedule.num_train_timesteps}
    )
    config = config.model_copy(update={"diffusion": diffusion})
    chain = replace(schedule, steps=setting.baseline(config).steps)
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
    setting.check_fits(supernet, chain, {width for steps in schedules for _, width, *_ in steps})
    images = data.prepare(config.data, run.cache)
    check_features(config, images.header)
    setting.check_shape(supernet, images.header.shape)
    extractor = ensure_extractor(config, images, run.cache, say)
    chosen = setting.network_setting(config, chain, supernet, extractor)
    latency = read_latency(plan, chosen.macs) if plan.exists() else None
    if config.search.cost == "latency" and latency is None:
        raise DataError(f"{plan}: expected a plan with latencies, by which savings are predicted")
    problem = Problem(chain, setting.space(config), chosen.macs, config.search, latency)
    with scoring_pool(config, chosen) as pool:
        if plan.exists():
            use_ways(config, chosen, pool, read_ways(plan, chosen.macs))
        members, facts = score_again(config, chosen, problem, pool, schedules, num_images, say)
        if timed:
            of_key = {m["key"]: s for m, s in zip(members, schedules, strict=True)}
            times, _ = time_schedules(pool, of_key, latency)
            members = [{**m, **times[m["key"]]} for m in members]
    return members, facts
