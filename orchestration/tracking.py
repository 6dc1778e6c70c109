"""MLflow: a run for each command, search and schedule of a front; the only file that knows it.

What is tracked is derived from the run directory and can be told again, which is how a command
resumes: runs are found again by their identity, and of what is told only the news is written.

    command       params: the configuration; metrics over iterations; pictures
      search      metrics over evaluations; in the end those of the recommended schedule
        schedule  one for each that was scored again, all with the same metrics, for comparison

While a command works, a tracking server that goes away costs a warning, and what it has missed is
sent when it answers again. What comes at the end insists: the front, and the pictures.

All of it is called by the driver, never by Ray's workers: the first use of a new sqlite file by
several processes at once breaks it for good. And a signal waits until MLflow has done: cut off in
a transaction, it would leave the database locked for what the run's end has to say.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from orchestration import signals
from orchestration.errors import MachineError
from orchestration.members import Front, Latency
from orchestration.tracked_front import (
    ScheduleRun,
    front_note,
    front_view,
    outdated_views,
    schedule_runs,
    search_metrics,
    view_key,
    view_tag,
)
from orchestration.tracking_store import SERVERS, alone_with, scheme_of, settle_environment

IDENTITY, COMMAND = "stepwise.identity", "stepwise.command"
MAX_BATCH = 1000
"""Metrics that MLflow takes at once."""
RETRY_S = 30.0
"""How long a server that did not answer is left alone."""

logger = logging.getLogger(__name__)


class Tracker:
    """An experiment of one tracking server or database.

    Args:
        uri: `sqlite:////absolute/path.db`, or a server's `http://host:port`.
        experiment: its name; it is made where it is missing.
        artifact_root: folder for the pictures of a new experiment in a database; a server has
            a place of its own.

    Raises:
        ConfigError: MLflow has no such kind of store.
        MachineError: the server does not answer within seconds, or the database can't be used.
    """

    def __init__(self, uri: str, experiment: str, artifact_root: Path) -> None:
        in_database = scheme_of(uri) not in SERVERS
        settle_environment()
        self.uri = uri
        location = artifact_root.resolve().as_uri() if in_database else None
        with alone_with(uri), _answers(uri):
            self.client = MlflowClient(uri)
            self.experiment_id = _experiment(self.client, experiment, location)

    def run(self, name: str, identity: str, params: Mapping[str, object]) -> "TrackedRun":
        """The run of a command, found again by its identity or made.

        Args:
            name: shown in the UI.
            identity: of the run directory and of what is done in it, without quotes.
            params: shown in the UI, such as the configuration; those of a run that was there
                before stay as they are.

        Raises:
            MachineError: the server does not answer.
        """
        return TrackedRun(self, name, identity, params)


class TrackedRun:
    """A run that is written to; as a context, it ends as finished, failed or killed.

    `Tracker.run` and `child` give one. Not for several threads at once.
    """

    def __init__(
        self,
        tracker: Tracker,
        name: str,
        identity: str,
        params: Mapping[str, object],
        parent: "TrackedRun | None" = None,
    ) -> None:
        self._tracker, self._client = tracker, tracker.client
        self.name = name
        self.params = {key: str(value) for key, value in params.items()}
        tags = {IDENTITY: identity}
        if parent is not None:
            tags[MLFLOW_PARENT_RUN_ID] = parent.run_id
        with _answers(tracker.uri):
            run = next(iter(_runs(tracker, tags)), None) or _create(tracker, name, tags)
            self.run_id: str = run.info.run_id
            self._client.update_run(self.run_id, status="RUNNING", name=name)
            missing = [Param(k, v) for k, v in self.params.items() if k not in run.data.params]
            self._client.log_batch(self.run_id, params=missing)
            self._steps = _logged_steps(self._client, run)
        self.command: TrackedRun = self if parent is None else parent.command
        self._created_ms: int = run.info.start_time
        self._pending: list[Metric] = []
        self._silent_until = 0.0

    def child(self, name: str, identity: str, params: Mapping[str, object]) -> "TrackedRun":
        """A run below this one; as `Tracker.run`."""
        return TrackedRun(self._tracker, name, identity, params, self)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Records metrics at a step (iteration, evaluations); steps that are there are kept."""
        for metric in _metrics(metrics, step):
            if step not in self._steps[metric.key]:
                self._steps[metric.key].add(step)
                self._pending.append(metric)
        if time.monotonic() >= self._silent_until:
            self._send()

    def write(self, *paths: Path) -> None:
        """Stores files, such as pictures, in place of older ones of the same names.

        Raises:
            MachineError: the server does not answer, or its store can't be written.
        """
        with _answers(self._tracker.uri):
            for path in paths:
                self._client.log_artifact(self.run_id, str(path))

    def front(self, front: Front, latency: Mapping[str, Latency]) -> None:
        """Records a front: a run below this one for each of its schedules, a view, a note.

        Runs that an earlier telling left stay if nothing about them has changed, else they are
        replaced: the runs always are the front. They share this run's params, by which the UI
        can group them.

        Raises:
            MachineError: the server does not answer.
        """
        with _answers(self._tracker.uri):
            schedules = schedule_runs(front, latency)
            ours = {MLFLOW_PARENT_RUN_ID: self.run_id, COMMAND: self.command.run_id}
            kept = self._keep({schedule.identity for schedule in schedules}, ours)
            # The UI lists the newest run first: the baseline.
            for schedule in reversed(schedules):
                if schedule.identity not in kept:
                    self._create_schedule(schedule, ours)
            self._summarize(front, latency)
            self.command.save_view(f"{self.command.name}: front")

    def save_view(self, name: str, quality: str = "quality") -> None:
        """Saves a view of the UI that charts the fronts of this command; `link` opens it.

        Args:
            name: in the menu of views.
            quality: the metric of the vertical axis.
        """
        experiment_id = self._tracker.experiment_id
        run_filter = f"tags.`{COMMAND}` = '{self.run_id}'"
        content = front_view(name, run_filter, self._created_ms, quality)
        self._client.set_experiment_tag(experiment_id, view_tag(self.run_id), content)
        for tag in outdated_views(self._client.get_experiment(experiment_id).tags):
            self._client.delete_experiment_tag(experiment_id, tag)

    def link(self, server: str) -> str:
        """Where the UI at `server` (such as "http://127.0.0.1:5000") shows the command's view."""
        return (
            f"{server}/#/experiments/{self._tracker.experiment_id}/runs"
            "?workflowType=machine_learning&compareRunsMode=CHART"
            f"&viewStateShareKey={view_key(self.command.run_id)}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status = "FINISHED" if kind is None else "FAILED"
        if kind is not None and not issubclass(kind, Exception):
            status = "KILLED"
        self._send()
        try:
            with signals.held():
                self._client.set_terminated(self.run_id, status)
        except MlflowException as unanswered:
            logger.warning("%s: run not ended: %s", self._tracker.uri, _reason(unanswered))

    def _send(self) -> None:
        try:
            while self._pending:
                with signals.held():
                    self._client.log_batch(self.run_id, metrics=self._pending[:MAX_BATCH])
                    del self._pending[:MAX_BATCH]
        except MlflowException as error:
            self._silent_until = time.monotonic() + RETRY_S
            logger.warning("%s: tracked later: %s", self._tracker.uri, _reason(error))

    def _keep(self, wanted: set[str], tags: Mapping[str, str]) -> set[str]:
        """Deletes the runs with these tags that are not wanted or not whole; what is left."""
        kept = set()
        for run in _runs(self._tracker, tags):
            identity = run.data.tags[IDENTITY]
            if identity in wanted and run.info.status == "FINISHED":
                kept.add(identity)
            else:
                self._client.delete_run(run.info.run_id)
        return kept

    def _create_schedule(self, schedule: ScheduleRun, tags: Mapping[str, str]) -> None:
        tags = {**tags, **schedule.tags, IDENTITY: schedule.identity}
        run_id = _create(self._tracker, schedule.name, tags).info.run_id
        params = [Param(k, v) for k, v in {**self.params, **schedule.params}.items()]
        self._client.log_batch(run_id, _metrics(schedule.metrics, 0), params)
        self._client.set_terminated(run_id)

    def _summarize(self, front: Front, latency: Mapping[str, Latency]) -> None:
        known = self._client.get_run(self.run_id).data.metrics
        summary = search_metrics(front, latency)
        news = {key: value for key, value in summary.items() if known.get(key) != value}
        self._client.log_batch(self.run_id, _metrics(news, 0))
        self._client.set_tag(self.run_id, MLFLOW_RUN_NOTE, front_note(front, latency))


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, location)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _runs(tracker: Tracker, tags: Mapping[str, str]) -> list[Run]:
    """All runs with these tags."""
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    return list(tracker.client.search_runs([tracker.experiment_id], wanted, max_results=10_000))


