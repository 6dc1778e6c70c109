import os
import socket

import pytest
import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.runtime_env.runtime_env import _merge_runtime_env

from orchestration import cluster as module
from orchestration import config as configs
from orchestration.cluster import cluster, num_cpus
from orchestration.errors import MachineError


def load(*overrides):
    return configs.load(None, ["search.budget=1", *overrides])


@pytest.fixture
def asked(monkeypatch):
    """What Ray is asked for, in place of asking it."""
    calls = []
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    monkeypatch.setattr(module.signals, "install", lambda: calls.append("signals"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv(RAY_JOB_CONFIG_JSON_ENV_VAR, raising=False)
    return calls


@pytest.fixture
def listener():
    """An address where something answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_command_has_a_cluster_of_its_own_unless_told_of_one(asked):
    with cluster(load()):
        options = asked[0]
        assert options["address"] == "local" and options["include_dashboard"] is False
        assert options["runtime_env"] == {}
        assert asked[1:] == ["signals"]  # after Ray has put its own in place
    assert asked[2:] == ["shutdown"]


def test_a_submitted_job_joins_the_cluster_it_was_submitted_to(asked, listener, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", listener)
    monkeypatch.setenv(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}")
    with cluster(load()):
        assert asked[0]["address"] == listener and "include_dashboard" not in asked[0]
        assert "working_dir" not in asked[0]["runtime_env"]  # the job has brought it


def test_a_given_cluster_is_sent_the_code(asked, listener, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with cluster(load(f"ray.address={listener}")):
        assert asked[0]["address"] == listener
        assert asked[0]["runtime_env"]["working_dir"] == str(module.ROOT)


def test_a_cluster_that_the_environment_names_is_sent_the_code(asked, listener, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", listener)
    with cluster(load()):
        assert asked[0]["address"] == listener
        assert asked[0]["runtime_env"]["working_dir"] == str(module.ROOT)
    asked.clear()
    monkeypatch.setenv("RAY_ADDRESS", "local")
    with cluster(load()):
        assert asked[0]["runtime_env"] == {}


def test_every_process_has_one_thread_unless_told_otherwise(asked, listener, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    with cluster(load()):
        assert os.environ["OMP_NUM_THREADS"] == "1"  # which workers inherit
        assert os.environ["MKL_NUM_THREADS"] == "3"
    with cluster(load(f"ray.address={listener}")):
        variables = asked[-2]["runtime_env"]["env_vars"]
        assert (variables["OMP_NUM_THREADS"], variables["MKL_NUM_THREADS"]) == ("1", "3")


def test_a_job_may_set_variables_that_workers_are_given(asked, listener, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # by the job's own environment
    monkeypatch.delenv("RAY_OVERRIDE_JOB_RUNTIME_ENV", raising=False)
    with cluster(load(f"ray.address={listener}")):
        job = {"env_vars": {"OMP_NUM_THREADS": "2", "MINE": "1"}, "working_dir": "gcs://job.zip"}
        ours, overrides = asked[0]["runtime_env"], os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"]
        merged = _merge_runtime_env(job, ours, override=overrides == "1")
    assert merged["env_vars"]["OMP_NUM_THREADS"] == "2" and merged["env_vars"]["MINE"] == "1"


def test_what_fails_while_it_is_used_is_not_taken_for_the_clusters_fault(asked):
    with pytest.raises(ValueError, match="^odd$"), cluster(load()):
        raise ValueError("odd")
    assert asked[-1] == "shutdown"


def fail(monkeypatch, times, error):
    """Lets Ray fail so often before it starts."""
    outcomes = []

    def init(**options):
        outcomes.append(len(outcomes) < times)
        if outcomes[-1]:
            raise error

    monkeypatch.setattr(ray, "init", init)
    return outcomes


def test_a_start_that_takes_too_long_is_tried_again(asked, monkeypatch):
    slow = Exception("The current node timed out during startup.")
    outcomes = fail(monkeypatch, module.START_ATTEMPTS - 1, slow)
    with cluster(load()):
        assert outcomes == [True] * (module.START_ATTEMPTS - 1) + [False]
    assert asked.count("shutdown") == module.START_ATTEMPTS  # what was half started, and the end


@pytest.mark.parametrize(
    ("error", "attempts"), [(Exception("timed out"), module.START_ATTEMPTS), (OSError("no"), 1)]
)
def test_a_cluster_that_does_not_start_is_told(asked, monkeypatch, error, attempts):
    outcomes = fail(monkeypatch, 9, error)
    with pytest.raises(MachineError, match="no Ray cluster on this machine"), cluster(load()):
        pass
    assert len(outcomes) == attempts


def test_a_cluster_that_does_not_answer_is_asked_once(asked, listener, monkeypatch):
    outcomes = fail(monkeypatch, 9, Exception("timed out"))
    with pytest.raises(MachineError, match="no Ray cluster at"), cluster(
        load(f"ray.address={listener}")
    ):
        pass
    assert len(outcomes) == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1"])
def test_a_cluster_that_is_not_there_is_told_at_once(asked, address):
    with pytest.raises(MachineError, match="no Ray cluster at .*:1: "), cluster(
        load(f"ray.address='{address}'")
    ):
        raise AssertionError("it was found")
    assert asked == []


def test_what_ray_says_of_a_cluster_is_passed_on(asked, monkeypatch):
    def refuse(**options):
        raise ConnectionError("wrong version")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(MachineError, match="no Ray cluster on this machine: wrong version"):
        cluster(load()).__enter__()


def test_the_cpus_are_those_of_the_whole_cluster(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 5.0, "memory": 1e9})
    assert num_cpus() == 5
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"memory": 1e9})
    assert num_cpus() == 1
