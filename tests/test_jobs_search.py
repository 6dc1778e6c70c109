"""A whole search by its command: what it leaves and tells, interrupted and again."""

import json
import shutil
import signal
import sqlite3

import pytest
import yaml
from commands import NOWHERE, STUB, assert_one_line, contents, run, run_until

from orchestration.files import canonical_json, lock
from orchestration.members import FORMAT
from search_spaces.schedule import StepSchedule


def test_a_search_leaves_what_the_contract_says(golden_stub):
    path, found = golden_stub
    assert (found.returncode, found.stderr) == (0, "")
    assert set(contents(path)) == {
        ".kind", ".lock", "config.yaml", "plan.json", "journal.jsonl", "candidates.parquet",
        "front.json", "tracking.json",
        *(f"schedules/{p.name}" for p in (path / "schedules").iterdir()),
    }  # fmt: skip
    front = json.loads((path / "front.json").read_text())
    assert (path / "front.json").read_bytes() == canonical_json(front)
    assert front["format"] == FORMAT and front["quality"] == "fd_stub_400"
    members = {m["key"]: m for m in [front["baseline"], *front["members"]]}
    assert front["recommended"] in members and len(front["members"]) >= 8
    assert front["hypervolume"] > front["hypervolume_uniform"] > 0
    baseline = front["baseline"]
    assert front["reference_point"] == [baseline["macs"], 2 * baseline["quality"]]
    for key, m in members.items():
        content = json.loads((path / "schedules" / f"{key}.json").read_text())
        assert content == m["schedule"] and StepSchedule.from_json(content).key == key
    assert len(list((path / "schedules").iterdir())) == len(members)
    rows = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows[1:-1]] == list(range(96))
    assert rows[-1]["stopped"] == "96 candidates scored"
    assert yaml.safe_load((path / "config.yaml").read_text())["search"]["budget"] == 96


def test_a_search_tells_of_each_generation_and_ends_with_its_front(golden_stub):
    path, found = golden_stub
    lines = found.stdout.splitlines()
    progress = [line.split()[1] for line in lines if line.startswith("search  ")]
    assert progress == ["starts", "16", "32", "48", "64", "80", "96", "done:"]
    front = json.loads((path / "front.json").read_text())
    for m in front["members"]:
        assert any(m["key"] in line for line in lines)
    assert any(f"schedules/{front['recommended']}.json" in line for line in lines)


def mlflow_runs(path):
    """The status of each of MLflow's runs, and the parent of each that has one."""
    with sqlite3.connect(path.parent / "mlflow.db") as database:
        parents = database.execute(
            "select run_uuid, value from tags where key = 'mlflow.parentRunId'"
        ).fetchall()
        runs = database.execute("select run_uuid, status from runs").fetchall()
    return dict(runs), dict(parents)


def test_mlflow_has_a_run_for_the_command_the_search_and_each_schedule(golden_stub):
    path, _ = golden_stub
    front = json.loads((path / "front.json").read_text())
    keys = {m["key"] for m in [front["baseline"], *front["members"], *front["uniform"]]}
    runs, parents = mlflow_runs(path)
    assert set(runs.values()) == {"FINISHED"}
    (command,) = set(runs) - set(parents)
    (search,) = (child for child, parent in parents.items() if parent == command)
    assert sum(parent == search for parent in parents.values()) == len(keys)
    assert len(runs) == 2 + len(keys)


def test_the_same_command_again_is_done_at_once_and_changes_nothing(golden_stub):
    path, first = golden_stub
    before = contents(path)
    runs = mlflow_runs(path)
    again = run("search", *STUB, "--out", path, RAY_ADDRESS=NOWHERE)
    assert (again.returncode, again.stderr) == (0, "")
    assert contents(path) == before
    assert mlflow_runs(path) == runs
    assert "fresh images" not in again.stdout
    done = "search  done: 96 candidates scored\n"
    # the table, and all but the last line, which names a new view
    tables = [found.stdout.partition(done)[2].splitlines()[:-1] for found in (again, first)]
    tables = [[line for line in lines if "front   " not in line] for lines in tables]
    assert tables[0] == tables[1] and len(tables[0]) > 8


def test_other_values_than_the_runs_are_refused(golden_stub):
    path, _ = golden_stub
    before = contents(path)
    found = run("search", *STUB, "--out", path, "--set", "search.seed=1")
    assert_one_line("search", found, 2, "holds a run with other values of search.seed")
    assert contents(path) == before


def test_two_at_once_in_a_run_are_refused(golden_stub):
    path, _ = golden_stub
    with lock(path / ".lock"):
        found = run("search", *STUB, "--out", path)
        assert_one_line("search", found, 4, "is held by pid")


def test_a_damaged_journal_is_told_by_its_line(golden_stub, tmp_path):
    path, _ = golden_stub
    copy = tmp_path / "run"
    shutil.copytree(path, copy)
    lines = (copy / "journal.jsonl").read_text().splitlines(keepends=True)
    lines[9] = lines[9].replace('"generation":0', '"generation":1')
    (copy / "journal.jsonl").write_text("".join(lines))
    found = run("search", *STUB, "--out", copy, RAY_ADDRESS=NOWHERE)
    assert_one_line("search", found, 3, f"{copy}/journal.jsonl, line 10: damaged")


@pytest.mark.proof
def test_a_search_that_is_stopped_and_killed_again_and_again_ends_with_the_same_bytes(
    golden_stub, tmp_path
):
    path, _ = golden_stub
    out = tmp_path / "run"
    command = ("search", *STUB, "--out", out, "--set")
    # with more actors than CPUs
    code, errors = run_until("search  16 ", signal.SIGINT, *command, "score.actors=3")
    assert (code, errors) == (130, "search: interrupted; the same command resumes\n")
    assert not (out / "front.json").exists()
    code, _ = run_until("search  48 ", signal.SIGKILL, *command, "score.actors=1")
    assert code == -signal.SIGKILL and not (out / "front.json").exists()
    code, _ = run_until("front ", signal.SIGKILL, *command, "score.actors=2")
    assert code == -signal.SIGKILL and not (out / "front.json").exists()
    last = run(*command, "score.actors=1")
    assert (last.returncode, last.stderr) == (0, "")
    for name in ("journal.jsonl", "front.json"):
        assert (out / name).read_bytes() == (path / name).read_bytes()
    assert contents(out / "schedules") == contents(path / "schedules")


def test_a_journal_without_its_plan_is_told(golden_stub, tmp_path):
    path, _ = golden_stub
    copy = tmp_path / "run"
    shutil.copytree(path, copy)
    (copy / "plan.json").unlink()
    found = run("search", *STUB, "--out", copy, RAY_ADDRESS=NOWHERE)
    assert_one_line("search", found, 3, "plan.json is missing, by which journal.jsonl was scored")
    assert not (copy / "plan.json").exists()
