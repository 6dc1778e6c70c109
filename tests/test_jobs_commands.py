import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from commands import NOWHERE, STUB, assert_one_line, contents, run
from fakes import fake_front

from orchestration.files import write_json, write_manifest

COMMANDS = ("demo", "train", "search", "sweep", "score", "sample", "impute")
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
