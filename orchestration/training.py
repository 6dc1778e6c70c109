"""Training the supernet of a run: finds it trained, goes on with it, or begins.

While a training runs its checkpoints lie in `<out>/training`. At the end `<out>/training.json`
holds its reports and `<out>/supernet` the averaged weights, and the checkpoints are removed. The
same command resumes after any interruption.

A training never goes on with checkpoints that were made for other data, another configuration or
by other code; a finished supernet stays what it is when the code changes.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from orchestration.config import Config, fingerprint
from orchestration.data import class_counts, read_header
from orchestration.errors import DataError, MachineError
from orchestration.files import (
    MANIFEST,
    Json,
    canonical_json,
    check_manifest,
    read_json,
    sha256_of,
    write_json,
)
from orchestration.patience import Say
from orchestration.sections import SUPERNET_SECTIONS
from orchestration.supernet_description import read_description, trained_on
from orchestration.training_fit import fit
from orchestration.training_state import (
    Row,
    TrainingState,
    clear_except,
    newest_checkpoint,
    read_checkpoint,
)

log = logging.getLogger(__name__)

SUPERNET, HISTORY, CHECKPOINTS = "supernet", "training.json", "training"
ROOT = Path(__file__).parents[1]
CODE = (
    *(f"models/{name}.py" for name in ("diffusion", "ema", "losses", "networks", "noise")),
    *(f"models/{name}.py" for name in ("imputer", "supernet", "transfer", "windows")),
    *(
        f"orchestration/{name}.py"
        for name in (
            "checkpoints",
            "training_batches",
            "training_iterations",
            "training_loop",
            "training_material",
            "training_network",
            "training_run",
            "training_weights",
            "training_windows",
            "training_worker",
        )
    ),
)
"""What computes the weights; a comment counts too, which costs no more than a new start."""


def train(
    config: Config,
    data_folder: Path,
    out: Path,
    on_progress: Callable[[Row], None],
    say: Say = log.warning,
) -> list[Row]:
    """Trains the supernet of a run. Ray must be connected, unless the supernet is there.

    Args:
        config: of the run.
        data_folder: a prepared data set.
        out: the run directory, absolute; `out/supernet` is written.
        on_progress: called in this thread with each report as it comes. After an interruption the
            reports since the last checkpoint come again.
        say: takes lines on what is awaited, where the cluster is full.

    Returns:
        All reports of the training, those before an interruption too, each once; none of a
        finished supernet that was put here without them.

    Raises:
        Diverged: a loss is not finite.
        DataError: the data, or a supernet that is already there, are damaged; or it was trained
            on other data, or otherwise.
        MachineError: too few CPUs or GPUs, storage that is not shared, a full disk, workers that
            keep dying.
    """
    asked = _asked(config, data_folder)
    if (out / SUPERNET).exists():
        check_trained(config, data_folder, out / SUPERNET)
    else:
        folder = out / CHECKPOINTS / run_name(asked)
        state = resumed(folder)
        if state is None or state.iteration < config.train.iterations:
            fit(config, data_folder, folder, on_progress, say)
            state = resumed(folder)
        if state is None:
            raise MachineError(
                f"{folder}: the training has left no checkpoint here; expected storage that all"
                " nodes share, or train.num_workers that fit on this node"
            )
        _publish(config, data_folder, state, out, asked)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    if not (out / HISTORY).exists():  # a supernet that was copied here without it
        return []
    return [Row.from_json(row) for row in read_json(out / HISTORY)]


def _asked(config: Config, data_folder: Path) -> dict[str, Json]:
    """What decides which supernet a training gives, the code apart."""
    data = sha256_of(data_folder / MANIFEST)
    return {"training": fingerprint(config, *SUPERNET_SECTIONS), "data": data}


def run_name(asked: dict[str, Json], files: tuple[str, ...] = CODE) -> str:
    """A fingerprint of what is asked for and of the code that computes it."""
    code = {name: sha256_of(ROOT / name) for name in files}
    versions = {package: version(package) for package in ("torch", "diffusers")}
    content = canonical_json({**asked, "code": code, "versions": versions})
    return hashlib.sha256(content).hexdigest()[:12]


def check_trained(config: Config, data_folder: Path, folder: Path) -> None:
    """Raises DataError where `folder` does not hold the supernet that is asked for."""
    check_manifest(folder)
    meta = read_description(folder)["meta"]
    for what, value in _asked(config, data_folder).items():
        if meta.get(what) != value:
            changed = "data" if what == "data" else "settings of training"
            raise DataError(
                f"{folder} was trained with other {changed}: expected those of then, or another"
                " --out, where one is trained anew"
            )


def resumed(folder: Path) -> TrainingState | None:
    """The newest checkpoint; all else in `folder`, Ray Train's own files too, is removed."""
    newest = newest_checkpoint(folder)
    clear_except(folder, newest)
    return None if newest is None else read_checkpoint(newest)


def _publish(
    config: Config, data_folder: Path, state: TrainingState, out: Path, asked: dict[str, Json]
) -> None:
    """Writes the reports, then the supernet: once that is there, the training is finished."""
    from orchestration.checkpoints import save_supernet  # heavy: not before the workers start
    from orchestration.training_network import averaged, network_arguments

    write_json(out / HISTORY, [row.to_json() for row in state.rows])
    header = read_header(data_folder)
    supernet = averaged(config, header.shape, state, header.num_classes)
    meta = {**asked, **trained_on(config, header)}
    network = network_arguments(config, header.shape, header.num_classes)
    if "num_classes" in network:  # to be sampled as the data are
        meta["class_counts"] = list(class_counts(data_folder))
    save_supernet(out / SUPERNET, supernet, network, meta, config.supernet.private_norms)
