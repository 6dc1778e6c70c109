"""The mask command: from scratch in the literal form, then frozen on what that has trained."""

import json
import re
import signal

import pyarrow.parquet as pq
import pytest
import ray
import torch
from commands import contents, run, run_until
from diffusers import UNet2DModel
from safetensors.torch import load_file

from jobs import cli, mask
from orchestration.config import load
from orchestration.mask_plan import finer_steps, make_chain
from search_spaces.prefixes import count_calls
from search_spaces.schedule import StepSchedule

WEIGHTS = "diffusion_pytorch_model.safetensors"
TINY = (
    "network.block_out_channels=[8]", "network.attention=[false]", "network.norm_group_size=4",
    "train.batch_size=64", "train.warmup_iterations=2", "train.iterations=12",
    "train.num_workers=1", "train.checkpoint_every=6", "train.report_every=2",
    "features.iterations=5",
    "mask.candidates=20", "mask.steps=[3]", "mask.updates=360", "score.num_images=40",
    "score.batch_size=40", "score.block_size=20", "score.actors=1", "search.num_images=40",
)  # fmt: skip


def sets(*values):
    return [part for value in (*TINY, *values) for part in ("--set", value)]


SCRATCH = ("mask.weights=scratch", "mask.form=literal", "mask.num_images=8", "mask.masks=8")
FROZEN = ("mask.steps=[3]", "mask.evaluations=900", "mask.num_images=8", "mask.masks=8")


