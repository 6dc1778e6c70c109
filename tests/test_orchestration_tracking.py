"""Tracking told twice is there once; a lost server costs a warning; the front's runs are it."""

import json
import logging
import os
import signal
from contextlib import suppress

import pytest
from mlflow.exceptions import MlflowException

from orchestration import signals, tracking
from orchestration.errors import MachineError
from orchestration.members import all_schedules
from orchestration.tracked_front import MAX_VIEWS, outdated_views, view_tag
from orchestration.tracking import Tracker
from tests.fakes import fake_front, fake_latency

PARENT = "mlflow.parentRunId"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One database for all tests: a new one takes seconds. Each test has its own experiment."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def opened(store, request):
    def open_tracker():
        return Tracker(f"sqlite:///{store}/mlflow.db", request.node.name, store / "artifacts")

    return open_tracker


def runs_of(tracker, wanted=""):
    return tracker.client.search_runs([tracker.experiment_id], wanted, max_results=1000)


def history(tracker, run_id, key):
    points = tracker.client.get_metric_history(run_id, key)
    return sorted((point.step, point.value) for point in points)


def small_front():
    """The fake front cut down to a few schedules, for what is done many times over."""
    front = fake_front()
    kept = front["members"][-2:]
    uniform = front["uniform"][:2]
    return {**front, "uniform": uniform, "members": kept, "recommended": kept[0]["key"]}


@pytest.fixture(scope="module")
def told(store):
    """A whole command with a whole front, for tests that only look."""
    tracker = Tracker(f"sqlite:///{store}/mlflow.db", "told", store / "artifacts")
    return tracker, *tell(tracker, fake_front())


def tell(tracker, front=None):
    """A whole command: training, a search, its front."""
    with tracker.run("demo", "4f-demo", {"search.budget": 300, "data.path": None}) as command:
        for iteration in (25, 50):
            command.log({"loss/width 1": 1 / iteration, "images_per_s": 400}, iteration)
        with command.child("nsga2 seed 0", "4f-search", {"search.seed": 0}) as search:
            search.log({"hypervolume": 0.5}, 32)
            search.front(front or small_front(), fake_latency(fake_front()))
    return command, search


def snapshot(tracker):
    """All that the runs of an experiment hold, and the length of each metric's history."""
    return {
        run.info.run_id: (
            run.info.run_name,
            run.info.status,
            run.data.params,
            run.data.metrics,
            {key: len(history(tracker, run.info.run_id, key)) for key in run.data.metrics},
            run.data.tags,
        )
        for run in runs_of(tracker)
    }


def test_runs_are_a_tree_and_hold_what_the_front_says(told):
    tracker, command, search = told
    front, latency = fake_front(), fake_latency(fake_front())
    runs = {run.info.run_name: run for run in runs_of(tracker)}
    assert len(runs) == 2 + 34
    assert all(run.info.status == "FINISHED" for run in runs.values())
    assert PARENT not in runs["demo"].data.tags
    assert runs["demo"].data.params == {"search.budget": "300", "data.path": "None"}
    assert runs["nsga2 seed 0"].data.tags[PARENT] == command.run_id
    for entry in all_schedules(front):
        run, member = runs[entry.title], entry.member
        assert run.data.tags[PARENT] == search.run_id
        assert run.data.params == {
            "key": member["key"],
            "role": entry.role,
            "num_steps": str(len(member["schedule"]["steps"])),
            "metric": "fd_digits_2k",
            "search.seed": "0",
        }
        told = run.data.metrics
        assert [told["quality"], told["macs"], told["savings"]] == [
            member["quality"],
            member["macs"],
            member["savings"],
        ]
        assert [told["quality_low"], told["quality_high"]] == member["quality_ci"]
        assert [told["delta_low"], told["delta_high"]] == member["delta_ci"]
        assert told.get("savings_uniform") == member["savings_uniform"]
        measured = latency.get(member["key"], {})
        assert told.get("latency_ms") == measured.get("latency_ms")
        assert told.get("speedup") == measured.get("speedup")
        assert told.get("latency_predicted_ms") == measured.get("latency_predicted_ms")
        assert told.get("latency_error") == measured.get("latency_error")


def test_a_search_holds_its_recommended_schedule_and_a_note(told):
    tracker, _, search = told
    run = tracker.client.get_run(search.run_id)
    (chosen,) = (e.member for e in all_schedules(fake_front()) if e.role == "recommended")
    assert run.data.metrics["recommended/savings"] == chosen["savings"]
    assert run.data.metrics["recommended/savings_uniform"] == chosen["savings_uniform"]
    front = fake_front()
    ratio = front["hypervolume"] / front["hypervolume_uniform"]
    assert run.data.metrics["front/hypervolume_ratio"] == ratio
    note = run.data.tags["mlflow.note.content"].splitlines()
    (row,) = (line for line in note if line.startswith("| m05 ★"))
    assert chosen["key"] in row
    assert {line.count("|") for line in note if line.startswith("|")} == {9}


