"""Whole searches with training: the same front to the byte, whatever happens on the way.

At toy size in `make test`, by `golden.yaml` in `make proof`.
"""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from commands import CONFIGS, contents, run, run_until
from PIL import Image

from models.intervals import paired
from models.networks import unet
from orchestration import config as configs
from orchestration import setting, ways
from orchestration.batches import batches
from orchestration.data import prepare
from orchestration.extractor import extractor_folder
from orchestration.report import PICTURES
from orchestration.ways import Way
from search_spaces.schedule import StepSchedule

TOY = """
network: {block_out_channels: [8, 16], attention: [false, false], norm_group_size: 2}
train: {iterations: 12, batch_size: 16, warmup_iterations: 2, report_every: 4, num_workers: 1}
features: {iterations: 20}
search: {steps: 5, num_images: 80, population: 12, budget: 36, budget_calls: null}
score: {num_images: 160, batch_size: 40, block_size: 10, max_members: 4, memory_format: contiguous,
        dtype: float32, compile: never}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A demo of seconds, trained, killed while it searched, resumed with more actors; its path."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "toy.yaml").write_text(TOY)
    path = folder / "demo"
    argv = ("--config", folder / "toy.yaml", "--out", path, "--set")
    code, _ = run_until("search  24 ", signal.SIGKILL, "demo", *argv, "score.actors=1")
    assert code == -signal.SIGKILL
    found = run("demo", *argv, "score.actors=2")
    assert (found.returncode, found.stderr) == (0, "")
    assert "search  goes on after" in found.stdout and "train " not in found.stdout
    return path


def front_of(path):
    return json.loads((path / "front.json").read_text())


def predicted_ms(plan, member):
    """The latency of a member by a plan: one sample, and for each step a call and the rest."""
    beside = plan["beside_ms"]
    steps = [plan["latency_ms"][f"{s['width']:g}"] for s in member["schedule"]["steps"]]
    return beside["sample"] + sum(ms + beside["step"] for ms in steps)


def path_of(path, key):
    return path / "schedules" / f"{key}.json"


def schedule_of(path, key):
    return StepSchedule.from_json(json.loads(path_of(path, key).read_text()))


def test_an_uninterrupted_search_of_the_same_supernet_finds_the_same_front(toy, tmp_path):
    out = tmp_path / "search"
    found = run(
        "search", "--config", toy.parent / "toy.yaml", "--supernet", toy / "supernet",
        "--set", "score.actors=1", "--out", out,
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    for name in ("front.json", "journal.jsonl"):
        assert (out / name).read_bytes() == (toy / name).read_bytes()
    assert contents(out / "schedules") == contents(toy / "schedules")


def test_a_demo_leaves_all_that_the_contract_says(toy):
    names = {path.name for path in toy.iterdir()}
    assert names >= {
        "config.yaml", "plan.json", "supernet", "journal.jsonl", "candidates.parquet",
        "front.json", "latency.json", "schedules", *PICTURES,
    }  # fmt: skip
    front, latency = front_of(toy), json.loads((toy / "latency.json").read_text())
    members = [front["baseline"], *front["members"]]
    assert set(latency) == {m["key"] for m in members}
    assert all(entry["latency_ms"] > 0 for entry in latency.values())
    assert latency[front["baseline"]["key"]]["speedup"] == 1
    plan = json.loads((toy / "plan.json").read_text())
    assert all(plan["latency_ms"][width] > 0 for width in plan["macs"])
    for member in members:
        entry = latency[member["key"]]
        assert entry["latency_predicted_ms"] == pytest.approx(predicted_ms(plan, member))
        assert entry["latency_error"] == pytest.approx(
            entry["latency_predicted_ms"] / entry["latency_ms"] - 1
        )
    assert front["quality"] == "fd_digits_160"


def test_the_supernet_is_a_diffusers_network(toy):
    from diffusers import UNet2DModel

    network = UNet2DModel.from_pretrained(toy / "supernet")
    sizes = configs.load(toy / "config.yaml").network.model_dump(exclude={"conditional"})
    expected = unet(image_size=8, channels=1, **sizes)
    assert {name: p.shape for name, p in network.named_parameters()} == {
        name: p.shape for name, p in expected.named_parameters()
    }


def test_sample_writes_a_grid_of_the_schedules_images(toy, tmp_path):
    key = front_of(toy)["members"][0]["key"]
    found = run(
        "sample", "--schedule", path_of(toy, key), "--num-images", 10, "--seed", 3,
        "--out", tmp_path, RAY_ADDRESS="127.0.0.1:1",
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    grid = np.asarray(Image.open(tmp_path / f"{key}.png").convert("L"))
    schedule = schedule_of(toy, key)
    source = scorer_of(toy, schedule).source
    ((_, x_0),) = source.samples([schedule.steps], 3, range(10), 10)
    # 4 columns of 8 x 8 pixels magnified 7 times, with a border of 2
    assert grid.shape == (3 * 60, 4 * 60)
    for k, image in enumerate(x_0[:, 0].numpy()):
        row, column = divmod(k, 4)
        cell = grid[row * 60 + 2 : row * 60 + 58, column * 60 + 2 : column * 60 + 58]
        expected = np.clip(np.rint((image + 1) * 127.5), 0, 255)
        # one batch of 10 rounds otherwise than one of 64
        np.testing.assert_allclose(cell[3::7, 3::7], expected, atol=1)


def scorer_of(path, schedule, chosen_ways=None):
    """The scorer of a finished run on the chain of a schedule, in this process."""
    config = configs.load(path / "config.yaml")
    cache = path.parent / "cache"
    extractor = extractor_folder(config, prepare(config.data, cache), cache)
    chosen = setting.network_setting(config, schedule, path / "supernet", extractor)
    execution = replace(setting.execution(config), ways=chosen_ways or {})
    return chosen.make_scorer(*chosen.args_with(execution))


@pytest.mark.proof
def test_score_says_what_a_schedules_samples_are_worth_on_the_schedules_own_chain(toy, tmp_path):
    front = front_of(toy)
    steps = schedule_of(toy, front["members"][0]["key"]).steps
    schedule = replace(schedule_of(toy, front["baseline"]["key"]), sampler="ddpm", steps=steps)
    other = tmp_path / "run"
    (other / "schedules").mkdir(parents=True)
    (other / "config.yaml").write_bytes((toy / "config.yaml").read_bytes())
    (other / "schedules" / "mine.json").write_text(json.dumps(schedule.to_json()))
    # other bits than the plain way gives
    rough = dict.fromkeys((1.0, 0.75, 0.5, 0.25), Way(dtype="bfloat16"))
    plan = json.loads((toy / "plan.json").read_text()) | {"ways": ways.to_json(rough)}
    (other / "plan.json").write_text(json.dumps(plan))
    found = run(
        "score", "--schedule", other / "schedules" / "mine.json", "--supernet", toy / "supernet",
        "--out", toy.parent / "score", "--latency",
    )  # fmt: skip
    assert (found.returncode, found.stderr) == (0, "")
    result = json.loads((toy.parent / "score" / f"{schedule.key}.json").read_text())
    scorer = scorer_of(toy, schedule, rough)
    full = schedule_of(toy, front["baseline"]["key"]).steps
    scores, base = (
        scorer.judge(*(scorer.score([each], 1, images)[0] for images in batches(160, 40)))
        for each in (steps, full)
    )
    assert result["quality"] == scores.full and result["baseline_quality"] == base.full
    assert result["delta_ci"] == list(paired(scores, base).interval())
    assert result["quality_name"] == "fd_digits_160" and result["num_images"] == 160
    assert result["key"] == schedule.key and result["schedule"] == schedule.to_json()
    for name in ("macs", "savings"):
        assert result[name] == front["members"][0][name]
    assert f"fd_digits_160 {scores.full:.3f}" in found.stdout
    assert result["latency_predicted_ms"] == pytest.approx(predicted_ms(plan, result))
    assert result["latency_ms"] > 0 and result["speedup"] > 0
    assert f"{result['latency_predicted_ms']:.3g} ms were predicted" in found.stdout


@pytest.mark.proof
def test_a_front_is_judged_again_on_other_features(toy, tmp_path):
    front = front_of(toy)
    others = ("--set", "features.name=efficientnet", "--set", "features.num_real=100")
    found = run("score", "--front", toy, "--num-images", 40, *others, "--out", tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    judged = json.loads((tmp_path / "fd_efficientnet_40.json").read_text())
    assert judged["supernet"] == front["supernet"] and judged["num_reference"] == 100
    before = {m["key"]: m["quality"] for m in [*front["uniform"], *front["members"]]}
    assert {e["key"]: e["quality_before"] for e in judged["schedules"]} == before
    assert all(e["quality"] > 0 and 0 <= e["recall"] <= 1 for e in judged["schedules"])
    assert -1 <= judged["spearman"]["all"] <= 1
    assert f"all schedules ({len(before)}): {judged['spearman']['all']:.3f}" in found.stdout


@pytest.mark.proof
def test_the_golden_search_gives_the_same_front_by_one_actor_by_two_and_after_kills(tmp_path):
    golden = ("--config", CONFIGS / "golden.yaml")

    def search(name, *argv):
        found = run("search", *golden, "--out", tmp_path / name, *argv)
        assert (found.returncode, found.stderr) == (0, "")
        return (tmp_path / name / "front.json").read_bytes()

    def kill(line, name):
        out = ("--out", tmp_path / name, "--set", "score.actors=2")
        assert run_until(line, signal.SIGKILL, "search", *golden, *out)[0] == -signal.SIGKILL

    one = search("one", "--set", "score.actors=1")
    assert search("two", "--set", "score.actors=2") == one
    for line in ("train   300/400", "search  16 ", "front "):
        kill(line, "killed")
    assert search("killed", "--set", "score.actors=1") == one
