"""The stages of a run, each of which is passed over if it is done: the same command resumes.

data -> what judges quality -> supernet -> search -> front, scored again -> pictures, MLflow
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from orchestration import chains, compatibility, data, precision, setting, signals, telling
from orchestration.config import Config, fingerprint
from orchestration.costs import Cost
from orchestration.deferred import deferred
from orchestration.dry_run import check_features, check_network
from orchestration.errors import DataError
from orchestration.files import canonical_json, read_json, write_bytes
from orchestration.journal import Journal, has_candidates
from orchestration.judge import ensure_judge, judged_setting
from orchestration.members import Front, Latency
from orchestration.plan import follow_plan, use_ways
from orchestration.plan_file import read_latency, read_ways
from orchestration.pool import Pool
from orchestration.progress import generation_line, training_line
from orchestration.report import write_pictures
from orchestration.results import (
    measure_latency,
    score_front,
    write_candidates,
    write_front,
)
from orchestration.rundir import PICTURES, RunDirectory
from orchestration.sampling import widths_png
from orchestration.scoring import scoring_pool
from orchestration.search import Generation, Problem
from orchestration.setting import Setting
from orchestration.tracking import TrackedRun
from orchestration.tracking_store import identity_of
from orchestration.training import train
from orchestration.training_state import Row
from orchestration.trial import run_search
from orchestration.warm_start import read_warm_start, warm_start_sha
from search_spaces.guided import ORDER
from search_spaces.schedule import StepSchedule

Say = Callable[[str], None]

@dataclass(frozen=True)
class Outcome:
    """What a search command ends with.

    Args:
        front: content of `front.json`.
        latency: measured, by key; empty for the stub.
        look: how to open MLflow's UI on the front.
    """

    front: Front
    latency: dict[str, Latency]
    look: str


def ensure_supernet(config: Config, run: RunDirectory, track: TrackedRun, say: Say) -> Path:
    """Trains the run's supernet unless it is there; returns its folder."""
    return _ensure_supernet(config, run, data.prepare(config.data, run.cache, say), track, say)


def _ensure_supernet(
    config: Config, run: RunDirectory, images: data.DataSet, track: TrackedRun, say: Say
) -> Path:
    check_network(config, images.header.shape, images.header.num_classes)

    if not run.supernet.exists():
        say("train   starts ...")

    def tell(row: Row) -> None:
        say(training_line(row))
        losses = {f"loss/width {width:g}": loss for width, loss in row.losses.items()}
        track.log({**losses, "images_per_s": row.images_per_s}, row.iteration)

    train(config, images.folder, run.path, tell, say)
    signals.install()  # over the handler that Ray Train has put in place
    if not run.supernet_samples.exists():
        write_bytes(run.supernet_samples, widths_png(config, run.supernet, images.folder))
    track.write(run.supernet_samples)
    return run.supernet


def find_setting(
    config: Config, run: RunDirectory, supernet: Path | None, track: TrackedRun, say: Say
) -> Setting:
    """What scoring stands on, trained where it is missing.

    Args:
        config: of the run.
        run: where a trained supernet goes.
        supernet: one to take instead, which fits the configuration, or None.
        track: takes curves.
        say: takes lines of progress.
    """
    if config.search.warm_start is not None:  # that it is there, before anything is trained
        read_warm_start(config.search.warm_start, chains.baseline(config))
    if config.score.scorer == "stub":
        return setting.stub_setting(config)
    images = data.prepare(config.data, run.cache, say)
    check_features(config, images.header)
    if supernet is not None:
        compatibility.check_imputes(supernet, config.data.is_windows)
        compatibility.check_data(supernet, images.header)
    judge = ensure_judge(config, images, run.cache, say)
    folder = supernet or _ensure_supernet(config, run, images, track, say)
    return judged_setting(config, chains.baseline(config), folder, judge)


def search_front(
    config: Config, run: RunDirectory, chosen: Setting, track: TrackedRun, say: Say
) -> Outcome:
    """Searches, scores the front again, and writes all that a run leaves behind."""
    check_plan(run)
    with deferred(lambda: _planned_pool(config, run, chosen, say)) as pool:
        if not run.plan.exists():
            pool()  # writes it
        problem, journal = open_search(config, run, chosen)
        identity = f"search {identity_of(run.path)}"
        with track.child("search", identity, telling.about(config)) as child:
            if journal.stopped is None:
                _search(problem, pool(), journal, child, say, config.ray.patience_s)
            say(f"search  done: {journal.stopped}")
            front, latency = write_results(config, run, chosen, problem, journal, pool, say)
            telling.track_results(run, front, latency, child)
            look = telling.how_to_look(config, run, child)
    return Outcome(front, latency, look)


@contextmanager
def _planned_pool(config: Config, run: RunDirectory, chosen: Setting, say: Say) -> Iterator[Pool]:
    with scoring_pool(config, chosen, say) as pool:
        follow_plan(config, run, chosen, pool, say)
        yield pool


def is_done(config: Config, run: RunDirectory) -> bool:
    """Whether nothing of a search is left to do that takes Ray."""
    is_stub = config.score.scorer == "stub"
    return run.journal.exists() and run.front.exists() and (is_stub or _is_drawn(run))


def _is_drawn(run: RunDirectory) -> bool:
    return all((run.path / name).exists() for name in (run.latency.name, *PICTURES))