def test_members_of_the_front_have_the_same_metrics(told):
    members = runs_of(told[0], "params.role = 'member'")
    assert len(members) == 9
    shared = set.intersection(*(set(run.data.metrics) for run in members))
    assert {"quality", "macs", "savings", "latency_ms", "speedup"} <= shared


def test_the_ui_lists_the_baseline_first_then_the_members(told):
    tracker, _, search = told
    below = f"tags.`{PARENT}` = '{search.run_id}'"
    newest_first = tracker.client.search_runs(
        [tracker.experiment_id], below, order_by=["start_time DESC"]
    )
    assert newest_first[0].info.run_name == "baseline"
    assert newest_first[1].info.run_name == "m01 saves 16 %"


def test_told_again_nothing_is_there_twice(opened):
    tracker = opened()
    tell(tracker)
    before = snapshot(tracker)
    tell(opened())
    assert snapshot(tracker) == before


def test_a_resumed_command_adds_what_is_new_and_keeps_what_is_there(opened):
    tracker = opened()
    command, _ = tell(tracker)
    with opened().run("demo", "4f-demo", {}) as resumed:
        resumed.log({"loss/width 1": 0.5}, 50)
        resumed.log({"loss/width 1": 0.25}, 75)
    assert resumed.run_id == command.run_id
    assert history(tracker, command.run_id, "loss/width 1") == [(25, 0.04), (50, 0.02), (75, 0.25)]


def test_another_front_replaces_only_what_differs(opened):
    tracker, front = opened(), small_front()
    _, search = tell(tracker)
    before = {run.info.run_name: run.info.run_id for run in runs_of(tracker)}
    changed, gone = front["members"]
    changed["quality"] += 0.001
    front["members"].remove(gone)
    tell(opened(), front)
    after = {run.info.run_name: run.info.run_id for run in runs_of(tracker)}
    assert set(before) - set(after) == {"m02 saves 52 %"}
    assert {name for name in after if after[name] != before[name]} == {"m01 saves 44 %"}
    replaced = tracker.client.get_run(after["m01 saves 44 %"])
    assert replaced.data.metrics["quality"] == changed["quality"]
    assert history(tracker, search.run_id, "recommended/macs") == [(0, changed["macs"])]
    assert len(history(tracker, search.run_id, "recommended/quality")) == 2


def test_a_schedule_that_was_cut_off_is_told_anew(opened, monkeypatch):
    tracker, kill = opened(), KeyboardInterrupt()
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(tracker.client, "set_terminated", _raiser(kill))  # after the first schedule
        tell(tracker)
    assert len(runs_of(tracker, "params.role != 'none'")) == 1
    tell(opened())
    schedules = runs_of(tracker, "params.role != 'none'")
    assert sorted(run.info.run_name for run in schedules) == sorted(
        entry.title for entry in all_schedules(small_front())
    )
    assert {run.info.status for run in schedules} == {"FINISHED"}


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")],
)
def test_a_run_ends_as_its_body_does(opened, error, status):
    tracker = opened()
    with suppress(ValueError, KeyboardInterrupt), tracker.run("demo", "4f", {}) as run:
        assert tracker.client.get_run(run.run_id).info.status == "RUNNING"
        if error is not None:
            raise error
    assert tracker.client.get_run(run.run_id).info.status == status
    with tracker.run("demo", "4f", {}) as again:
        assert again.run_id == run.run_id
        assert tracker.client.get_run(run.run_id).info.status == "RUNNING"


