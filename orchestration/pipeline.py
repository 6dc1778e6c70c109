"""The stages of a run, each of which is passed over if it is done: the same command resumes.

data -> feature extractor -> supernet -> search -> front, scored again -> pictures, MLflow
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from models.frechet import noise_floor
from orchestration import data, setting, signals
from orchestration.cluster import num_cpus
from orchestration.config import Config, fingerprint, flatten
from orchestration.extractor import ensure_extractor
from orchestration.files import Json, read_json
from orchestration.front import member
from orchestration.journal import Journal
from orchestration.members import Front, Latency
from orchestration.plan import write_plan
from orchestration.pool import Pool, start_pool
from orchestration.progress import generation_line, training_line
from orchestration.report import PICTURES, write_pictures
from orchestration.results import (
    measure_latency,
    quality_name,
    score_front,
    write_candidates,
    write_front,
)
from orchestration.rundir import RunDirectory
from orchestration.search import Generation, Problem
from orchestration.setting import Setting
from orchestration.tracking import TrackedRun, Tracker
from orchestration.training import train
from orchestration.training_state import Row
from orchestration.trial import run_search
from search_spaces.schedule import StepSchedule

Say = Callable[[str], None]


@contextmanager
def tracked(config: Config, run: RunDirectory, command: str) -> Iterator[TrackedRun]:
    """The command's run in MLflow, found again by its run directory."""
    tracker = Tracker(
        tracking_uri(config, run), config.tracking.experiment, run.path.parent / "mlflow-artifacts"
    )
    identity = f"{command} {run.path} {fingerprint(config)}"
    with tracker.run(f"{command} {run.path.name}", identity, flatten(config)) as started:
        yield started


def tracking_uri(config: Config, run: RunDirectory) -> str:
    """Where MLflow keeps the runs."""
    return config.tracking.uri or f"sqlite:///{run.path.parent}/mlflow.db"


def ui_command(config: Config, run: RunDirectory) -> str:
    """The line that opens MLflow's UI on the runs, or where it is already."""
    uri = tracking_uri(config, run)
    if uri.startswith("http"):
        return uri
    return f"make ui RUNS={run.path.parent}, then http://127.0.0.1:5000"


def ensure_supernet(config: Config, run: RunDirectory, track: TrackedRun, say: Say) -> Path:
    """Trains the run's supernet unless it is there; returns its folder."""
    images = data.prepare(config.data, run.cache)

    def tell(row: Row) -> None:
        say(training_line(row))
        losses = {f"loss_{width:g}": loss for width, loss in row.losses.items()}
        track.log({**losses, "images_per_s": row.images_per_s}, row.iteration)

    train(config, images.folder, run.path, tell)
    signals.install()  # over the handler that Ray Train has put in place
    return run.supernet


def find_setting(
    config: Config, run: RunDirectory, supernet: Path | None, track: TrackedRun, say: Say
) -> Setting:
    """What scoring stands on, trained where it is missing.

    Args:
        config: of the run.
        run: where a trained supernet goes.
        supernet: one to take instead, or None.
        track: takes curves.
        say: takes lines of progress.
    """
    if config.score.scorer == "stub":
        return setting.stub_setting(config)
    chain = setting.baseline(config)
    if supernet is not None:
        setting.check_fits(supernet, chain, config.supernet.widths)
    images = data.prepare(config.data, run.cache)
    extractor = ensure_extractor(config, images, run.cache)
    folder = supernet or ensure_supernet(config, run, track, say)
    return setting.network_setting(config, chain, folder, extractor)


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


def search_front(
    config: Config, run: RunDirectory, chosen: Setting, track: TrackedRun, say: Say
) -> tuple[Front, dict[str, Latency]]:
    """Searches, scores the front again, and writes all that a run leaves behind.

    Returns:
        The front, and the measured latencies by key (empty for the stub).
    """
    problem = Problem(setting.baseline(config), setting.space(config), chosen.macs, config.search)
    journal = Journal(run.journal, search_fingerprint(config, chosen))
    with (
        scoring_pool(config, chosen) as pool,
        track.child("search", journal.fingerprint, track.params) as child,
    ):
        write_plan(config, run, chosen, pool)
        if journal.stopped is None:
            _search(problem, pool, journal, child, say)
        say(f"search  done: {journal.stopped}")
        write_candidates(run, journal.records)
        if run.front.exists():
            front = read_json(run.front)
        else:
            say(f"front   scored again on {config.score.num_images:,} fresh images a schedule ...")
            front = score_front(config, chosen, problem, pool, journal.records)
            write_front(run, front)
        latency: dict[str, Latency] = {}
        if chosen.image_shape is not None:
            say("front   timed and drawn ...")
            latency, samples = measure_latency(run, pool, front)
            write_pictures(run.path, front, samples)
            child.write(run.front, *(run.path / name for name in PICTURES))
        child.front(front, latency)
    return front, latency


def score_schedule(
    config: Config, schedule: StepSchedule, supernet: Path, run: RunDirectory, num_images: int
) -> dict[str, Json]:
    """Quality and cost of one schedule and of the baseline on its chain, on the same noise."""
    setting.check_fits(supernet, schedule, (width for _, width in schedule.steps))
    chain = replace(schedule, steps=setting.baseline(config).steps)
    images = data.prepare(config.data, run.cache)
    extractor = ensure_extractor(config, images, run.cache)
    chosen = setting.network_setting(config, chain, supernet, extractor)
    problem = Problem(chain, setting.space(config), chosen.macs, config.search)
    with scoring_pool(config, chosen) as pool:
        scores, base = pool.distances(
            [schedule.steps, chain.steps], config.score.noise_seed, num_images
        )
    scored, rival = (
        member(problem, s, d, base) for s, d in ((schedule.steps, scores), (chain.steps, base))
    )
    return {
        **scored,
        "quality_name": quality_name(chosen.features, num_images),
        "num_images": num_images,
        "baseline_quality": rival["quality"],
        "baseline_macs": rival["macs"],
        "noise_floor": noise_floor(chosen.real, num_images, seed=0),
    }


def search_fingerprint(config: Config, chosen: Setting) -> str:
    """Of all that a candidate's values and the order of candidates depend on."""
    sections = ("diffusion", "supernet", "sampler", "search", "score")
    return f"{fingerprint(config, *sections)}-{chosen.supernet[:12]}"


def _search(problem: Problem, pool: Pool, journal: Journal, child: TrackedRun, say: Say) -> None:
    start = time.monotonic()
    replayed = len(journal.records)

    def tell(generation: Generation) -> None:
        if generation.num_scored > replayed:
            say(generation_line(generation, problem.settings, time.monotonic() - start))
        child.log(
            {
                "hypervolume": generation.hypervolume,
                "best_savings": generation.best_savings,
                "calls": generation.calls,
            },
            generation.num_scored,
        )

    if replayed:
        say(f"search  goes on after {replayed} candidates")
    run_search(problem, pool, journal, tell)
