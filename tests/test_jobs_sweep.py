"""Sweeps as a user runs them: killed, resumed, with data sets that cannot be used."""

import json
import shutil
import signal
import sqlite3

import pandas as pd
import pytest
from commands import CONFIGS, contents, run, run_until
from stub_search import InProcessPool, generations, records_of

from orchestration import pipeline, setting
from orchestration.config import load
from orchestration.files import canonical_json
from orchestration.results import score_front
from orchestration.rundir import RunDirectory

# What golden-stub.yaml takes from digits.yaml has other values in sweep.yaml.
STUB = ("--config", CONFIGS / "golden-stub.yaml", "--set", "score.max_members=16")
VARIED = (
    "--set", "sweep.data=[{label: golden}, {label: coarse, search: {steps: 8, budget: 40}}]",
    "--set", "sweep.seeds=[0]",
)  # fmt: skip
NAMES = ["golden-nsga2-0", "golden-random-0", "coarse-nsga2-0", "coarse-random-0"]
BROKEN = "coarse-random-0"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A sweep with actors of each search's own, killed; resumed with shared ones and a journal
    that was damaged in between; resumed with that journal gone. Its path and the last two."""
    out = tmp_path_factory.mktemp("sweeps") / "stub"
    command = ("sweep", *STUB, *VARIED, "--out", out, "--set")
    code, _ = run_until("coarse-random-0  16", signal.SIGKILL, *command, "sweep.actors=own")
    assert code == -signal.SIGKILL
    journal = out / "searches" / BROKEN / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(b'"generation":0', b'"generation":1', 1))
    damaged = run(*command, "sweep.actors=shared")
    failed = json.loads((out / "summary.json").read_text())
    shutil.rmtree(journal.parent)
    return out, damaged, failed, run(*command, "sweep.actors=own")


def alone(path, folder):
    """Journal and front of a search's directory, made again in this process without Ray."""
    config = load(path / "config.yaml")
    chosen = setting.stub_setting(config)
    shutil.copy(path / "plan.json", folder)
    problem, journal = pipeline.open_search(config, RunDirectory(folder), chosen)
    pool = InProcessPool()
    pool.scorer, pool.batch_size = chosen.make_scorer(*chosen.args), config.score.batch_size
    found = list(generations(problem, pool))
    journal.append(records_of(found))
    journal.stop(found[-1].stop)
    front = score_front(config, chosen, problem, pool, journal.records, lambda line: None)
    return journal.path.read_bytes(), canonical_json(front)


@pytest.mark.proof
def test_a_damaged_search_fails_alone_in_one_line_and_the_others_are_done(sweep):
    _, damaged, failed, _ = sweep
    assert (damaged.returncode, damaged.stderr.count("\n")) == (3, 1), damaged.stderr
    assert damaged.stderr.startswith("sweep: error: 1 of 4 searches not done")
    (line,) = (s for s in damaged.stdout.splitlines() if s.startswith("not done: "))
    assert line.startswith(f"not done: {BROKEN}: ") and "journal.jsonl, line " in line
    assert "Traceback" not in damaged.stdout
    failures = {row["name"]: row["failure"] for row in failed["searches"]}
    assert [name for name in NAMES if failures[name] is None] == NAMES[:-1]
    assert failures[BROKEN] in line


@pytest.mark.proof
def test_the_same_command_does_only_what_is_not_done(sweep):
    out, damaged, _, last = sweep
    assert (last.returncode, last.stderr) == (0, "")
    assert "= 4 searches (3 done)" in last.stdout
    told = {line.split()[0] for line in last.stdout.splitlines() if " scored   " in line}
    assert told <= {BROKEN} and "search  1 searches" in last.stdout
    rows = json.loads((out / "summary.json").read_text())["searches"]
    assert [row["name"] for row in rows] == NAMES
    assert all(row["failure"] is None for row in rows)


@pytest.mark.proof
def test_every_search_is_to_the_byte_what_it_is_alone(sweep, golden_stub, tmp_path):
    out, *_ = sweep
    command, _ = golden_stub
    for name in NAMES:
        folder = out / "searches" / name
        (tmp_path / name).mkdir()
        journal, front = alone(folder, tmp_path / name)
        assert (folder / "journal.jsonl").read_bytes() == journal
        assert (folder / "front.json").read_bytes() == front
    ours = out / "searches" / NAMES[0]
    for name in ("journal.jsonl", "front.json", "plan.json"):
        assert (ours / name).read_bytes() == (command / name).read_bytes()
    assert contents(ours / "schedules") == contents(command / "schedules")


@pytest.mark.proof
def test_a_done_sweep_needs_no_cluster_and_changes_nothing(sweep):
    out, *_, last = sweep
    before = contents(out)
    nowhere = "127.0.0.1:1"  # who asks for Ray there gets none
    again = run("sweep", *STUB, *VARIED, "--out", out, "--set", "sweep.actors=own",
                RAY_ADDRESS=nowhere)  # fmt: skip
    assert (again.returncode, again.stderr) == (0, "")
    assert contents(out) == before
    assert tables(again.stdout) == tables(last.stdout)


def tables(stdout):
    """What a sweep says from its first table on."""
    lines = stdout.splitlines()
    return lines[[line.strip() for line in lines].index("searches") :]


