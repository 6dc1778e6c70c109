"""Learning s from the ELBO on Ray Train, and with it, where they are to learn, the weights.

While it runs its checkpoints lie in `<out>/training`; at the end `<out>/elbo.json` holds s, its
history and the errors that it was learned from, and `<out>/supernet` the weights that have
learned. The same command resumes.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray
import torch
from torch import Tensor

from orchestration.config import Config
from orchestration.data import DataSet
from orchestration.errors import DataError, MachineError
from orchestration.files import Json, read_json, write_json
from orchestration.mask_plan import Budgets, indices
from orchestration.mask_worker import Start, work
from orchestration.rundir import RunDirectory
from orchestration.supernet_description import read_description, trained_on
from orchestration.training import CHECKPOINTS, CODE, resumed, run_name
from orchestration.training_fit import run_workers
from orchestration.training_material import share
from orchestration.training_state import Row, TrainingState

ELBO = "elbo.json"
MASK_CODE = (
    *CODE,
    *(f"models/{name}.py" for name in ("elbo", "masking")),
    *(f"orchestration/mask_{name}.py" for name in ("batches", "learning", "loop", "plan")),
)


@dataclass(frozen=True, eq=False)
class Learned:
    """What the ELBO has taught.

    Args:
        s: float64 (K, S), a row for each of `mask.steps`.
        masks: the kept candidates of the best mask met, for each of `mask.steps`.
        errors: float64 (S,), mean squared error of the predicted eps at the candidates' levels.
        second_moment: mean of x_0^2; of windows over what was recorded.
        history: (updates done, s) over the learning.
        evaluations: network calls x images.
        rows: reports.
    """

    s: Tensor
    masks: list[tuple[int, ...]]
    errors: Tensor
    second_moment: float
    history: list[tuple[int, Tensor]]
    evaluations: int
    rows: list[Row]


def learn(
    config: Config,
    budgets: Budgets,
    data: DataSet,
    supernet: Path | None,
    run: RunDirectory,
    asked: dict[str, Json],
    on_progress: Callable[[Row], None],
    say: Callable[[str], None],
) -> Learned:
    """Learns s, or reads what was learned. Ray must be connected.

    Args:
        config: of the run.
        budgets: of `plan_budgets`.
        data: the prepared training images, or windows.
        supernet: folder of the network to begin with; None for initial weights.
        run: where it all goes.
        asked: what decides the result, the code apart.
        on_progress: called with each report.
        say: takes lines on what is awaited, where the cluster is full.

    Raises:
        Diverged: a loss is not finite.
        DataError: what is there belongs to something else, or is damaged.
        MachineError: too few CPUs, a full disk, workers that keep dying.
    """
    path = run.path / ELBO
    if not path.exists():
        folder = run.path / CHECKPOINTS / run_name(asked, MASK_CODE)
        state = resumed(folder)
        if state is None or state.iteration < budgets.iterations:
            start = ray.put(_start(config, data, supernet))
            blocks = share(config, data.folder)
            run_workers(
                partial(work, config, budgets, folder, blocks, [start]), config, folder,
                on_progress, say,
            )  # fmt: skip
            state = resumed(folder)
        if state is None:
            raise MachineError(
                f"{folder}: no checkpoint was left here; expected storage that all nodes share, or"
                " train.num_workers that fit on this node"
            )
        if config.mask.weights != "frozen":
            _save_network(config, data, supernet, state, run, asked)
        write_json(path, {"asked": asked, **_content(config, state)})
    shutil.rmtree(run.path / CHECKPOINTS, ignore_errors=True)
    content = read_json(path)
    if content.get("asked") != asked:
        raise DataError(
            f"{path} was learned from other data, another network or another configuration:"
            " expected another --out"
        )
    return _learned(content)


def _learned(content: Mapping[str, Json]) -> Learned:
    return Learned(
        s=torch.tensor(content["s"], dtype=torch.float64),
        masks=[tuple(mask) for mask in content["masks"]],
        errors=torch.tensor(content["errors"], dtype=torch.float64),
        second_moment=content["second_moment"],
        history=[
            (row["updates"], torch.tensor(row["s"], dtype=torch.float64))
            for row in content["history"]
        ],
        evaluations=content["evaluations"],
        rows=[Row.from_json(row) for row in content["rows"]],
    )


def _content(config: Config, state: TrainingState) -> dict[str, Json]:
    from models.elbo import ErrorCurve
    from orchestration.mask_plan import make_chain

    tensors = state.tensors
    grid = make_chain(config).grid
    curve = ErrorCurve(grid)
    curve.sums = tensors["mask/curve"]
    places, values = tensors["history/updates"].tolist(), tensors["history/s"].tolist()
    # Reports of this machine's pace are left out: the same learning gives the same bytes
    rows = [{**row.to_json(), "images_per_s": 0.0, "seconds_left": 0.0} for row in state.rows]
    return {
        "s": tensors["mask/s"].tolist(),
        "masks": [list(indices(mask)) for mask in tensors["mask/best"]],
        "errors": curve(grid).tolist(),
        "second_moment": tensors["second_moment"].item(),
        "history": [{"updates": u, "s": s} for u, s in zip(places, values, strict=True)],
        "evaluations": int(tensors["evaluations"]),
        "rows": rows,
    }


def _network(config: Config, data: DataSet, supernet: Path | None) -> dict[str, Json]:
    from orchestration.training_network import network_arguments

    if supernet is not None:
        return read_description(supernet)["network"]
    return network_arguments(config, data.header.shape, data.header.num_classes)


def _start(config: Config, data: DataSet, supernet: Path | None) -> Start:
    from orchestration.checkpoints import load_supernet

    weights = None if supernet is None else load_supernet(supernet).full.state_dict()
    return Start(_network(config, data, supernet), weights)


def _save_network(
    config: Config,
    data: DataSet,
    supernet: Path | None,
    state: TrainingState,
    run: RunDirectory,
    asked: dict[str, Json],
) -> None:
    """Writes the averaged weights as a supernet of one width."""
    from orchestration.checkpoints import build_supernet, save_supernet
    from orchestration.training_network import load_averages

    network = _network(config, data, supernet)
    built = build_supernet(network, (1.0,))
    load_averages(built.full, state)
    meta = {**asked, **trained_on(config, data.header)}
    save_supernet(run.supernet, built.eval(), network, meta)
