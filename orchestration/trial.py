"""One Ray Tune trial is one search.

The trial runs wherever Tune places it and touches no disk: each generation's records travel to
the driver in `tune.report`, which returns only after the driver's callback has written them to
the journal. A resume hands the journal's records to a fresh trial, which replays them; nothing is
restored from Tune's own state.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune
from ray.exceptions import RayError, RayTaskError
from ray.tune import TuneError

from orchestration.errors import MachineError
from orchestration.journal import Journal, Record
from orchestration.pool import Pool
from orchestration.search import Generation, Problem, search
from search_spaces.optimizers import make_optimizer

OnGeneration = Callable[[Generation], None]

# The pool's actors leave this share of a CPU to the searches that feed them.
TRIAL_CPUS = 0.05


def run_search(
    problem: Problem,
    pool: Pool,
    journal: Journal,
    on_generation: OnGeneration,
) -> None:
    """Runs the search as a Tune trial until it stops, the journal growing by each generation.

    Raises:
        Exception: what the trial, the journal or `on_generation` raised, as itself.
        MachineError: the trial was lost, or Tune failed.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Tune would swallow an interruption and return as if the search were done.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    journaling = _Journaling(journal, on_generation)
    with TemporaryDirectory(prefix="stepwise-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    _trial, problem=problem, pool=pool, records=tuple(journal.records)
                ),
                {"cpu": TRIAL_CPUS},
            ),
            param_space={
                "optimizer": problem.settings.optimizer,
                "seed": problem.settings.seed,
            },
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(Path(scratch).resolve()),
                callbacks=[journaling],
                verbose=0,
            ),
        )
        try:
            errors = tuner.fit().errors
        except TuneError as error:
            errors = [journaling.error or error]
    for error in errors:
        raise _cause(error)


class _Journaling(tune.Callback):
    """Writes what the trial reports to the journal before the trial may go on."""

    def __init__(self, journal: Journal, on_generation: OnGeneration) -> None:
        self.journal = journal
        self.on_generation = on_generation
        self.error: Exception | None = None

    def on_trial_result(
        self, iteration: int, trials: list, trial: object, result: dict[str, Any], **info: object
    ) -> None:
        try:
            self._take(result)
        except Exception as error:
            self.error = error  # of which Tune passes on no more than the text
            raise

    def _take(self, result: dict[str, Any]) -> None:
        generation = Generation(
            **{
                **{name: result[name] for name in Generation.__dataclass_fields__},
                "records": tuple(Record(**record) for record in result["records"]),
            }
        )
        self.journal.append(generation.records)
        self.on_generation(generation)
        if generation.stop is not None:
            self.journal.stop(generation.stop)

    def get_state(self) -> None:
        """Has none: the journal is the truth."""

    def set_state(self, state: object) -> None:
        """Has none."""


def _trial(
    config: dict[str, Any], *, problem: Problem, pool: Pool, records: Sequence[Record]
) -> None:
    start = time.monotonic()
    optimizer = make_optimizer(
        config["optimizer"], problem.searched, config["seed"], problem.settings.population
    )
    for generation in search(problem, optimizer, pool, records, lambda: time.monotonic() - start):
        tune.report({**asdict(generation), "done": generation.stop is not None})
        if generation.stop is not None:
            return


def _cause(error: Exception) -> Exception:
    """What was raised, without what Ray and Tune have wrapped it in; their own as MachineError."""
    if isinstance(error, RayTaskError):
        return error.cause
    if isinstance(error, TuneError | RayError):
        return MachineError(f"the search's trial was lost: {error}")
    return error
