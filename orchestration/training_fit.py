"""Ray Train around the training loop.

The driver puts the images into the object store and Ray Train starts the workers, on GPUs with
NCCL between them where `training_places` says so. Each takes all images into its memory once;
worker 0 writes the checkpoints, and its reports beside them for the driver to read. A worker that
dies is started again and goes on from the newest checkpoint.
"""

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from orchestration.config import Config
from orchestration.data import read_header
from orchestration.errors import MachineError, StepwiseError
from orchestration.patience import Patience, Say, free_now
from orchestration.training_material import share
from orchestration.training_nodes import check_gpu, observe_nodes, this_node, without
from orchestration.training_places import places, tied
from orchestration.training_state import Row, has_begun, read_rows
from orchestration.training_worker import work

log = logging.getLogger(__name__)

MAX_FAILURES = 3
POLL_S = 0.5


def fit(
    config: Config,
    data_folder: Path,
    folder: Path,
    on_progress: Callable[[Row], None],
    say: Say = log.warning,
) -> None:
    """Trains a supernet on Ray Train, until the last checkpoint is written; see `run_workers`."""
    blocks = share(config, data_folder)  # every worker takes all of them
    num_classes = read_header(data_folder).num_classes
    of_worker = partial(work, config, folder, blocks, num_classes)
    run_workers(of_worker, config, folder, on_progress, say)


def run_workers(
    work: Callable[[], StepwiseError | None],
    config: Config,
    folder: Path,
    on_progress: Callable[[Row], None],
    say: Say = log.warning,
) -> None:
    """Runs Ray Train until every worker has returned.

    Args:
        work: called in each worker; says why there is no use in going on, if there is none.
        config: its `train` says how many workers.
        folder: of the checkpoints and reports.
        on_progress: called with each report.
        say: takes lines on what is awaited, where the cluster is full.

    Raises:
        Diverged: a loss is not finite.
        MachineError: there are no such places for workers, or none in good time; a GPU that torch
            can't use; storage that their nodes don't share; workers that keep dying.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process less to start
    here, nodes = this_node(), observe_nodes()
    workers = places(config, nodes, here)
    workers = tied(workers, nodes, here, without(folder, nodes, here), folder)
    needed = workers.needed()
    what = f"{workers.num_workers} training workers, each with {workers.describe()}"
    patience = Patience(what, needed, say, config.ray.patience_s, free_now)
    if workers.use_gpu:
        check_gpu(workers, patience)
    trainer = TorchTrainer(
        work,
        scaling_config=workers.scaling(),
        torch_config=TorchConfig(backend="nccl" if workers.use_gpu else "gloo"),
        run_config=ray.train.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        fitting = _in_background(trainer.fit)
        _pass_on(folder, fitting, on_progress, patience)
        diverged = fitting.result().return_value
    except ray.train.TrainingFailedError as error:
        raise _cause(error) from error
    if diverged is not None:
        raise diverged


def _in_background(fit: Callable[[], ray.train.Result]) -> Future[ray.train.Result]:
    """Calls `fit` in a thread: this one stays free, and Ray Train leaves its signals alone."""
    fitting: Future[ray.train.Result] = Future()

    def run() -> None:
        try:
            fitting.set_result(fit())
        except BaseException as error:
            fitting.set_exception(error)

    threading.Thread(target=run, name="fit", daemon=True).start()
    return fitting


def _pass_on(
    folder: Path,
    fitting: Future[ray.train.Result],
    on_progress: Callable[[Row], None],
    patience: Patience,
) -> None:
    """Hands on the reports as they are written, until there will be no more."""
    num_seen = 0
    while True:
        wait([fitting], timeout=POLL_S)
        if not has_begun(folder):
            patience.tick()
        is_last = fitting.done()  # before looking: all that was written until then is seen
        rows = read_rows(folder, num_seen)
        for row in rows:
            on_progress(row)
        num_seen += len(rows)
        if is_last:
            return


def _cause(error: ray.train.TrainingFailedError) -> Exception:
    """What to tell the user of a training that was given up."""
    failures = list(getattr(error, "worker_failures", {}).values())
    for failure in failures:
        if isinstance(failure, StepwiseError):
            return failure
    if any(isinstance(failure, WorkerHealthCheckFailedError) for failure in failures):
        return MachineError(
            f"training: workers died {MAX_FAILURES + 1} times; expected them to live"
            " (is there enough memory?): the same command goes on from the last checkpoint"
        )
    return error
