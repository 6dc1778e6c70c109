"""What MLflow is told of a run, its searches and their fronts."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestration.config import Config, flatten
from orchestration.files import Json
from orchestration.members import Front, Latency
from orchestration.rundir import PICTURES, RunDirectory
from orchestration.search import Generation
from orchestration.tracking import TrackedRun, Tracker
from orchestration.tracking_store import identity_of

# What tells searches apart when their fronts are compared in MLflow.
TELLING = (
    "data.name", "search.optimizer", "search.space", "search.seed", "search.cost", "search.steps",
)  # fmt: skip


@contextmanager
def tracked(config: Config, run: RunDirectory, command: str) -> Iterator[TrackedRun]:
    """The command's run in MLflow, found again by its run directory."""
    tracker = Tracker(
        tracking_uri(config, run), config.tracking.experiment, run.path.parent / "mlflow-artifacts"
    )
    identity = f"command {command} {identity_of(run.path)}"  # no child has it
    with tracker.run(f"{command} {run.path.name}", identity, flatten(config)) as started:
        yield started


def tracking_uri(config: Config, run: RunDirectory) -> str:
    """Where MLflow keeps the runs."""
    return config.tracking.uri or f"sqlite:///{run.path.parent}/mlflow.db"


def about(config: Config) -> dict[str, Json]:
    """What a search's run in MLflow says of it."""
    return {key: value for key, value in flatten(config).items() if key in TELLING}


def track_generation(child: TrackedRun, generation: Generation) -> None:
    """Tells MLflow where a search stands."""
    metrics = {
        "hypervolume": generation.hypervolume,
        "best_savings": generation.best_savings,
        "calls": generation.calls,
    }
    if generation.images_saved is not None:
        metrics["images_saved"] = generation.images_saved
    child.log(metrics, generation.num_scored)


def track_results(
    run: RunDirectory, front: Front, latency: dict[str, Latency], child: TrackedRun
) -> None:
    """Tells MLflow of a front and its pictures, which the stub has none of."""
    if latency:
        child.write(run.front, *(run.path / name for name in PICTURES))
    child.front(front, latency)


def how_to_look(config: Config, run: RunDirectory, child: TrackedRun) -> str:
    """How to open MLflow's UI on what a command has found."""
    uri = tracking_uri(config, run)
    if uri.startswith("http"):
        return child.link(uri)
    return f"make ui RUNS={run.path.parent}   then open   {child.link('http://127.0.0.1:5000')}"
