"""Training through Ray: workers in processes of their own, one of them killed."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from orchestration import config as configs
from orchestration import training
from orchestration.checkpoints import load_supernet
from orchestration.data import load_arrays, prepare
from orchestration.errors import DataError, MachineError
from orchestration.training import train
from orchestration.training_fit import _cause
from orchestration.training_iterations import Diverged
from orchestration.training_loop import Training
from orchestration.training_network import averaged
from orchestration.training_state import write_checkpoint

SMALL = (
    "search.budget=1",
    "network.block_out_channels=[4, 8]",
    "network.head_size=1",
    "network.norm_group_size=1",
    "train.batch_size=7",
    "train.iterations=40",
    "train.warmup_iterations=2",
    "train.report_every=5",
    "train.checkpoint_every=10",
)


def load(*overrides):
    return configs.load(None, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return prepare(load().data, tmp_path_factory.mktemp("cache")).folder


@pytest.fixture(scope="module")
def two_workers(ray_cluster, digits, tmp_path_factory):
    """The run directory of a training by two workers, and its reports as they came."""
    out, rows = tmp_path_factory.mktemp("two"), []
    history = train(load("train.num_workers=2"), digits, out, rows.append)
    assert rows == history
    return out, rows


def train_here(config, digits, checkpoint=lambda state: None):
    """The same training by one worker in this process."""
    here = Training(config, torch.from_numpy(load_arrays(digits)[0]))
    here.run(lambda row: None, lambda: checkpoint(here.state()))
    return here


def assert_equal(first, second, **tolerance):
    pairs = zip(first.named_parameters(), second.named_parameters(), strict=True)
    for (name, weight), (_, other) in pairs:
        message = f"{name} differs"
        torch.testing.assert_close(weight, other, **tolerance, msg=message)


def worker_pids():
    """Train workers of the cluster that this process started."""
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit()
        and _read(path / "cmdline").startswith("ray::RayTrainWorker")
        and _parent(_parent(int(path.name))) == os.getpid()
    ]


def _parent(pid):
    return int((_read(Path(f"/proc/{pid}/stat")) or ") ? 0").rpartition(")")[2].split()[1])


def _read(path):
    try:
        return path.read_text()
    except OSError:  # it has ended
        return ""


def test_two_workers_train_what_one_does(two_workers, digits):
    out, rows = two_workers
    here = train_here(load(), digits)
    for row, expected in zip(rows, here.rows, strict=True):
        assert row.iteration == expected.iteration
        assert row.losses == pytest.approx(expected.losses, rel=1e-3)


@pytest.mark.proof
def test_a_killed_worker_changes_no_bit(two_workers, digits, tmp_path):
    killed = []

    def kill(row):
        if not killed and list(tmp_path.glob("training/*/checkpoint-*")):
            assert row.iteration < 30
            killed.extend(worker_pids())
            os.kill(killed[-1], signal.SIGKILL)

    history = train(load("train.num_workers=2"), digits, tmp_path, kill)
    assert len(killed) == 2
    assert [row.losses for row in history] == [row.losses for row in two_workers[1]]
    uninterrupted = load_supernet(two_workers[0] / "supernet")
    assert_equal(load_supernet(tmp_path / "supernet"), uninterrupted, rtol=0, atol=0)


@pytest.mark.proof
def test_a_new_driver_goes_on_bit_by_bit(ray_cluster, digits, tmp_path):
    """The first driver's end left half a checkpoint and a torn list of Ray Train's own."""
    config = load()
    folder = tmp_path / "training" / training.run_name(training._asked(config, digits))
    here = train_here(config, digits, lambda state: write_checkpoint(folder, state))
    (folder / "checkpoint-00000040" / "state.json").unlink()
    (folder / "checkpoint-00000030" / "state.safetensors").write_bytes(b"torn")
    (folder / "checkpoint_manager_snapshot.json").write_text('{"ray_version"')
    seen = []
    history = train(config, digits, tmp_path, seen.append)
    assert [row.iteration for row in seen] == [25, 30, 35, 40]
    assert [row.losses for row in history] == [row.losses for row in here.rows]
    expected = averaged(config, (1, 8, 8), here.state())
    assert_equal(load_supernet(tmp_path / "supernet"), expected, rtol=0, atol=0)
    assert not (tmp_path / "training").exists()


def test_a_finished_training_returns_at_once(two_workers, digits, monkeypatch):
    out, rows = two_workers
    monkeypatch.setattr(training, "fit", None)
    assert train(load("train.num_workers=2"), digits, out, None) == rows
    monkeypatch.setattr(training, "run_name", None)  # nor does newer code train it again
    assert train(load("train.num_workers=2"), digits, out, None) == rows


def test_a_finished_supernet_of_something_else_is_refused_and_stays(
    two_workers, digits, monkeypatch, tmp_path
):
    out, rows = two_workers
    monkeypatch.setattr(training, "fit", None)
    with pytest.raises(DataError, match="with other settings of training: expected .* another"):
        train(load("train.num_workers=2", "train.seed=1"), digits, out, None)
    others = shutil.copytree(digits, tmp_path / "others")
    manifest = json.loads((others / "manifest.json").read_text())
    (others / "manifest.json").write_text(json.dumps({**manifest, "notes": {"another": 1}}))
    with pytest.raises(DataError, match="with other data: expected .* another --out"):
        train(load("train.num_workers=2"), others, out, None)
    assert train(load("train.num_workers=2"), digits, out, None) == rows


def test_a_damaged_supernet_is_not_taken_for_a_finished_one(two_workers, digits):
    out, _ = two_workers
    path = out / "supernet" / "private.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="private.safetensors is damaged"):
        train(load("train.num_workers=2"), digits, out, None)
    path.write_bytes(content)


@pytest.mark.proof
def test_a_training_that_diverges_ends_at_once_with_its_name(ray_cluster, digits, tmp_path):
    config = load("train.num_workers=2", "train.learning_rate=1e30")
    with pytest.raises(Diverged, match="is (nan|inf) at iteration 1;"):
        train(config, digits, tmp_path, lambda row: None)
    assert not list(tmp_path.glob("training/*/checkpoint-*"))


def test_more_workers_than_cpus_are_refused_at_once(ray_cluster, digits, tmp_path):
    config = load("train.num_workers=3", "train.threads=2")
    with pytest.raises(MachineError, match=r"4 CPUs; expected train.num_workers \(3\)"):
        train(config, digits, tmp_path, None)


def test_checkpoints_that_were_written_elsewhere_are_missed(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *arguments: None)
    with pytest.raises(MachineError, match="no checkpoint here; expected storage that all nodes"):
        train(load(), digits, tmp_path, None)


def test_the_cause_of_a_failure_is_told():
    full, bug = MachineError("disk full"), ValueError("a bug")
    died = WorkerHealthCheckFailedError("died", RuntimeError("connection lost"))
    assert _cause(WorkerGroupError("", {0: bug, 1: full})) is full
    assert isinstance(_cause(WorkerGroupError("", {0: bug, 1: died})), MachineError)
    ours = WorkerGroupError("", {0: bug})
    assert _cause(ours) is ours
