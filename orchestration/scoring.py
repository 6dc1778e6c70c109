"""Scoring one schedule, and the pool that all scoring of a command goes through."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestration import data, setting
from orchestration.cluster import num_cpus
from orchestration.config import Config
from orchestration.dry_run import check_features
from orchestration.errors import ConfigError
from orchestration.extractor import ensure_extractor
from orchestration.files import Json
from orchestration.members import Member
from orchestration.plan import read_ways, use_ways
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
) -> dict[str, Json]:
    """Quality and cost of one schedule and of the baseline on its chain, on the same noise.

    Args:
        config: of the run.
        schedule: to score.
        supernet: folder of the one to run it on.
        run: beside which prepared data and features lie.
        num_images: to score on.
        plan: says how subnets run, if it is there; else they run in the plainest way.
        say: takes lines of progress.

    Raises:
        ConfigError: the supernet lacks a width, or was trained on another chain.
        DataError: an artifact is missing or damaged.
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
        config, chain, steps, supernet, run, num_images, plan, say
    )
    return {
        **facts,
        "quality_name": facts["quality"],
        **scored,
        "baseline_quality": baseline["quality"],
        "baseline_macs": baseline["macs"],
    }


def score_schedules(
    config: Config,
    chain: StepSchedule,
    schedules: Sequence[Sequence[Step]],
    supernet: Path,
    run: RunDirectory,
    num_images: int,
    plan: Path,
    say: Callable[[str], None],
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

    Returns:
        A MEMBER for each schedule, and what a front says of its numbers.
    """
    setting.check_fits(supernet, chain, {width for steps in schedules for _, width in steps})
    images = data.prepare(config.data, run.cache)
    check_features(config, images.header)
    setting.check_shape(supernet, images.header.shape)
    extractor = ensure_extractor(config, images, run.cache, say)
    chosen = setting.network_setting(config, chain, supernet, extractor)
    problem = Problem(chain, setting.space(config), chosen.macs, config.search)
    with scoring_pool(config, chosen) as pool:
        if plan.exists():
            use_ways(config, chosen, pool, read_ways(plan, chosen.macs))
        return score_again(config, chosen, problem, pool, schedules, num_images, say)
