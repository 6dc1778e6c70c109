"""The mask command on a user's own table: scratch in the literal form, then frozen on that."""

import json
from contextlib import nullcontext

import pandas as pd
import pytest
from commands import CONFIGS, run
from test_jobs_impute import own_table

from jobs import cli, mask
from orchestration import mask_run, telling
from orchestration.config import load
from search_spaces.schedule import StepSchedule

TOY = """
data: {{name: table, path: {path}, time: time, window: 8}}
imputer: {{channels: 8, num_heads: 4, num_layers: 2, feedforward: 8}}
diffusion: {{num_train_timesteps: 10, betas: quadratic}}
train: {{iterations: 20, batch_size: 8, warmup_iterations: 2, num_workers: 2}}
sampler: {{name: ddpm, clip_sample: false}}
search: {{steps: 10, num_images: 4, num_samples: 5, budget: 1}}
mask: {{steps: [5, 3], candidates: 10, num_images: 4, masks: 8, updates: 200, evaluations: 3000}}
score: {{num_images: 6, num_samples: 10, batch_size: 2, block_size: 1, actors: 2}}
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Learned with its network, by the ELBO alone."""
    folder = tmp_path_factory.mktemp("windows")
    own_table().to_csv(folder / "mine.csv", index=False)
    (folder / "toy.yaml").write_text(TOY.format(path=folder / "mine.csv"))
    values = ("mask.weights=scratch", "mask.form=literal", "mask.reward=elbo")
    sets = [part for value in values for part in ("--set", value)]
    config = ("--config", folder / "toy.yaml")
    return folder, run("mask", *config, *sets, "--out", folder / "scratch")


def result_of(out):
    return json.loads((out / "mask.json").read_text())


@pytest.mark.proof
def test_a_mask_is_learned_with_its_imputer(scratch):
    folder, done = scratch
    assert (done.returncode, done.stderr) == (0, "")
    result = result_of(folder / "scratch")
    assert result["quality"] == "crps_table_hidden10_6" and result["num_samples"] == 10
    assert set(result["imputers"]) == {"mean", "last_observation", "linear_interpolation"}
    for of_one in result["imputers"].values():  # no share: of which schedule would it be?
        assert set(of_one) == {"crps", "crps_ci", "mae", "mae_ci", "rmse", "rmse_ci"}
    assert result["evaluations"] <= 3000 and result["training_images"] == 123
    for entry in result["results"]:
        learned = entry["scored"]["learned"]
        assert 0 < learned["mae"] <= learned["rmse"]
        assert learned["mae_ci"][0] < learned["mae"] < learned["mae_ci"][1]
        text = (folder / "scratch" / entry["schedule"]).read_text()
        schedule = StepSchedule.from_json(json.loads(text))
        # At most so many: by the ELBO of a literal chain fewer may be better
        assert schedule.sampler == "ddpm" and 0 < len(schedule.steps) <= entry["num_steps"]
        levels = [level for _, _, level in schedule.steps]
        assert levels == sorted(levels)


@pytest.mark.proof
def test_its_schedule_fills_a_table(scratch, tmp_path):
    folder, _ = scratch
    schedule = folder / "scratch" / "schedules" / "3.json"
    asked = ("--schedule", schedule, "--table", folder / "mine.csv", "--time", "time")
    done = run("impute", *asked, "--num-samples", 3, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    filled = pd.read_csv(tmp_path / "mine.csv")
    assert filled[["warm", "cold", "press"]].notna().to_numpy().all()


@pytest.mark.proof
def test_a_trained_imputers_steps_are_chosen_by_crps(scratch):
    folder, _ = scratch
    out, config = folder / "frozen", ("--config", folder / "toy.yaml")
    asked = (*config, "--supernet", folder / "scratch" / "supernet", "--out", out)
    done = run("mask", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "masks on 4 windows" in done.stdout
    result = result_of(out)
    rounds = json.loads((out / "quality.json").read_text())["rounds"]
    for entry in result["results"]:
        of_k = [r for r in rounds if r["num_steps"] == entry["num_steps"]]
        assert [r["kind"] for r in of_k][::len(of_k) - 1] == ["known", "final"]
        assert entry["calls"] == 5 * sum(r["calls"] for r in of_k)  # samples of each window
        assert {"late 0.5", "late 0.7", "late 1", "likeliest"} <= set(entry["scored"])
        assert all(steps["mae"] > 0 for steps in entry["scored"].values())
    assert result["evaluations"] <= 3000


@pytest.mark.proof
def test_what_is_missing_is_told_in_a_line(scratch, tmp_path):
    folder, _ = scratch
    config = ("--config", folder / "toy.yaml", "--supernet", folder / "scratch" / "supernet")
    done = run("mask", *config, "--set", "mask.num_images=50", "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "mask.num_images: got 50, expected at most 6, the validation windows" in done.stderr


@pytest.mark.parametrize("weights", ["scratch", "frozen"])
def test_it_says_how_to_fill_a_table_with_what_it_has_learned(
    tmp_path, monkeypatch, capsys, weights
):
    """With the run's own network, or where that stays as it is, with the one that was given."""
    own_table().to_csv(tmp_path / "mine.csv", index=False)
    (tmp_path / "toy.yaml").write_text(TOY.format(path=tmp_path / "mine.csv"))
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    (given / "config.json").write_text("{}")

    def learn_masks(config, run, *_):
        if weights != "frozen":
            run.supernet.mkdir()
        return {"results": []}

    monkeypatch.setattr(mask_run, "check", lambda config, supernet: [])
    monkeypatch.setattr(mask_run, "is_done", lambda run: True)
    monkeypatch.setattr(mask_run, "learn_masks", learn_masks)
    monkeypatch.setattr(telling, "tracked", lambda config, run, command: nullcontext())
    supernet = [] if weights == "scratch" else ["--supernet", given]
    asked = ["--config", tmp_path / "toy.yaml", "--set", f"mask.weights={weights}", *supernet]
    argv = [str(part) for part in (*asked, "--out", out)]
    assert cli.run("mask", mask.main, mask.__doc__, mask.add_arguments, argv=argv) == 0
    network = given if weights == "frozen" else out / "supernet"
    told = f"--schedule {out / 'schedules' / '5.json'} --supernet {network}"
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Impute:   python -m jobs.impute --table FILE {told}"


def test_the_weather_is_configured_as_its_supernet_is_trained():
    mask = load(CONFIGS / "mask-weather.yaml", default=CONFIGS / "digits.yaml")
    trained = load(CONFIGS / "weather.yaml", default=CONFIGS / "digits.yaml")
    for section in ("data", "imputer", "diffusion", "sampler"):
        assert getattr(mask, section) == getattr(trained, section)
    assert mask.mask.steps == (10, 5) and mask.mask.candidates == 50
    assert mask.score.num_images == trained.score.num_images
