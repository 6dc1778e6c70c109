"""Where MLflow keeps the runs: what is refused, who waits for whom, and what a run is known by."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestration import tracking_store
from orchestration.errors import ConfigError, DataError, MachineError
from orchestration.files import lock
from orchestration.tracking import Tracker
from orchestration.tracking_store import alone_with, identity_of, settle_environment


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/x", "htp://host", "sqlit:///x.db", ""])
def test_a_store_that_mlflow_does_not_take_is_a_config_error(uri, tmp_path):
    with pytest.raises(ConfigError, match=r"tracking\.uri .* sqlite:"):
        Tracker(uri, "stepwise", tmp_path)


def test_a_server_that_is_not_there_is_a_machine_error(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(MachineError, match=r"Connection refused; expected a tracking server"):
        Tracker(uri, "stepwise", tmp_path)


def test_a_server_that_is_silent_is_a_machine_error(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # by default 5, twice
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(MachineError, match="timed out"):
            Tracker(uri, "stepwise", tmp_path)


def test_settings_are_those_of_the_user_first(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    settle_environment()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_a_database_is_set_up_by_one_driver_at_a_time(tmp_path):
    uri, order = f"sqlite:///{tmp_path}/new/mlflow.db", []

    def second():
        with alone_with(uri):
            order.append("second")

    with alone_with(uri):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_waiting_for_a_database_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking_store, "PATIENCE_S", 0.0)
    with (
        lock(tmp_path / "mlflow.db.lock"),
        pytest.raises(MachineError, match="held by"),
        alone_with(f"sqlite:///{tmp_path}/mlflow.db"),
    ):
        pass


def test_a_place_that_cannot_be_written_is_a_machine_error_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write"):
        Tracker(f"sqlite:///{tmp_path}/file/mlflow.db", "stepwise", tmp_path)


def test_a_server_needs_no_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with alone_with("http://127.0.0.1:1"):
        assert list(tmp_path.iterdir()) == []


def test_a_run_directory_keeps_its_identity_and_shares_it_with_none(tmp_path):
    first = identity_of(tmp_path / "a")
    assert identity_of(tmp_path / "a") == first != identity_of(tmp_path / "b")
    (tmp_path / "a" / "tracking.json").unlink()  # the directory is gone and made again
    assert identity_of(tmp_path / "a") != first
    (tmp_path / "a" / "tracking.json").write_text("[]")
    with pytest.raises(DataError, match="identity"):
        identity_of(tmp_path / "a")


def test_what_surrounds_tracking_imports_no_mlflow():
    code = (
        "import sys, orchestration.tracked_front, orchestration.tracking_store;"
        "sys.exit('mlflow' in sys.modules)"
    )
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
