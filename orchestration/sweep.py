"""The stages of a sweep: supernets, plans, all searches as one experiment, fronts.

Each search keeps its own directory, journal and front, the same to the byte as `jobs.search`
gives alone on the same supernet; a stage passes over what is there, so that the same command
resumes. The scoring actors are shared by all searches, or each search has its own while it runs;
either way the driver's pool measures the plans before and scores the fronts after.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import ray
from ray.actor import ActorHandle

from orchestration import fault_log, pipeline, telling
from orchestration.actors import await_actors
from orchestration.cluster import cluster
from orchestration.files import read_json
from orchestration.machine import Hardware
from orchestration.members import Front
from orchestration.placement import Placement, observe, place
from orchestration.pool import Pool
from orchestration.rundir import RunDirectory, open_run
from orchestration.scoring_actors import start_actors
from orchestration.search import Generation
from orchestration.sweep_attempts import Attempt, attempt_of, plan_attempts
from orchestration.sweep_directory import SweepDirectory
from orchestration.sweep_failures import Failures
from orchestration.sweep_plan import PlannedSearch, planned_searches
from orchestration.sweep_progress import SweepProgress
from orchestration.sweep_sections import SweepConfig
from orchestration.sweep_settings import find_settings
from orchestration.tracking import TrackedRun
from orchestration.tracking_store import identity_of
from orchestration.trial import OwnActors, Trial, run_searches

Say = Callable[[str], None]

# That each would keep the shared actors busy alone: while one thinks, the other's work is there.
SEARCHES_AN_ACTOR = 2


def run_sweep(
    config: SweepConfig, directory: SweepDirectory, track: TrackedRun, say: Say
) -> tuple[dict[str, Front], Failures]:
    """Does what is left to do, and tells MLflow of all of it.

    Returns:
        The fronts of the searches that are done, by name; why the others are not.

    Raises:
        MachineError: the cluster or the disk failed all of them.
    """
    searches = planned_searches(config)
    failures = Failures({s.name: directory.search(s).path for s in searches})
    with ExitStack() as held:
        children = _begin(searches, directory, failures, track, held)
        left = [s for s in searches if s.name in children and not directory.is_done(s)]
        if left:
            with cluster(config):
                _work(config, left, directory, failures, track, children, say)
        fronts: dict[str, Front] = {}
        for planned in searches:
            if planned.name not in failures.errors:
                with failures.of([planned.name]):
                    fronts[planned.name] = _tell(directory.search(planned), children[planned.name])
    return fronts, failures


def _begin(
    searches: Sequence[PlannedSearch],
    directory: SweepDirectory,
    failures: Failures,
    track: TrackedRun,
    held: ExitStack,
) -> dict[str, TrackedRun]:
    """Locks every search's directory and opens its run in MLflow, both until `held` lets go."""
    children: dict[str, TrackedRun] = {}
    for planned in searches:
        with failures.of([planned.name]):
            path = directory.search(planned).path
            held.enter_context(open_run(path, planned.config, directory.path.parent))
            children[planned.name] = held.enter_context(_child(planned, path, failures, track))
    return children


class _Failed(Exception):
    """Ends a run of MLflow's as failed."""


@contextmanager
def _child(
    planned: PlannedSearch, path: object, failures: Failures, track: TrackedRun
) -> Iterator[TrackedRun]:
    """The search's run in MLflow; it ends as failed if the search has failed by then."""
    about = {"dataset": planned.dataset, **telling.about(planned.config)}
    identity = f"search {identity_of(path)}"
    with suppress(_Failed), track.child(planned.name, identity, about) as child:
        yield child
        if planned.name in failures.errors:
            raise _Failed


def _tell(run: RunDirectory, child: TrackedRun) -> Front:
    front = read_json(run.front)
    latency = read_json(run.latency) if run.latency.exists() else {}
    telling.track_results(run, front, latency, child)
    fault_log.forget(run.path)
    return front


