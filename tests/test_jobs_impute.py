"""Imputation from end to end: a user's own table, trained on, searched for, scored, filled."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import CONFIGS, run

from jobs import cli, impute, schedule_arguments
from orchestration.config import load
from orchestration.errors import ConfigError
from orchestration.sampling import sample_images
from search_spaces.schedule import StepSchedule

T = 240
TOY = """
data: {{name: table, path: {path}, time: time, window: 8}}
imputer: {{channels: 8, num_heads: 4, num_layers: 1, feedforward: 8}}
diffusion: {{num_train_timesteps: 10, betas: quadratic}}
supernet: {{widths: [1.0, 0.5]}}
train: {{iterations: 20, batch_size: 8, warmup_iterations: 2, num_workers: 1}}
sampler: {{name: ddpm, clip_sample: false}}
search: {{steps: 10, num_images: 4, num_samples: 5, population: 12, budget: 24}}
score: {{num_images: 6, num_samples: 10, batch_size: 2, block_size: 1, max_members: 3, actors: 2,
  memory_format: contiguous, dtype: float32}}
"""


def own_table(seed=0):
    """Hours of three variables and a text, with gaps; three rows are missing as a whole."""
    rng, t = np.random.default_rng(seed), np.arange(T)
    wave = np.sin(t / 5)
    table = pd.DataFrame(
        {
            "time": pd.date_range("2020-01-01", periods=T, freq="h").strftime("%Y-%m-%d %H:%M"),
            "warm": 20 + 5 * wave + rng.normal(size=T),
            "cold": -3 * wave + 0.3 * rng.normal(size=T),
            "press": 1000 + np.cumsum(rng.normal(size=T)),
            "note": "x",
        }
    )
    for name in ("warm", "cold", "press"):
        table.loc[rng.random(T) < 0.1, name] = np.nan
    return table.drop(index=[50, 51, 52])


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A finished search on a table, and its process."""
    folder = tmp_path_factory.mktemp("impute")
    own_table().to_csv(folder / "mine.csv", index=False)
    (folder / "toy.yaml").write_text(TOY.format(path=folder / "mine.csv"))
    done = run("search", "--config", folder / "toy.yaml", "--out", folder / "runs" / "toy")
    return folder, done


def front_of(folder):
    return json.loads((folder / "runs" / "toy" / "front.json").read_text())


def schedule_of(folder):
    """The recommended one's file."""
    key = front_of(folder)["recommended"]
    return folder / "runs" / "toy" / "schedules" / f"{key}.json"


def here(*argv):
    """Exit code of the command in this process, which has torch already."""
    return cli.run(
        "impute", impute.main, impute.__doc__, impute.add_arguments,
        default=schedule_arguments.default_config, argv=list(map(str, argv)),
    )  # fmt: skip


def test_a_search_on_a_table(toy):
    folder, done = toy
    assert done.returncode == 0, done.stderr
    assert "windows of 3 variables x 8 times: 123 to train, 6 to search on" in done.stdout
    told = " ".join(done.stdout.split())  # without the table's line breaks
    assert "Without a model, on the same entries: last observation" in told
    front = front_of(folder)
    assert front["quality"] == "crps_table_hidden10_6" and front["num_samples"] == 10
    assert set(front["imputers"]) == {"mean", "last_observation", "linear_interpolation"}
    assert "noise_floor" not in front
    baseline = front["baseline"]
    assert len(baseline["schedule"]["steps"]) == 10
    assert baseline["schedule"]["betas"] == "quadratic"
    for member in [baseline, *front["members"]]:
        assert 0 < member["mae"] <= member["rmse"]
        for name in ("quality", "mae", "rmse"):
            low, high = member[f"{name}_ci"]
            assert low < member[name] < high
    for imputer in front["imputers"].values():
        for name in ("crps", "mae", "rmse", "baseline_share"):
            low, high = imputer[f"{name}_ci"]
            assert low <= imputer[name] <= high  # the mean's CRPS is 1 without any error
        assert imputer["baseline_share"] == pytest.approx(baseline["quality"] / imputer["crps"])
    for name in ("samples.png", "pareto.png", "pareto.html", "schedules.png", "supernet.png"):
        assert (folder / "runs" / "toy" / name).stat().st_size > 1000


@pytest.mark.proof
def test_scoring_the_baseline_again_gives_the_fronts_number(toy, tmp_path):
    """On the same windows, hidden entries and noise, by one actor instead of two."""
    folder, _ = toy
    baseline = front_of(folder)["baseline"]
    schedule = folder / "runs" / "toy" / "schedules" / f"{baseline['key']}.json"
    done = run("score", "--schedule", schedule, "--set", "score.actors=1", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / f"{baseline['key']}.json").read_text())
    for name in ("quality", "quality_ci", "mae", "mae_ci", "rmse", "rmse_ci"):
        assert found[name] == baseline[name]


