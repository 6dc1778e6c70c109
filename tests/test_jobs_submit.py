"""A search by `ray job submit` on a head that is started here, as a user of a cluster runs it."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RAY = Path(sys.executable).with_name("ray")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def environment():
    """An activated environment, a token as a cluster has one, no address of another cluster."""
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {
        **inherited,
        "PATH": f"{RAY.parent}{os.pathsep}{inherited['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


@pytest.fixture(scope="module")
def head(environment):
    """Address of the jobs API of a head of its own."""
    dashboard = free_port()
    ports = {
        "--port": free_port(),
        "--dashboard-port": dashboard,
        "--ray-client-server-port": free_port(),
        "--dashboard-agent-listen-port": free_port(),
    }
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", "--dashboard-host=127.0.0.1"]
    command += [f"{option}={port}" for option, port in ports.items()]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        wait_until_answers(address, process)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_until_answers(address, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except urllib.error.HTTPError:
            return  # it answers, and asks for a token
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(f"the head at {address} does not answer")


def submit(head, environment, *argv):
    """Runs a command as a job; what its client wrote."""
    job = subprocess.run(
        [RAY, "job", "submit", "--address", head, "--working-dir", ROOT, "--", "python", *argv],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    return job.stdout


def test_a_submitted_search_leaves_its_front_where_it_was_told(head, environment, tmp_path):
    out = tmp_path / "runs" / "submitted"
    search = ["-m", "jobs.search", "--config", "jobs/configs/golden-stub.yaml", "--out", out]
    told = submit(head, environment, *search)
    assert "search  done: 96 candidates scored" in told
    front = json.loads((out / "front.json").read_text())
    assert front["format"] == "step-front/1"
    assert len((out / "journal.jsonl").read_bytes().splitlines()) == 1 + 96 + 1
    assert {path.stem for path in (out / "schedules").iterdir()} >= {
        member["key"] for member in front["members"]
    }


def test_a_submitted_sweep_leaves_all_its_searches_where_it_was_told(head, environment, tmp_path):
    out = tmp_path / "runs" / "sweep"
    sweep = ["-m", "jobs.sweep", "--config", "jobs/configs/golden-stub.yaml", "--out", out]
    varied = "sweep.data=[{label: a}, {label: b, search: {steps: 10}}]"
    values = (
        varied, "sweep.optimizers=[nsga2]", "sweep.seeds=[0]", "search.budget=32",
        "sweep.actors=own", "score.actors=1",
    )  # fmt: skip
    told = submit(head, environment, *sweep, *(part for v in values for part in ("--set", v)))
    assert f"Report:  {out}/sweep.html" in told
    summary = json.loads((out / "summary.json").read_text())
    names = {"a-nsga2-0", "b-nsga2-0"}
    assert {row["name"] for row in summary["searches"]} == names
    assert all(row["failure"] is None for row in summary["searches"])
    for name in names:
        journal = (out / "searches" / name / "journal.jsonl").read_bytes()
        assert len(journal.splitlines()) == 1 + 32 + 1