def here(*argv):
    """Exit code of the command in this process, where it needs no Ray."""
    return cli.run("mask", mask.main, mask.__doc__, mask.add_arguments, argv=list(map(str, argv)))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A run from scratch, and its process."""
    out = tmp_path_factory.mktemp("masks") / "scratch"
    return out, run("mask", *sets(*SCRATCH), "--out", out)


def test_a_mask_is_learned_with_its_network(scratch):
    out, done = scratch
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((out / "mask.json").read_text())
    calls = [entry["calls"] for entry in result["results"]]
    assert result["evaluations"] == 12 * 64 * 2 + sum(calls) and sum(calls) <= 2 * 1797
    assert [entry["num_steps"] for entry in result["results"]] == [3]
    for entry in result["results"]:
        text = (out / "schedules" / f"{entry['num_steps']}.json").read_text()
        schedule = StepSchedule.from_json(json.loads(text))
        assert len(schedule.steps) <= entry["num_steps"]
        levels = [level for _, _, level in schedule.steps]
        assert levels == sorted(levels) and levels[0] > 0.01  # less noise than the whole chain's
        assert set(entry["scored"]) >= {
            "learned", "even", "quadratic", "late 0.5", "even, literal", "likeliest",
        }  # fmt: skip
        saved = {name: scored["savings"] for name, scored in entry["scored"].items()}
        assert saved["full"] == 0 and saved["learned"] == 1 - entry["num_steps"] / 20
    table = pq.read_table(out / "s.parquet").to_pandas()
    last = table[table["updates"] == 12 * 30]
    assert (table[table["updates"] == 0]["s"] == 1).all() and len(last) == 20
    for num_steps, mass in last.groupby("num_steps")["s"].sum().items():
        assert 0.5 * num_steps < mass <= num_steps + 1e-9  # a budget, which need not be used up
    for name in ("s.png", "kept.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_quality_is_learned_from_in_rounds(scratch):
    out, _ = scratch
    rounds = json.loads((out / "quality.json").read_text())["rounds"]
    kinds = [r["kind"] for r in rounds if r["num_steps"] == 3]
    assert kinds[0] == "known" and kinds[-1] == "final" and "drawn" in kinds


def test_the_same_command_again_changes_nothing_and_starts_no_ray(scratch, monkeypatch):
    out, _ = scratch
    before = contents(out)
    monkeypatch.setattr(ray, "init", None)
    assert here(*sets(*SCRATCH), "--out", out) == 0
    assert contents(out) == before


def test_a_literal_schedule_is_sampled_as_any_other(scratch, tmp_path):
    out, _ = scratch
    schedule = out / "schedules" / "3.json"
    done = run("sample", "--schedule", schedule, "--num-images", 4, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and len(list(tmp_path.glob("*.png"))) == 1


@pytest.fixture
def foreign(scratch, tmp_path):
    """A network as diffusers saves it, with its default size: none."""
    trained, _ = scratch
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / WEIGHTS).write_bytes((trained / "supernet" / WEIGHTS).read_bytes())
    content = json.loads((trained / "supernet" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "sample_size": None}))
    return folder


@pytest.mark.proof
def test_a_network_of_diffusers_own_is_taken_as_it_is(foreign, tmp_path):
    out = tmp_path / "run"
    done = run("mask", *sets(*FROZEN), "--supernet", foreign, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((out / "mask.json").read_text())
    assert result["evaluations"] <= 900
    (entry,) = result["results"]
    assert entry["scored"].keys() >= {"learned", "even", "quadratic", "elbo optimum"}
    rounds = json.loads((out / "quality.json").read_text())["rounds"]
    gaussian = entry["scored"]["gaussian optimum"]["timesteps"]  # of 20 candidates of 1,000
    assert [t // 50 for t in reversed(gaussian)] in rounds[0]["masks"]
    assert rounds[0]["kind"] == "known" and rounds[-1]["kind"] == "final"


@pytest.mark.proof
def test_it_learns_on_where_it_is_tuned(foreign, tmp_path):
    out, values = tmp_path / "run", (*FROZEN, "mask.weights=tuned", "mask.reward=elbo")
    done = run("mask", *sets(*values), "--supernet", foreign, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((out / "mask.json").read_text())["evaluations"] == 2 * 64 * 7
    assert (out / "network" / WEIGHTS).read_bytes() == (foreign / WEIGHTS).read_bytes()
    before, after = (load_file(folder / WEIGHTS) for folder in (foreign, out / "supernet"))
    assert before.keys() == after.keys()
    assert not any(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.proof
def test_guided_steps_are_charged_twice(tmp_path):
    conditional = ("network.conditional=true", "supernet.widths=[1]")
    assert run("train", *sets(*conditional), "--out", tmp_path / "t").returncode == 0
    values = (*conditional, *FROZEN, "sampler.guidance=2", "mask.evaluations=2000")
    supernet = tmp_path / "t" / "supernet"
    done = run("mask", *sets(*values), "--supernet", supernet, "--out", tmp_path / "run")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "run" / "mask.json").read_text())
    rounds = json.loads((tmp_path / "run" / "quality.json").read_text())["rounds"]
    assert result["evaluations"] == 400 + 2 * sum(r["calls"] for r in rounds) <= 2000
    count = int(re.search(r"known: \d+ masks on (\d+) images", done.stdout).group(1))
    chain = make_chain(load(tmp_path / "run" / "config.yaml"))
    steps = [*map(chain.steps, rounds[0]["masks"]), finer_steps(chain, 3)]
    assert rounds[0]["calls"] == count * count_calls(steps)  # of which each is charged twice


@pytest.mark.parametrize(
    ("values", "arguments", "code", "line"),
    [
        ((), (), 2, "--supernet: got none, expected a trained network's folder"),
        (("mask.weights=scratch",), ("--supernet", "."), 2, "expected none where mask.weights"),
        ((), ("--supernet", "/nowhere"), 3, "no network in /nowhere: expected a folder with its"),
        (("mask.steps=[21]",), (), 2, "mask.steps: got [21], expected at most mask.candidates"),
        (("mask.ramp=[.5, .5]",), (), 2, "mask.ramp: got [0.5, 0.5], expected [start, end]"),
        (("mask.masks=1",), (), 2, "mask.masks: got 1, expected greater than or equal to 2"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_line(tmp_path, capsys, values, arguments, code, line):
    assert here(*sets(*values), *arguments, "--out", tmp_path / "run", "--dry-run") == code
    said = capsys.readouterr().err
    assert line in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_of_data_calls_and_rounds(tmp_path, capsys):
    assert here(*sets(*SCRATCH), "--out", tmp_path / "run", "--dry-run") == 0
    told = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert told == ["run directory", "data", "mask", "calls", "rounds", "score"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "size", "line"),
    [
        ((), 16, "images of 1 x 8 x 8, expected 1 x 16 x 16 as {} was trained on"),
        (("data.name=weather", "sampler.clip_sample=false", "mask.num_images=24",
          "score.num_images=36", "score.block_size=1", "score.batch_size=4"), 8,
         "{} makes images, expected a supernet of windows of time series"),
    ],
)  # fmt: skip
def test_a_foreign_network_of_other_data_is_refused_before_anything_is_there(
    tmp_path, capsys, values, size, line
):
    folder, out = tmp_path / "foreign", tmp_path / "run"
    UNet2DModel(
        sample_size=size, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    ).save_pretrained(folder)  # fmt: skip
    for dry in (["--dry-run"], []):
        assert here(*sets(*values), "--supernet", folder, "--out", out, *dry) == 2
        said = capsys.readouterr().err
        assert line.format(folder) in said and said.count("\n") == 1
        assert not out.exists()


@pytest.mark.proof
@pytest.mark.parametrize("line", ["train   8/", "mask    3 steps, drawn"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(scratch, tmp_path, line):
    """Killed as weights and mask are learned, and between rounds of quality."""
    whole, _ = scratch
    asked = (*sets(*SCRATCH), "--out", tmp_path / "run")
    code, _ = run_until(line, signal.SIGKILL, "mask", *asked)
    assert code == -signal.SIGKILL and not (tmp_path / "run" / "mask.json").exists()
    done = run("mask", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("mask.json", "s.parquet", "schedules/3.json"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.proof
def test_two_workers_find_the_errors_that_one_does(scratch, tmp_path):
    trained, _ = scratch
    found = []
    for number in (1, 2):
        values = (*FROZEN, "mask.reward=elbo", f"train.num_workers={number}")
        out = tmp_path / str(number)
        done = run("mask", *sets(*values), "--supernet", trained / "supernet", "--out", out)
        assert (done.returncode, done.stderr) == (0, "")
        found.append(json.loads((out / "elbo.json").read_text()))
    one, two = found
    assert one["evaluations"] == two["evaluations"] == 900
    assert one["errors"] == pytest.approx(two["errors"], rel=1e-4)
    assert one["s"][0] == pytest.approx(two["s"][0], abs=0.05)


@pytest.mark.proof
def test_the_benchmark_resumes_where_it_was(scratch, tmp_path):
    trained, _ = scratch
    out = tmp_path / "benchmark"
    values = ("mask.steps=[3]", "mask.evaluations=600", "mask.num_images=8", "mask.masks=8")
    asked = ("mask", *sets(*values), "--supernet", trained / "supernet", "--out", out)
    done = run("benchmark", *asked, "--repetitions", 1)
    assert (done.returncode, done.stderr) == (0, "")
    (pair,) = json.loads((out / "benchmark.json").read_text())["notes"]["pairs"]
    assert pair["calls"] <= 600 and 5400 < pair["calls_evolved"] <= 10 * pair["calls"]
    low, high = pair["difference_ci"]
    assert low <= pair["difference"] <= high
    before = contents(out / "3-0")
    again = run("benchmark", *asked, "--repetitions", 2)
    assert (again.returncode, again.stderr) == (0, "")
    assert "evolved 3 steps" in again.stdout and contents(out / "3-0") == before
    assert len(json.loads((out / "benchmark.json").read_text())["notes"]["pairs"]) == 2