def test_a_table_is_filled(toy, tmp_path):
    folder, _ = toy
    table = own_table()
    asked = ("--schedule", schedule_of(folder), "--table", folder / "mine.csv", "--time", "time")
    done = run("impute", *asked, "--num-samples", 12, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    filled = pd.read_csv(tmp_path / "mine.csv")
    gaps = pd.read_parquet(tmp_path / "quantiles.parquet")
    assert len(filled) == T and list(filled.columns) == list(table.columns)
    assert filled["time"].str[:16].tolist() == own_times()
    assert not filled[["warm", "cold", "press"]].isna().to_numpy().any()
    was = table.set_axis(table.index).reindex(range(T))
    for name in ("warm", "cold", "press"):
        there = was[name].notna()
        np.testing.assert_allclose(filled[name][there], was[name][there])
        of_name = gaps[gaps["variable"] == name]
        np.testing.assert_allclose(filled[name][~there], of_name["q50"])
    assert filled["note"].isna().sum() == 3 and filled["note"][0] == "x"
    bands = gaps[["q05", "q25", "q50", "q75", "q95"]].to_numpy()
    assert (np.diff(bands, axis=1) >= 0).all() and (bands[:, 4] > bands[:, 0]).all()
    assert (tmp_path / "imputed.png").read_bytes().startswith(b"\x89PNG")
    assert "left as they are" not in done.stdout  # text is no variable
    assert "the table lacks" not in done.stdout


def own_times():
    return pd.date_range("2020-01-01", periods=T, freq="h").strftime("%Y-%m-%d %H:%M").tolist()


def test_a_short_parquet_without_times_and_with_other_columns(toy, tmp_path, capsys):
    folder, _ = toy
    table = pd.DataFrame({"press": [1000.0, np.nan, 1001.0], "rain": [np.nan, 1.0, 2.0]})
    table.to_parquet(tmp_path / "short.parquet")
    table_file, out = tmp_path / "short.parquet", tmp_path / "out"
    asked = ("--schedule", schedule_of(folder), "--table", table_file, "--out", out)
    assert here(*asked, "--dry-run") == 0 and not out.exists()
    assert here(*asked, "--num-samples", 5) == 0
    filled = pd.read_parquet(tmp_path / "out" / "short.parquet")
    assert filled["press"].notna().all() and filled["press"][[0, 2]].tolist() == [1000.0, 1001.0]
    assert filled["rain"].isna().tolist() == [True, False, False]
    said = capsys.readouterr().out
    assert "left as they are: rain" in said
    assert "variables that the table lacks, unknown throughout: warm, cold\n" in said


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        ("--table {tmp}/none.csv", 3, "cannot read"),
        ("--table {tmp}/other.csv", 3, "expected some of the variables that"),
        ("--table {tmp}/other.csv --num-samples 0", 2, "--num-samples: got 0, expected at least"),
        ("--table {tmp}/other.csv --out {tmp}", 2, "where the table is; expected another one"),
        ("--table {tmp}/quantiles.parquet", 2, "expected another name than that of what is"),
        ("--table {tmp}/imputed.png", 2, "--table: got {tmp}/imputed.png, expected another name"),
        ("--table {tmp}/hot.csv", 3, "the table: column 'cold', row 2 of the data: got 'hot'"),
        ("--table {tmp}/marks.csv", 3, "got the names 'warm;cold' with ';' between columns, exp"),
        ("--table {tmp}/days.csv --time time", 3, "got steps of 1 days 00:00:00, expected 0 days"),
        ("", 2, "the following arguments are required: --table"),
    ],
)
def test_mistakes_are_answered_in_one_line(toy, tmp_path, capsys, arguments, code, expected):
    folder, _ = toy
    (tmp_path / "other.csv").write_text("a,b\n1,\n")
    (tmp_path / "hot.csv").write_text("note,warm,cold\nx,,1\ny,1,hot\n")
    (tmp_path / "marks.csv").write_text("warm;cold\n20,5;3\n")
    (tmp_path / "days.csv").write_text("time,warm\n2020-01-01,20\n2020-01-02,\n")
    out = [] if "--out" in arguments else ["--out", tmp_path / "out"]
    split = arguments.format(tmp=tmp_path).split()
    assert here("--schedule", schedule_of(folder), *out, *split) == code
    said = capsys.readouterr().err
    assert expected.format(tmp=tmp_path) in said and len(said.strip().splitlines()) == 1


def test_images_are_not_sampled_of_it(toy):
    folder, _ = toy
    schedule = StepSchedule.from_json(json.loads(schedule_of(folder).read_text()))
    with pytest.raises(ConfigError, match="makes windows of time series, expected a supernet of"):
        sample_images(schedule, folder / "runs" / "toy" / "supernet", 0, 2)


def test_the_weather_is_configured_as_it_is_said():
    config = load(CONFIGS / "weather.yaml", default=CONFIGS / "digits.yaml")
    assert config.data.is_windows and config.search.steps == 50
    assert config.score.num_samples == 100 and config.diffusion.betas == "quadratic"
