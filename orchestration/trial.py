"""One Ray Tune trial is one search; all searches of a command are one experiment.

A trial runs wherever Tune places it and touches no disk: each generation's records travel to
the driver in `tune.report`, which returns only after the driver's callback has written them to
the journal. A resume hands the journal's records to a fresh trial, which replays them; nothing is
restored from Tune's own state.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray import ObjectRef, tune
from ray.exceptions import RayError, RayTaskError
from ray.tune import PlacementGroupFactory, TuneError

from orchestration.actors import await_actors
from orchestration.errors import DataError, MachineError
from orchestration.journal import Journal, Record
from orchestration.machine import Hardware
from orchestration.patience import Patience, Say, free_now, shown
from orchestration.placement import Placement
from orchestration.pool import Pool
from orchestration.scoring_actors import start_actors
from orchestration.search import Generation, Problem, search
from search_spaces.optimizers import make_optimizer

log = logging.getLogger(__name__)

OnGeneration = Callable[[Generation], None]

# The pool's actors leave this share of a CPU to the searches that feed them.
TRIAL_CPUS = 0.05


@dataclass(frozen=True)
class OwnActors:
    """Scoring actors that a trial starts for itself, in its own placement group.

    Args:
        placement: how many, and what each of them claims.
        batch_size: images a task.
        shared: what their scorers are made from.
        like: the devices that the search's plan was made on, which theirs must be like.
        patience_s: longest wait for them.
    """

    placement: Placement
    batch_size: int
    shared: ObjectRef
    like: tuple[Hardware, ...]
    patience_s: float

    def start(self) -> Pool:
        """The pool, ready to work; to be called in the trial.

        Raises:
            MachineError: as of `await_actors`.
        """
        pool = Pool(start_actors(self.placement), self.batch_size, self.shared)
        try:
            await_actors(pool.actors, self.placement, log.info, self.patience_s, self.like)
        except BaseException:
            pool.close()
            raise
        return pool


@dataclass(frozen=True)
class Trial:
    """A search to run.

    Args:
        problem: what is searched.
        pool: that scores, or what the trial is to start one from.
        journal: grows by each generation; what is in it already is replayed.
        on_generation: called in the driver once a generation is in the journal.
    """

    problem: Problem
    pool: Pool | OwnActors
    journal: Journal
    on_generation: OnGeneration


def run_search(
    problem: Problem,
    pool: Pool,
    journal: Journal,
    on_generation: OnGeneration,
    say: Say = log.info,
    patience_s: float = math.inf,
) -> None:
    """Runs one search as a Tune trial until it stops, the journal growing by each generation.

    Raises:
        Exception: what the trial, the journal or `on_generation` raised, as itself.
        MachineError: the trial was lost or found no room, or Tune failed.
    """
    trials = {"search": Trial(problem, pool, journal, on_generation)}
    failures = run_searches(trials, say=say, patience_s=patience_s)
    for error in failures.values():
        raise error


def run_searches(
    trials: Mapping[str, Trial],
    max_at_once: int | None = None,
    say: Say = log.info,
    patience_s: float = math.inf,
) -> dict[str, Exception]:
    """Runs searches as the trials of one experiment, as many at once as the cluster has room for.

    Args:
        trials: by name.
        max_at_once: no more than so many, even where there is room.
        say: takes lines on what is awaited, where the cluster is full.
        patience_s: longest wait for room, while no search runs.

    Returns:
        Why searches failed, by name; the others have stopped by their own rules.

    Raises:
        Exception: what hinders all of them, such as a full disk, or what `on_generation` raised.
        MachineError: Tune failed.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Tune would swallow an interruption and return as if the search were done.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    journaling = _Journaling(trials, partial(_patience, trials, say, patience_s))
    # What Tune calls travels with the trial: it must hold no more than names and numbers.
    failures = journaling.failures
    bundles = {name: _bundles(trial.pool) for name, trial in trials.items()}
    parts = {
        name: ray.put((trial.problem, trial.pool, tuple(trial.journal.records)))
        for name, trial in trials.items()
    }
    with TemporaryDirectory(prefix="stepwise-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trial, parts=parts),
                lambda config: PlacementGroupFactory(bundles[config["search"]]),
            ),
            param_space={"search": tune.grid_search(list(trials))},
            tune_config=tune.TuneConfig(max_concurrent_trials=max_at_once),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(Path(scratch).resolve()),
                callbacks=[journaling],
                stop=lambda trial_id, result: result["search"] in failures,
                verbose=0,
            ),
        )
        try:
            results = tuner.fit()
        except TuneError as error:
            raise _cause(journaling.error or error) from error
    lost = {result.config["search"]: _cause(result.error) for result in results if result.error}
    for name, trial in trials.items():
        if trial.journal.stopped is None:
            lost.setdefault(name, MachineError("the search's trial ended before the search did"))
    return {**lost, **failures}


