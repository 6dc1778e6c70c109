"""What the searches of a sweep stand on: data, features, and supernets, each trained once.

Supernets are trained before any search, one after another, or beside each other where the
driver's node has room. What goes wrong with a data set is the failure of its searches alone.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path

from orchestration import chains, data, pipeline, setting, signals
from orchestration.config import to_yaml
from orchestration.data import DataSet
from orchestration.dry_run import check_features, check_network
from orchestration.files import lock, write_bytes
from orchestration.judge import ensure_judge, judged_setting
from orchestration.sections import Config
from orchestration.setting import Setting
from orchestration.sweep_directory import SweepDirectory
from orchestration.sweep_failures import Failures
from orchestration.sweep_plan import PlannedSearch, supernets
from orchestration.tracking import TrackedRun
from orchestration.tracking_store import identity_of
from orchestration.training import check_trained
from orchestration.training_nodes import observe_nodes, this_node
from orchestration.training_places import num_at_once

Say = Callable[[str], None]


def find_settings(
    searches: Sequence[PlannedSearch],
    directory: SweepDirectory,
    failures: Failures,
    track: TrackedRun,
    say: Say,
) -> dict[str, Setting]:
    """What scoring stands on, by data set; those that can't be used are among the failures.

    Args:
        searches: that are not done.
        directory: of the sweep.
        failures: takes what goes wrong.
        track: the sweep's run, below which trainings have theirs.
        say: takes lines of progress.
    """
    judged: dict[str, tuple[DataSet, Path]] = {}  # before hours of training, not after
    for label, (names, config) in _by_data_set(searches, failures).items():
        if config.score.scorer == "network":
            with failures.of(names):
                images = data.prepare(config.data, directory.run.cache, say)
                check_network(config, images.header.shape, images.header.num_classes)
                check_features(config, images.header)
                judged[label] = images, ensure_judge(config, images, directory.run.cache, say)
    _train_all(searches, directory, failures, track, say)
    found: dict[str, Setting] = {}
    for label, (names, config) in _by_data_set(searches, failures).items():
        with failures.of(names):
            if config.score.scorer == "stub":
                found[label] = setting.stub_setting(config)
                continue
            images, judge = judged[label]
            name = next(s.supernet for s in searches if s.dataset == label)
            folder = directory.supernet(name).supernet
            check_trained(config, images.folder, folder)
            found[label] = judged_setting(config, chains.baseline(config), folder, judge)
    return found


def _by_data_set(
    searches: Sequence[PlannedSearch], failures: Failures
) -> dict[str, tuple[list[str], Config]]:
    """The names of searches that have not failed, and a configuration of theirs, by data set."""
    found: dict[str, tuple[list[str], Config]] = {}
    for planned in searches:
        if planned.name not in failures.errors:
            found.setdefault(planned.dataset, ([], planned.config))[0].append(planned.name)
    return found


def _train_all(
    searches: Sequence[PlannedSearch],
    directory: SweepDirectory,
    failures: Failures,
    track: TrackedRun,
    say: Say,
) -> None:
    """Trains the supernets that are missing."""
    left = [s for s in searches if s.name not in failures.errors]
    missing = {
        name: config
        for name, config in supernets(left).items()
        if not directory.is_trained(name)
    }
    if not missing:
        return
    room = num_at_once(
        [config.train for config in missing.values()], observe_nodes(), this_node()
    )
    say(f"train   {len(missing)} supernets, {min(room, len(missing))} at once")
    jobs = {
        name: partial(_train, name, config, directory, track, say)
        for name, config in missing.items()
    }
    for name, error in _run_all(jobs, room).items():
        failures.add([s.name for s in left if s.supernet == name], error)
    signals.install()  # over the handlers that Ray Train has put in place


def _train(
    name: str, config: Config, directory: SweepDirectory, track: TrackedRun, say: Say
) -> None:
    run = directory.supernet(name)

    def tell(line: str) -> None:
        say(line.replace("train  ", f"train   {name}", 1))

    with lock(run.path / ".lock"):
        write_bytes(run.config, to_yaml(config).encode())
        about = {"data.name": config.data.name}
        identity = f"train {identity_of(run.path)}"
        with track.child(f"supernet {name}", identity, about) as child:
            pipeline.ensure_supernet(config, run, child, tell)


def _run_all(jobs: Mapping[str, Callable[[], object]], room: int) -> dict[str, Exception]:
    """Calls each job in a thread of its own, `room` of them at a time; what they raised.

    The threads do not keep the process: when it is told to stop, it stops.
    """
    waiting, working = list(jobs), {}
    errors: dict[str, Exception] = {}
    while waiting or working:
        while waiting and len(working) < room:
            name = waiting.pop(0)
            working[_in_background(name, jobs[name])] = name
        done, _ = wait(working, return_when=FIRST_COMPLETED)
        for future in done:
            name, error = working.pop(future), future.exception()
            if error is not None:
                errors[name] = error
    return errors


def _in_background(name: str, job: Callable[[], object]) -> Future[object]:
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
