"""The mask command: from scratch in the literal form, then frozen on what that has trained."""

import json

import pyarrow.parquet as pq
import pytest
from commands import contents, run

from search_spaces.schedule import StepSchedule

TINY = (
    "network.block_out_channels=[8]", "network.attention=[false]", "network.norm_group_size=4",
    "train.batch_size=64", "train.warmup_iterations=2", "train.iterations=12",
    "train.num_workers=1", "train.checkpoint_every=6", "features.iterations=5",
    "mask.candidates=20", "mask.steps=[6, 3]", "mask.updates=30", "score.num_images=40",
    "score.batch_size=40", "score.block_size=20", "score.actors=1", "search.num_images=40",
)  # fmt: skip


def sets(*values):
    return [part for value in (*TINY, *values) for part in ("--set", value)]


SCRATCH = ("mask.weights=scratch", "mask.form=literal", "mask.reward=elbo")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A run from scratch, and its process."""
    out = tmp_path_factory.mktemp("masks") / "scratch"
    return out, run("mask", *sets(*SCRATCH), "--out", out)


def test_a_mask_is_learned_with_its_network(scratch):
    out, done = scratch
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((out / "mask.json").read_text())
    assert result["evaluations"] == 12 * 64 * 2
    assert [entry["num_steps"] for entry in result["results"]] == [6, 3]
    for num_steps in (6, 3):
        schedule = StepSchedule.from_json(
            json.loads((out / "schedules" / f"{num_steps}.json").read_text())
        )
        assert len(schedule.steps) == num_steps
        levels = [level for _, _, level in schedule.steps]
        assert levels == sorted(levels) and levels[0] > 0.01  # less noise than the whole chain's
    table = pq.read_table(out / "s.parquet").to_pandas()
    last = table[table["updates"] == 12 * 30]
    assert (table[table["updates"] == 0]["s"] == 1).all() and len(last) == 40
    assert last.groupby("num_steps")["s"].sum().tolist() == pytest.approx([3, 6], abs=0.2)
    for name in ("s.png", "kept.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_changes_nothing(scratch):
    out, _ = scratch
    before = contents(out)
    again = run("mask", *sets(*SCRATCH), "--out", out)
    assert (again.returncode, again.stderr) == (0, "")
    assert contents(out) == before


def test_a_literal_schedule_is_sampled_as_any_other(scratch, tmp_path):
    out, _ = scratch
    schedule = out / "schedules" / "3.json"
    done = run("sample", "--schedule", schedule, "--num-images", 4, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and len(list(tmp_path.glob("*.png"))) == 1


def test_a_network_of_diffusers_own_is_taken_as_it_is(scratch, tmp_path):
    trained, _ = scratch
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (foreign / name).write_bytes((trained / "supernet" / name).read_bytes())
    out = tmp_path / "run"
    values = ("mask.steps=[3]", "mask.evaluations=900", "mask.num_images=8", "mask.masks=8")
    done = run("mask", *sets(*values), "--supernet", foreign, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((out / "mask.json").read_text())
    assert result["evaluations"] <= 900
    assert set(result["results"][0]["scored"]) >= {"learned", "even", "quadratic", "elbo optimum"}
    rounds = json.loads((out / "quality.json").read_text())["rounds"]
    assert rounds[0]["kind"] == "known" and rounds[-1]["kind"] == "final"


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
def test_what_cannot_be_meant_is_told_in_a_line(tmp_path, values, arguments, code, line):
    done = run("mask", *sets(*values), *arguments, "--out", tmp_path / "run", "--dry-run")
    assert done.returncode == code and line in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


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