def _create(tracker: Tracker, name: str, tags: Mapping[str, str]) -> Run:
    return tracker.client.create_run(tracker.experiment_id, tags=dict(tags), run_name=name)


def _metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    now_ms = int(time.time() * 1000)
    return [Metric(key, float(value), now_ms, step) for key, value in values.items()]


def _logged_steps(client: MlflowClient, run: Run) -> defaultdict[str, set[int]]:
    """The steps that each metric of a run is known at."""
    steps: defaultdict[str, set[int]] = defaultdict(set)
    for key in run.data.metrics:
        steps[key] = {m.step for m in client.get_metric_history(run.info.run_id, key)}
    return steps


@contextmanager
def _answers(uri: str) -> Iterator[None]:
    """Lets MLflow finish, and turns what it raises into a MachineError."""
    try:
        with signals.held():
            yield
    except (MlflowException, OSError, ImportError) as error:
        raise MachineError(
            f"tracking.uri {uri}: {_reason(error)}; "
            "expected a tracking server that answers, or a database that can be written"
        ) from error


def _reason(error: BaseException) -> str:
    """What went wrong in one line; the middle of a long one, addresses repeated, is left out."""
    line = (str(error).splitlines() or [type(error).__name__])[0].rstrip("\"')")
    return line if len(line) <= 160 else f"{line[:60]} ... {line[-80:]}"
