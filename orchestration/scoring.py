"""Scoring one schedule, and the pool that all scoring of a command goes through."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models.frechet import noise_floor
from orchestration import data, setting
from orchestration.cluster import num_cpus
from orchestration.config import Config
from orchestration.dry_run import check_features
from orchestration.errors import ConfigError
from orchestration.extractor import ensure_extractor
from orchestration.files import Json
from orchestration.front import member
from orchestration.plan import read_ways, use_ways
from orchestration.pool import Pool, start_pool
from orchestration.results import quality_name
from orchestration.rundir import RunDirectory
from orchestration.search import Problem
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
) -> dict[str, Json]:
    """Quality and cost of one schedule and of the baseline on its chain, on the same noise.

    Args:
        config: of the run.
        schedule: to score.
        supernet: folder of the one to run it on.
        run: beside which prepared data and features lie.
        num_images: to score on.
        plan: says how subnets run, if it is there; else they run in the plainest way.

    Raises:
        ConfigError: the supernet lacks a width, or was trained on another chain.
        DataError: an artifact is missing or damaged.
    """
    setting.check_fits(supernet, schedule, (width for _, width in schedule.steps))
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
    images = data.prepare(config.data, run.cache)
    check_features(config, images.header)
    setting.check_shape(supernet, images.header.shape)
    extractor = ensure_extractor(config, images, run.cache)
    chosen = setting.network_setting(config, chain, supernet, extractor)
    problem = Problem(chain, setting.space(config), chosen.macs, config.search)
    steps = [schedule.steps, chain.steps]
    with scoring_pool(config, chosen) as pool:
        if plan.exists():
            use_ways(config, chosen, pool, read_ways(plan, chosen.macs))
        scores = pool.distances(steps, config.score.noise_seed, num_images)
    scored, baseline = (
        member(problem, s, d, scores[1]) for s, d in zip(steps, scores, strict=True)
    )
    return {
        **scored,
        "quality_name": quality_name(chosen.features, num_images),
        "num_images": num_images,
        "baseline_quality": baseline["quality"],
        "baseline_macs": baseline["macs"],
        "noise_floor": noise_floor(chosen.real, num_images, seed=0),
    }
