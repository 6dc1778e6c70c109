"""Ray Train around the training loop.

The driver puts the images into the object store and Ray Train starts the workers. Each takes all
images into its memory once; worker 0 writes the checkpoints, and its reports beside them for the
driver to read. A worker that dies is started again and goes on from the newest checkpoint.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

import ray
import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from orchestration.cluster import num_cpus
from orchestration.config import Config
from orchestration.data import ray_dataset, read_header
from orchestration.errors import MachineError, StepwiseError
from orchestration.sections import Train
from orchestration.training_state import Row, read_rows
from orchestration.training_worker import work

MAX_FAILURES = 3
POLL_S = 0.5

# With fewer rows than these a CPU would rather run one worker less.
ROWS_OF_A_WORKER = 32


def fit(
    config: Config, data_folder: Path, folder: Path, on_progress: Callable[[Row], None]
) -> None:
    """Runs Ray Train until the last checkpoint is written."""
    blocks = ray_dataset(data_folder).to_arrow_refs()  # every worker takes all of them
    num_classes = read_header(data_folder).num_classes
    run_workers(partial(work, config, folder, blocks, num_classes), config, folder, on_progress)


def run_workers(
    work: Callable[[], StepwiseError | None],
    config: Config,
    folder: Path,
    on_progress: Callable[[Row], None],
) -> None:
    """Runs Ray Train until every worker has returned.

    Args:
        work: called in each worker; says why there is no use in going on, if there is none.
        config: its `train` says how many workers.
        folder: of the checkpoints and reports.
        on_progress: called with each report.
    """
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process less to start
    trainer = TorchTrainer(
        work,
        scaling_config=_scaling(config.train),
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
        _pass_on(folder, fitting, on_progress)
        diverged = fitting.result().return_value
    except ray.train.TrainingFailedError as error:
        raise _cause(error) from error
    if diverged is not None:
        raise diverged


def _scaling(train: Train) -> ray.train.ScalingConfig:
    """Workers and what each of them takes: a GPU where the cluster has any."""
    num_gpus = _num_gpus()
    num_workers = train.num_workers or _fitting_workers(train, num_gpus)
    if num_workers * train.threads > num_cpus():
        raise MachineError(
            f"the cluster has {num_cpus()} CPUs; expected train.num_workers ({num_workers}) x"
            f" train.threads ({train.threads}) of them"
        )
    if 0 < num_gpus < num_workers:
        raise MachineError(
            f"the cluster has {num_gpus} GPUs; expected train.num_workers ({num_workers}) of them"
        )
    return ray.train.ScalingConfig(
        num_workers=num_workers,
        use_gpu=num_gpus > 0,
        resources_per_worker={"CPU": train.threads},
    )


def num_at_once(trains: Sequence[Train]) -> int:
    """How many of these trainings this node has room for beside each other, at least 1.

    GPUs, which a training takes one of for each worker, are never divided.
    """
    if _num_gpus():
        return 1
    most = max((t.threads * (t.num_workers or _fitting_workers(t, 0)) for t in trains), default=1)
    return max(1, int(_this_node().get("CPU", 1)) // most)


def _num_gpus() -> int:
    """GPUs of the whole cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def _this_node() -> dict[str, float]:
    """What the node of the driver has, by resource."""
    node = ray.get_runtime_context().get_node_id()
    (here,) = (n["Resources"] for n in ray.nodes() if n["NodeID"] == node)
    return here


def _fitting_workers(train: Train, num_gpus: int) -> int:
    """As many workers as have enough rows each, and a place.

    That is a GPU of this node; where it has none, one of the cluster's; where that has none, a CPU
    of this node. CPUs must do for all, but one worker is asked for in any case.
    """
    here = _this_node()
    places = num_cpus() if num_gpus else int(here.get("CPU", 1))
    places //= train.threads
    if num_gpus:
        places = min(places, int(here.get("GPU", 0)) or num_gpus)
    return max(1, min(places, train.batch_size // ROWS_OF_A_WORKER))


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
    folder: Path, fitting: Future[ray.train.Result], on_progress: Callable[[Row], None]
) -> None:
    """Hands on the reports as they are written, until there will be no more."""
    num_seen = 0
    while True:
        wait([fitting], timeout=POLL_S)
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
