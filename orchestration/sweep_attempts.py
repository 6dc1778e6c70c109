"""A sweep's searches that are not done, on their way to be searched: what each stands on.

Each has scorers of its own on whichever actors score, made from what the searches of one data set
share in the object store.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from orchestration import pipeline, setting
from orchestration.config import Config
from orchestration.files import canonical_json
from orchestration.journal import Journal
from orchestration.plan import follow_plan
from orchestration.pool import Pool
from orchestration.rundir import RunDirectory
from orchestration.scorer import Scorer
from orchestration.search import Problem
from orchestration.setting import Setting
from orchestration.sweep_directory import SweepDirectory
from orchestration.sweep_failures import Failures
from orchestration.sweep_plan import PlannedSearch


@dataclass
class Attempt:
    """A search that is not done.

    Args:
        planned: what it is.
        run: its directory, which is locked.
        chosen: what its scoring stands on.
        problem: what it searches; known once it is planned, as are the following.
        journal: what it has found.
        made_from: what its scorers are made from, on whichever actors.
    """

    planned: PlannedSearch
    run: RunDirectory
    chosen: Setting
    problem: Problem | None = None
    journal: Journal | None = None
    made_from: ObjectRef | None = None

    @property
    def name(self) -> str:
        """Of the search."""
        return self.planned.name

    @property
    def batch_size(self) -> int:
        """Images a task."""
        return self.planned.config.score.batch_size

    @property
    def num_batches(self) -> int:
        """Of the images that a candidate is scored on: actors that it keeps busy."""
        return math.ceil(self.planned.config.search.num_images / self.batch_size)

    def pool(self, actors: Sequence[ActorHandle]) -> Pool:
        """Its own scorers on these actors."""
        return Pool(actors, self.batch_size, self.made_from)


def attempt_of(
    planned: PlannedSearch, directory: SweepDirectory, chosen: Setting
) -> Attempt:
    """A search to be taken up; DataError where the plan that it was scored by is gone."""
    run = directory.search(planned)
    if planned.supernet is not None:
        directory.link_supernet(planned)
    pipeline.check_plan(run)
    return Attempt(planned, run, chosen)


def plan_attempts(
    attempts: Sequence[Attempt],
    actors: Sequence[ActorHandle],
    sharers: int,
    failures: Failures,
    say: Callable[[str], None],
) -> list[Attempt]:
    """Has each search know how its subnets run, and what it has found; those that can go on.

    What scorers are made from lies in the object store once for each data set and way of running,
    and each search has a small reference of its own to it: so an actor holds scorers, and their
    half-sampled images, by search.

    Args:
        attempts: to plan.
        actors: to measure on.
        sharers: searches that share the memory that an actor may keep states in.
        failures: takes what goes wrong.
        say: takes lines of progress.
    """
    parts: dict[tuple[str, bytes], ObjectRef] = {}
    planned = []
    for attempt in attempts:
        with failures.of([attempt.name]):
            chosen = attempt.chosen
            config = _with_less_memory(attempt.planned.config, sharers)
            scorer = ray.put((chosen.make_scorer, _args(config, chosen)))
            pool = Pool(actors, attempt.batch_size, scorer)
            plan = follow_plan(config, attempt.run, chosen, pool, say)
            attempt.problem, attempt.journal = pipeline.open_search(
                attempt.planned.config, attempt.run, chosen
            )
            key = (attempt.planned.dataset, canonical_json(plan.get("ways")))
            whole = parts.setdefault(key, pool.shared)
            attempt.made_from = ray.put((_make, ([whole],)))
            planned.append(attempt)
    return planned


def _args(config: Config, chosen: Setting) -> tuple[object, ...]:
    if chosen.image_shape is None:
        return chosen.args
    return chosen.args_with(setting.execution(config))


def _with_less_memory(config: Config, sharers: int) -> Config:
    """States are there to save time, so how many are kept changes no bit."""
    score = config.score.model_copy(update={"state_bytes": config.score.state_bytes // sharers})
    return config.model_copy(update={"score": score})


def _make(whole: Sequence[ObjectRef]) -> Scorer:
    make_scorer, args = ray.get(whole[0])
    return make_scorer(*args)