def _work(
    config: SweepConfig,
    left: Sequence[PlannedSearch],
    directory: SweepDirectory,
    failures: Failures,
    track: TrackedRun,
    children: Mapping[str, TrackedRun],
    say: Say,
) -> None:
    """All that needs the cluster."""
    chosen = find_settings(left, directory, failures, track, say)
    attempts = []
    for planned in left:
        if planned.name not in failures.errors:
            with failures.of([planned.name]):
                attempts.append(attempt_of(planned, directory, chosen[planned.dataset]))
    if not attempts:
        return
    nodes = observe()
    placement = place(config, nodes)
    at_once = num_at_once([a.num_batches for a in attempts], placement.num_actors)
    is_shared = config.sweep.actors == "shared"
    patience_s = config.ray.patience_s
    with ExitStack() as pools:
        actors, devices = _actors(pools, placement, at_once, say, patience_s)
        sharers = at_once if is_shared else 1
        attempts = plan_attempts(attempts, actors, sharers, failures, say)
        searching = [a for a in attempts if a.journal.stopped is None]
        if is_shared:
            scoring = {a.name: a.pool(actors) for a in searching}
        else:
            pools.close()
            own = place(config, nodes, max(1, len(searching)))
            scoring = {
                a.name: OwnActors(own, a.batch_size, a.made_from, tuple(devices), patience_s)
                for a in searching
            }
        max_at_once = at_once if is_shared else None
        _search(searching, scoring, max_at_once, children, failures, say, patience_s)
        if not is_shared:
            actors, _ = _actors(pools, placement, 1, say, patience_s)
        found = [a for a in attempts if a.name not in failures.errors]
        for number, attempt in enumerate(found, 1):
            say(f"front   {number}/{len(found)}   {attempt.name}")
            with failures.of([attempt.name]):
                _write(attempt, attempt.pool(actors))


def num_at_once(num_batches: Sequence[int], num_actors: int) -> int:
    """How many searches go through shared actors together.

    An actor holds networks and states for each of them, so they are no more than keep it busy.

    Args:
        num_batches: of each search that is left.
        num_actors: that they share.
    """
    return min(len(num_batches), SEARCHES_AN_ACTOR * math.ceil(num_actors / min(num_batches)))


def _actors(
    pools: ExitStack, placement: Placement, num_scorers: int, say: Say, patience_s: float
) -> tuple[list[ActorHandle], list[Hardware]]:
    """Scoring actors until `pools` closes, ready to work, and the device of each."""
    actors = start_actors(placement, num_scorers)
    for actor in actors:
        pools.callback(ray.kill, actor)
    return actors, await_actors(actors, placement, say, patience_s)


def _search(
    searching: Sequence[Attempt],
    scoring: Mapping[str, Pool | OwnActors],
    max_at_once: int | None,
    children: Mapping[str, TrackedRun],
    failures: Failures,
    say: Say,
    patience_s: float,
) -> None:
    if not searching:
        return
    progress = SweepProgress(
        {a.name: (a.planned.config.search, len(a.journal.records)) for a in searching},
        time.monotonic,
    )

    def teller(attempt: Attempt) -> Callable[[Generation], None]:
        def tell(generation: Generation) -> None:
            line = progress.line(attempt.name, generation)
            if line is not None:
                say(line)
            telling.track_generation(children[attempt.name], generation)

        return tell

    trials = {
        a.name: Trial(a.problem, scoring[a.name], a.journal, teller(a)) for a in searching
    }
    say(f"search  {len(trials)} searches")
    for name, error in run_searches(trials, max_at_once, say, patience_s).items():
        failures.add([name], error)


def _write(attempt: Attempt, pool: Pool) -> None:
    """The front of one search, and its pictures; without its lines of progress."""
    pipeline.write_results(
        attempt.planned.config, attempt.run, attempt.chosen, attempt.problem, attempt.journal,
        lambda: pool, lambda line: None,
    )  # fmt: skip
