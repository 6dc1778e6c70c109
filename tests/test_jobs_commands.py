import json
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from commands import CONFIGS, contents, run, run_until
from fakes import fake_front

from orchestration.files import canonical_json, lock, write_json, write_manifest
from orchestration.members import FORMAT
from search_spaces.schedule import StepSchedule

COMMANDS = ("demo", "train", "search", "sweep", "score", "sample", "impute")
STUB = ("--config", CONFIGS / "golden-stub.yaml")
NOWHERE = "127.0.0.1:1"  # who asks for Ray there gets none
SCHEDULE = {
    "format": "step-schedule/1", "num_train_timesteps": 1000, "betas": "linear",
    "prediction": "epsilon", "sampler": "ddim", "eta": 0.0, "clip_sample": True,
    "steps": [{"t": 900, "width": 0.5}, {"t": 300, "width": 1.0}],
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Arguments to get wrong: configurations, schedules, a run without a supernet, one with."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "broken.yaml").write_text("search: [budget")
    (folder / "unknown.yaml").write_text("serch: {budget: 5}")
    (folder / "file").write_text("")
    (folder / "other").mkdir()
    (folder / "other" / "config.yaml").write_text("search: {seed: 5, budget: 300}")
    rising = {**SCHEDULE, "steps": SCHEDULE["steps"][::-1]}
    for name, content in {"schedule": SCHEDULE, "rising": rising, "list": [1]}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    for name in ("run", "broken"):
        (folder / name / "schedules").mkdir(parents=True)
        (folder / name / "schedules" / "schedule.json").write_text(json.dumps(SCHEDULE))
        (folder / name / "supernet").mkdir()
    (folder / "broken" / "supernet" / "manifest.json").write_text("{}")
    # as much of a supernet as is looked at before it is loaded
    description = {"format": "step-supernet/1", "widths": [1.0, 0.75, 0.5, 0.25], "meta": {}}
    write_json(folder / "run" / "supernet" / "supernet.json", description)
    write_manifest(folder / "run" / "supernet", ["supernet.json"], {})
    # a front, and schedules, that the supernet beside them cannot run
    narrow = {**description, "widths": [1.0], "meta": {"diffusion": {"betas": "linear"}}}
    write_json(folder / "narrow" / "supernet" / "supernet.json", narrow)
    write_manifest(folder / "narrow" / "supernet", ["supernet.json"], {})
    write_json(folder / "narrow" / "front.json", fake_front())
    wide = {**SCHEDULE, "betas": "squaredcos_cap_v2", "steps": [{"t": 900, "width": 1.0}]}
    write_json(folder / "narrow" / "cosine.json", wide)
    return folder


# command, arguments, exit code, what the one line on stderr holds
WRONG = [
    ("search", "--set search.budgett=5", 2, "unknown key; did you mean 'search.budget'?"),
    ("search", "--config {files}/unknown.yaml", 2, "serch.budget: unknown key; did you mean"),
    ("search", "--config {files}/broken.yaml", 2, "broken.yaml"),
    ("search", "--config {files}/none.yaml", 2, "none.yaml: No such file"),
    ("search", "--set search.budget=0", 2, "search.budget: got 0, expected"),
    ("search", "--set search.budget=null", 2, "expected a stopping rule: at least one of"),
    ("search", "--set score.noise_seed=0", 2, "score.noise_seed: got 0, expected another"),
    ("search", "--set search.steps=2000", 2, "search.steps: got 2000, expected at most"),
    ("search", "--budget 5", 2, "unrecognized arguments: --budget 5"),
    ("search", "--supernet {files}/none", 3, "no supernet in {files}/none: expected a folder"),
    ("search", "--supernet {files}/broken/supernet", 3, "expected an object with 'files'"),
    ("search", "--supernet {files}/run/supernet --set supernet.widths=[1,.6]", 2, "[0.6, 1.0]"),
    ("search", "--dry-run --out {files}/other", 2, "other values of search.seed"),
    ("search", "--out {files}/file/run", 4, "cannot write"),
    ("train", "--set data.name=mnist", 2, 'data.name: got "mnist", expected \'digits\''),
    ("train", "--set supernet.widths=[.5,.25]", 2, "supernet.widths: got"),
    ("train", "--dry-run --set supernet.widths=[1,.3]", 2, "network: width 0.3: 32 channels"),
    ("train", "--set train.batch_size=many", 2, 'train.batch_size: got "many", expected a'),
    ("demo", "--set train.iterations=0", 2, "train.iterations: got 0"),
    ("demo", "--supernet {files}", 2, "unrecognized arguments: --supernet"),
    ("sweep", "--set sweep.sedes=[1]", 2, "sweep.sedes: unknown key; did you mean 'sweep.seeds'?"),
    ("sweep", "--set sweep.data=[{{data:]", 2, "sweep.data: got [{{data:], expected a value"),
    ("sweep", "--config {files}/unknown.yaml", 2, "serch.budget: unknown key; did you mean"),
    ("sweep", "--set search.seed=9", 2, "search.seed: got 9, expected nothing: sweep.seeds sets"),
    ("score", "", 2, "one of the arguments --schedule --front is required"),
    ("score", "--front {files}/run", 3, "run/front.json: No such file"),
    ("score", "--front {files} --schedule {inside}", 2, "not allowed with argument"),
    ("score", "--schedule {files}/none.json", 3, "none.json: No such file"),
    ("score", "--schedule {files}/file", 3, "file is damaged"),
    ("score", "--schedule {files}/list.json", 3, "list.json: schedule is [1], expected an"),
    ("score", "--schedule {files}/rising.json", 3, "steps[1].t is 900, expected 0 to 299"),
    ("score", "--schedule {files}/schedule.json", 3, "no supernet in "),
    ("score", "--schedule {inside} --num-images 0", 2, "--num-images: got 0, expected at least"),
    ("score", "--schedule {inside} --num-images 99", 2, "got 99, expected at least 100"),
    ("sample", "--schedule {inside} --num-images 0", 2, "got 0, expected at least 1"),
    ("sample", "--schedule {inside} --seed -1", 2, "--seed: got -1, expected at least 0"),
    ("sample", "--schedule {inside} --seed 4294967296", 2, "expected at most 4294967295"),
    ("sample", "--schedule {broken}", 3, "manifest.json: expected an object with 'files'"),
    *(
        (name, f"--dry-run --supernet {{files}}/narrow/supernet {which}", 2, expected)
        for name, which, expected in (
            ("sample", "--schedule {inside}", "widths [0.5, 1.0]: expected those of {files}/narr"),
            ("sample", "--schedule {files}/narrow/cosine.json", "betas: got squaredcos_cap_v2,"),
            ("score", "--schedule {inside}", "widths [0.5, 1.0]: expected those of {files}/narro"),
            ("score", "--schedule {files}/narrow/cosine.json", "betas: got squaredcos_cap_v2,"),
            ("score", "--front {files}/narrow", "widths [0.25, 0.5, 0.75, 1.0]: expected th"),
        )
    ),
]


def fill(text, files):
    """A text of arguments with the places of files filled in."""
    inside, broken = (files / name / "schedules" / "schedule.json" for name in ("run", "broken"))
    return text.format(files=files, inside=inside, broken=broken)


def assert_one_line(name, found, code, expected):
    """Whether a failed command said one line, the expected one."""
    assert (found.returncode, found.stderr.count("\n")) == (code, 1), found.stderr
    assert found.stderr.startswith(f"{name}: error: ") and expected in found.stderr
    assert "Traceback" not in found.stdout + found.stderr


def test_a_mistake_is_one_line_and_an_exit_code(files, tmp_path):
    before = contents(files)

    def attempt(case):
        name, text, code, expected = case
        argv = fill(text, files).split()
        out = () if "--out" in argv else ("--out", tmp_path / "run")
        return run(name, *argv, *out)

    with ThreadPoolExecutor(2) as two:
        for (name, _, code, expected), found in zip(WRONG, two.map(attempt, WRONG), strict=True):
            assert_one_line(name, found, code, fill(expected, files))
    assert contents(files) == before and list(tmp_path.iterdir()) == []


def test_help_tells_of_every_command_and_its_options():
    with ThreadPoolExecutor(2) as two:
        helps = two.map(lambda name: run(name, "--help"), COMMANDS)
        for name, found in zip(COMMANDS, helps, strict=True):
            assert (found.returncode, found.stderr) == (0, "")
            assert found.stdout.startswith(f"usage: python -m jobs.{name}")
            for option in ("--config", "--set", "--out", "--dry-run", "--debug"):
                assert option in found.stdout
            assert ("--schedule" in found.stdout) is (name in ("score", "sample", "impute"))
            assert ("--supernet" in found.stdout) is (
                name in ("search", "score", "sample", "impute", "mask")
            )


TRAINING = ["data: digits, 1,797 images of 1 x 8 x 8", "supernet: widths 1, 0.75, 0.5, 0.25"]
SEARCHING = ["search: nsga2 on 50 steps of ddim, ", "front: at most "]
ONE = "--schedule {inside}"
OTHER = "--schedule {files}/schedule.json --supernet {files}/run/supernet --num-images 400"


@pytest.mark.parametrize(
    ("name", "argv", "expected"),
    [
        ("demo", "", [*TRAINING, *SEARCHING]),
        ("train", "", TRAINING),
        ("search", "", [*TRAINING, *SEARCHING]),
        ("search", "--supernet {files}/run/supernet", SEARCHING),
        ("score", ONE, ["2,000 images in 2 steps of {files}/run/supernet -> "]),
        ("score", OTHER, ["400 images in 2 steps of {files}/run/supernet -> "]),
        ("sample", ONE, ["64 images in 2 steps of {files}/run/supernet -> "]),
    ],
)
def test_a_dry_run_tells_the_plan_and_writes_nothing(files, tmp_path, name, argv, expected):
    before = contents(files)
    out = tmp_path / "run"
    found = run(
        name, *fill(argv, files).split(), "--dry-run", "--out", out, RAY_ADDRESS=NOWHERE
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert str(out) in found.stdout
    lines = [line for line in found.stdout.splitlines() if not line.startswith("run directory: ")]
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(fill(beginning, files))
    assert contents(files) == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["--set", "search.budget=0"], [*STUB, "--dry-run"]])
def test_what_is_answered_at_once_imports_nothing_heavy(tmp_path, argv):
    found = run("search", *argv, "--out", tmp_path / "run", PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "pydantic" in imported
    assert not imported & {"torch", "ray", "mlflow", "diffusers", "pandas", "matplotlib"}


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