def test_a_signal_in_the_middle_of_a_write_leaves_nothing_locked(opened, monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    signals.install()
    tracker = opened()
    write = tracker.client.log_batch

    def interrupted(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        write(*args, **kwargs)

    with pytest.raises(KeyboardInterrupt), tracker.run("a", "a", {}) as run:
        monkeypatch.setattr(tracker.client, "log_batch", interrupted)
        run.log({"hypervolume": 0.5}, 16)
    signal.signal(signal.SIGINT, before)
    assert [r.info.status for r in runs_of(tracker)] == ["KILLED"]
    assert history(tracker, run.run_id, "hypervolume") == [(16, 0.5)]


def test_a_child_is_its_parents_alone(opened):
    tracker = opened()
    with tracker.run("a", "a", {}) as first, tracker.run("b", "b", {}) as second:
        one, other = first.child("search", "search", {}), second.child("search", "search", {})
        assert one.run_id != other.run_id
        assert first.child("search", "search", {}).run_id == one.run_id


def test_what_a_server_missed_is_sent_when_it_answers_again(opened, monkeypatch, caplog):
    tracker = opened()
    monkeypatch.setattr(tracking, "RETRY_S", 0.0)
    with tracker.run("demo", "4f", {}) as run:
        run.log({"loss": 0.5}, 1)
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(tracker.client, "log_batch", _no_answer)
            run.log({"loss": 0.25}, 2)
            run.log({"loss": 0.125}, 3)
        assert "tracked later: gone" in caplog.text
        run.log({"loss": 0.0625}, 4)
    assert history(tracker, run.run_id, "loss") == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)]


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(opened, monkeypatch):
    tracker, calls = opened(), []
    with tracker.run("demo", "4f", {}) as run:
        with monkeypatch.context() as patch:
            patch.setattr(tracker.client, "log_batch", lambda *_, **__: _no_answer(calls))
            for step in range(5):
                run.log({"loss": 1.0}, step)
        assert len(calls) == 1
    assert len(history(tracker, run.run_id, "loss")) == 5  # sent when the run ended


def test_a_front_that_cannot_be_tracked_is_a_machine_error(opened, monkeypatch):
    tracker = opened()
    with tracker.run("demo", "4f", {}) as run, monkeypatch.context() as patch:
        patch.setattr(tracker.client, "create_run", _no_answer)
        with pytest.raises(MachineError, match="gone"):
            run.front(small_front(), {})


def _raiser(error):
    def call(*args, **kwargs):
        raise error

    return call


def _no_answer(calls=None, *args, **kwargs):
    if isinstance(calls, list):
        calls.append(1)
    raise MlflowException("gone")


def test_pictures_lie_under_the_artifact_root(opened, store, tmp_path):
    tracker = opened()
    picture = tmp_path / "pareto.png"
    with tracker.run("demo", "4f", {}) as run:
        for content in (b"old", b"new"):
            picture.write_bytes(content)
            run.write(picture)
    (stored,) = (store / "artifacts").rglob("pareto.png")
    assert stored.read_bytes() == b"new"
    assert run.run_id in stored.parts
    with pytest.raises(MachineError, match="missing.png"):
        run.write(tmp_path / "missing.png")


def test_the_view_charts_the_schedules_of_its_command(opened):
    tracker = opened()
    command, _ = tell(tracker)
    with tracker.run("other", "4f-other", {}) as other:
        other.front(small_front(), {})
    tags = tracker.client.get_experiment(tracker.experiment_id).tags
    view = json.loads(tags[view_tag(command.run_id)])
    assert view["name"] == "demo: front"
    state = json.loads(view["state"])
    found = runs_of(tracker, state["searchFilter"])
    assert {run.info.run_name for run in found} == {e.title for e in all_schedules(small_front())}
    assert len(found) == 4
    sections = {section["uuid"] for section in state["compareRunSections"]}
    for chart in state["compareRunCharts"]:
        assert chart["metricSectionId"] in sections
        axes = {chart["xaxis"]["key"], chart["yaxis"]["key"]}
        assert any(axes <= set(run.data.metrics) for run in found)
    assert f"viewStateShareKey=stepwise-{command.run_id}" in command.link("http://127.0.0.1:5000")


def test_old_views_go_and_those_of_others_stay():
    ours = {view_tag(f"{i:03d}"): json.dumps({"createdAt": -i}) for i in range(MAX_VIEWS + 3)}
    tags = {**ours, "mlflow.sharedViewState.mine": "{}", "team": "x"}
    assert set(outdated_views(tags)) == {view_tag(f"{i:03d}") for i in range(20, 23)}
    assert outdated_views({}) == []


@pytest.mark.parametrize("length", [10, 160, 161, 5000])
def test_a_reason_is_one_line_that_keeps_its_ends(length):
    text = ("api/" + "x" * (length - 11) + "refused")[:length]
    reason = tracking._reason(MlflowException(f"{text}\nmore"))
    assert len(reason) <= 160
    assert reason[:4] == text[:4]
    assert reason[-7:] == text[-7:]


def test_a_deleted_experiment_is_restored(opened):
    tracker = opened()
    tracker.client.delete_experiment(tracker.experiment_id)
    assert opened().experiment_id == tracker.experiment_id
    assert tracker.client.get_experiment(tracker.experiment_id).lifecycle_stage == "active"