def check_plan(run: RunDirectory) -> None:
    """Raises DataError where candidates were scored by a plan that is gone."""
    if has_candidates(run.journal) and not run.plan.exists():
        raise DataError(
            f"{run.plan} is missing, by which {run.journal.name} was scored: expected it back,"
            " or another --out"
        )


def open_search(config: Config, run: RunDirectory, chosen: Setting) -> tuple[Problem, Journal]:
    """What is searched, by the plan, and the journal of what was found so far.

    Raises:
        DataError: the plan or the journal is damaged, or the plan lacks latencies.
        ConfigError: the journal is another search's.
    """
    latency = read_latency(run.plan, chosen.macs)
    if config.search.cost == "latency" and latency is None:
        raise DataError(f"{run.plan}: expected latencies, under 'latency_ms' and 'beside_ms'")
    space = chains.space(config)
    guide = None
    if config.search.warm_start is not None:
        guide = read_warm_start(config.search.warm_start, chains.baseline(config))
    problem = Problem(chains.baseline(config), space, chosen.macs, config.search, latency, guide)
    return problem, Journal(run.journal, search_fingerprint(config, chosen, problem.cost))


def write_results(
    config: Config,
    run: RunDirectory,
    chosen: Setting,
    problem: Problem,
    journal: Journal,
    pool: Callable[[], Pool],
    say: Say,
) -> tuple[Front, dict[str, Latency]]:
    """Scores the front of a search that has stopped again; writes all but what is there.

    The pool is asked for only where something is left to score or to time.
    """
    write_candidates(run, journal.records, problem.cost)
    if not run.front.exists():
        scored = score_front(config, chosen, problem, pool(), journal.records, say)
        write_front(run, _checked_in_float32(config, run, chosen, pool(), scored, say))
    front = read_json(run.front)
    if chosen.image_shape is None:
        return front, {}
    return front, _pictures(run, chosen, pool, front, problem.latency, say)


def _checked_in_float32(
    config: Config, run: RunDirectory, chosen: Setting, pool: Pool, front: Front, say: Say
) -> Front:
    """The front, with what bfloat16 has done to it where its subnets ran in that."""
    if chosen.image_shape is None:
        return front
    ways, score = read_ways(run.plan, chosen.macs), config.score
    if not precision.is_rough(ways):
        return front
    members = [front["baseline"], *front["members"]]
    say(f"front   {len(members)} schedules once more, in float32 and in bfloat16 ...")
    # No later population shares their states; and in a sweep actors hold other searches' too
    lean = config.model_copy(update={"score": score.model_copy(update={"state_bytes": 0})})
    found = precision.difference(
        pool, partial(use_ways, lean, chosen, pool), ways,
        [StepSchedule.from_json(member["schedule"]).steps for member in members],
        score.noise_seed, score.num_images,
    )  # fmt: skip
    order = "the same order" if found.same_order else "ANOTHER ORDER"
    say(f"front   bfloat16 against float32: qualities within {found.largest:.1%}, in {order}")
    return {**front, "bfloat16": asdict(found)}


def search_fingerprint(config: Config, chosen: Setting, cost: Cost) -> str:
    """Of all that a candidate's values and the order of candidates depend on."""
    sections = ("diffusion", "supernet", "sampler", "search", "score")
    made_of = f"{chosen.supernet[:12]}-{chosen.extractor[:12]}"
    name = f"{fingerprint(config, *sections)}-{made_of}"
    if config.search.warm_start is not None:  # its content too
        name += f"-{warm_start_sha(config.search.warm_start)[:12]}-{ORDER}"
    for kind in chains.noise_kind(config).values():
        name += f"-{kind}"
    if cost.name == "macs":  # a function of the configuration
        return name
    table = [sorted(cost.of_step.items()), cost.of_sample]
    return f"{name}-{hashlib.sha256(canonical_json(table)).hexdigest()[:12]}"


def _pictures(
    run: RunDirectory,
    chosen: Setting,
    pool: Callable[[], Pool],
    front: Front,
    predicted: Cost | None,
    say: Say,
) -> dict[str, Latency]:
    """Times the front and draws it, unless that is done; returns the latencies."""
    if not _is_drawn(run):
        say("front   timed and drawn ...")
        samples = measure_latency(run, pool(), front, predicted)
        write_pictures(run.path, front, samples, chosen.quality.picture)
    return read_json(run.latency)


def _search(
    problem: Problem,
    pool: Pool,
    journal: Journal,
    child: TrackedRun,
    say: Say,
    patience_s: float,
) -> None:
    start = time.monotonic()
    num_replayed = len(journal.records)
    replayed = (0, 0)

    def tell(generation: Generation) -> None:
        nonlocal replayed
        if generation.num_scored <= num_replayed:
            replayed = (generation.num_scored, generation.calls)
        else:
            elapsed_s = time.monotonic() - start
            say(generation_line(generation, problem.settings, elapsed_s, replayed))
        telling.track_generation(child, generation)

    if num_replayed:
        say(f"search  goes on after {num_replayed} candidates")
    else:
        say(
            f"search  starts with uniform schedules, the costliest first: a line for each"
            f" {problem.settings.population} candidates ..."
        )
    run_search(problem, pool, journal, tell, say, patience_s)
    saved = pool.share_saved()
    if saved is not None:  # the journal's count is of any machine
        say(f"search  calls shared on these actors, with what they had room for: {saved:.0%}")