@pytest.mark.proof
def test_the_summary_is_what_the_fronts_say(sweep):
    out, *_, last = sweep
    table = pd.read_parquet(out / "summary.parquet").set_index("name")
    for name in NAMES:
        front = json.loads((out / "searches" / name / "front.json").read_text())
        row = table.loc[name]
        assert row["hypervolume_ratio"] == front["hypervolume"] / front["hypervolume_uniform"]
        assert row["num_members"] == len(front["members"])
        assert f"{row['hypervolume_ratio']:.2f} x" in last.stdout
    assert {"sweep.html", "sweep.png", "summary.json"} <= {path.name for path in out.iterdir()}


@pytest.mark.proof
def test_mlflow_has_the_sweep_its_searches_and_their_schedules_with_the_same_metrics(sweep):
    out, *_ = sweep
    with sqlite3.connect(out.parent / "mlflow.db") as database:
        active = "select run_uuid, name from runs where lifecycle_stage = 'active'"
        names = dict(database.execute(active))
        parents = dict(database.execute(
            "select run_uuid, value from tags where key = 'mlflow.parentRunId'"))  # fmt: skip
        rows = database.execute("select run_uuid, key, value from params")
        params = {(r, key): value for r, key, value in rows}
        metrics = database.execute("select run_uuid, key from latest_metrics").fetchall()
        statuses = dict(database.execute("select run_uuid, status from runs"))
    (top,) = set(names) - set(parents)
    searches = {r: names[r] for r, parent in parents.items() if parent == top and r in names}
    assert {NAMES[0], *NAMES[1:3]} <= set(searches.values()) <= set(NAMES)
    keys_of = {r: {key for of, key in metrics if of == r} for r in names}
    for search, name in searches.items():
        dataset, optimizer, seed = name.split("-")
        told = [params[search, key] for key in ("dataset", "search.optimizer", "search.seed")]
        assert told == [dataset, optimizer, seed]
        below = [r for r, parent in parents.items() if parent == search and r in names]
        if name != BROKEN:  # whose directory, and so whose run, was begun anew
            assert len(below) >= 5 and statuses[search] == "FINISHED"
        for schedule in below:
            assert params[schedule, "dataset"] == dataset
            assert {"quality", "relative_quality", "savings", "macs"} <= keys_of[schedule]
    finished = [keys_of[r] for r in searches if statuses[r] == "FINISHED"]
    common = {"hypervolume", "front/hypervolume_ratio", "recommended/relative_quality"}
    assert all(common <= keys for keys in finished)


@pytest.mark.proof
def test_a_sweep_may_grow_but_not_change(sweep):
    out, *_ = sweep
    before = contents(out)
    changed = run("sweep", *STUB, *VARIED, "--out", out, "--set", "search.population=8")
    assert changed.returncode == 2
    assert "holds a sweep with other values of search.population" in changed.stderr
    grown = run("sweep", *STUB, *VARIED, "--out", out, "--set", "sweep.seeds=[0,1]", "--dry-run")
    assert (grown.returncode, grown.stderr) == (0, "")
    assert "2 data sets x 2 optimizers x 2 seeds = 8 searches (4 done), 0 sup" in grown.stdout
    assert contents(out) == before


TOY = """
network: {block_out_channels: [8, 16], attention: [false, false], norm_group_size: 2}
train: {iterations: 12, batch_size: 16, warmup_iterations: 2, report_every: 4, num_workers: 1}
features: {iterations: 20}
search: {steps: 5, num_images: 80, population: 12, budget: 24, budget_calls: null}
score: {num_images: 160, batch_size: 40, block_size: 10, max_members: 4, memory_format: contiguous,
        dtype: float32, compile: never, actors: 2}
sweep:
  data:
    - {label: first}
    - {label: same, search: {steps: 4}}
    - {label: other, train: {seed: 1}}
    - {label: broken, network: {norm_group_size: 4}}
  optimizers: [nsga2]
  seeds: [0]
"""


@pytest.mark.proof
def test_supernets_are_trained_once_each_and_one_that_cannot_be_built_fails_alone(tmp_path):
    """And with networks too, searches that share actors are what they are alone."""
    (tmp_path / "toy.yaml").write_text(TOY)
    argv = ("--config", tmp_path / "toy.yaml", "--out", tmp_path / "toy")
    planned = run("sweep", *argv, "--dry-run")
    assert planned.returncode == 3 and not (tmp_path / "toy").exists()
    assert "4 searches (0 done), 3 supernets (0 trained)" in planned.stdout
    assert "cannot be used: network: width 0.75: 6 channels" in planned.stdout
    found = run("sweep", *argv)
    assert (found.returncode, found.stderr.count("\n")) == (3, 1), found.stderr
    assert "not done: broken-nsga2-0: network: width 0.75" in found.stdout
    assert "train   2 supernets, " in found.stdout
    supernets = [path for path in (tmp_path / "toy" / "supernets").iterdir()]
    assert len(supernets) == 2 and all((p / "supernet.png").exists() for p in supernets)
    searches = tmp_path / "toy" / "searches"
    owner = {label: (searches / f"{label}-nsga2-0" / "supernet").resolve()
             for label in ("first", "same", "other")}  # fmt: skip
    assert owner["first"] == owner["same"] != owner["other"]
    assert set(owner.values()) == {path / "supernet" for path in supernets}
    for label in owner:
        assert (searches / f"{label}-nsga2-0" / "pareto.html").exists()
    # alone, on the same supernet
    ours = searches / "other-nsga2-0"
    single = run(
        "search", "--config", ours / "config.yaml", "--supernet", owner["other"],
        "--set", "score.actors=1", "--out", tmp_path / "alone",
    )  # fmt: skip
    assert (single.returncode, single.stderr) == (0, "")
    for name in ("journal.jsonl", "front.json"):
        assert (tmp_path / "alone" / name).read_bytes() == (ours / name).read_bytes()