class _Journaling(tune.Callback):
    """Writes what a trial reports to its journal before the trial may go on.

    Attributes:
        error: what ended the experiment.
        failures: by the name of a search, why its journal does not take what it reports.
    """

    def __init__(
        self, trials: Mapping[str, Trial], make_patience: Callable[[], Patience]
    ) -> None:
        self.trials = trials
        self.make_patience = make_patience
        self.patience: Patience | None = None
        self.error: Exception | None = None
        self.failures: dict[str, Exception] = {}

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Tune pickles all that it is given, to restore experiments, which we never do.

        What it tells holds more than can be pickled: `print` itself cannot, once Ray has put its
        own in its place, as it does when a worker's line reaches the driver.
        """
        return {}

    def on_step_begin(self, iteration: int, trials: list, **info: object) -> None:
        """Keeps account of how long no search has had room."""
        if any(trial.status == "RUNNING" for trial in trials):
            self.patience = None
            return
        if not any(trial.status == "PENDING" for trial in trials):
            return
        if self.patience is None:
            self.patience = self.make_patience()
        try:
            self.patience.tick()
        except MachineError as error:
            self.error = error
            raise

    def on_trial_result(
        self, iteration: int, trials: list, trial: object, result: dict[str, Any], **info: object
    ) -> None:
        name = result["search"]
        try:
            if name not in self.failures:
                self._take(self.trials[name], result)
        except Exception as error:
            if isinstance(error, DataError) and len(self.trials) > 1:
                self.failures[name] = error  # the trial ends at its next report
                return
            self.error = error  # of which Tune passes on no more than the text
            raise

    def _take(self, trial: Trial, result: dict[str, Any]) -> None:
        generation = Generation(
            **{
                **{name: result[name] for name in Generation.__dataclass_fields__},
                "records": tuple(Record(**record) for record in result["records"]),
            }
        )
        trial.journal.append(generation.records)
        trial.on_generation(generation)
        if generation.stop is not None:
            trial.journal.stop(generation.stop)

    def get_state(self) -> None:
        """Has none: the journals are the truth."""

    def set_state(self, state: object) -> None:
        """Has none."""


def _patience(trials: Mapping[str, Trial], say: Say, patience_s: float) -> Patience:
    """For the search that needs least."""
    bundles = [_bundles(trial.pool) for trial in trials.values()]
    needs = [
        {name: sum(bundle.get(name, 0.0) for bundle in of_one) for name in ("CPU", "GPU")}
        for of_one in bundles
    ]
    least = min(needs, key=lambda need: (need["GPU"], need["CPU"]))
    return Patience(f"a search's trial, with {shown(least)}", least, say, patience_s, free_now)


def _bundles(pool: Pool | OwnActors) -> list[dict[str, float]]:
    """What a trial takes: a little for itself, and a place for each actor of its own."""
    bundles = [{"CPU": TRIAL_CPUS}]
    if isinstance(pool, OwnActors):
        bundles += [pool.placement.bundle] * pool.placement.num_actors
    return bundles


def _trial(config: dict[str, Any], *, parts: Mapping[str, ObjectRef]) -> None:
    problem, scoring, records = ray.get(parts[config["search"]])
    own = isinstance(scoring, OwnActors)
    pool = scoring.start() if own else scoring
    start = time.monotonic()
    settings = problem.settings
    optimizer = make_optimizer(
        settings.optimizer, problem.searched, settings.seed, settings.population
    )
    try:
        for generation in search(
            problem, optimizer, pool, records, lambda: time.monotonic() - start
        ):
            records = [vars(record) for record in generation.records]
            report = {**vars(generation), "records": records, "search": config["search"]}
            tune.report({**report, "done": generation.stop is not None})
            if generation.stop is not None:
                return
    finally:
        if own:
            pool.close()


def _cause(error: Exception) -> Exception:
    """What was raised, without what Ray and Tune have wrapped it in; their own as MachineError."""
    if isinstance(error, RayTaskError):
        return error.cause
    if isinstance(error, TuneError | RayError):
        return MachineError(f"the search's trial was lost: {error}")
    return error
