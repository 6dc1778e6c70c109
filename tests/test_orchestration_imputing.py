"""Filling a table in this process, by networks that were trained with a mask."""

import csv
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_jobs_impute import own_table

from orchestration import chains, mask_fit
from orchestration import config as configs
from orchestration.checkpoints import build_supernet, load_supernet, save_supernet
from orchestration.data import prepare
from orchestration.errors import DataError
from orchestration.imputing import check_step, fill, read_imputer
from orchestration.mask_loop import MaskTraining
from orchestration.mask_plan import plan_budgets
from orchestration.readers.time_table import read_table
from orchestration.rundir import RunDirectory
from orchestration.supernet_description import read_description
from orchestration.table_files import write_table
from orchestration.training_windows import Windows
from orchestration.window_plot import WindowPicture
from orchestration.windows import load_part

TINY = (
    "search.budget=1", "search.steps=5", "data.name=table", "data.time=time", "data.window=8",
    "imputer.channels=8", "imputer.num_heads=4", "imputer.num_layers=1", "imputer.feedforward=8",
    "diffusion.num_train_timesteps=10", "diffusion.betas=quadratic", "sampler.name=ddpm",
    "sampler.clip_sample=false", "train.batch_size=8", "train.iterations=3",
    "train.warmup_iterations=1", "mask.candidates=10", "mask.steps=[3]", "mask.masks=4",
    "mask.updates=3", "mask.reward=elbo",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of a network of warm, cold and press, and a schedule."""
    return learned(folder, folder / "trained", load(folder, "mask.weights=scratch"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("imputing")
    own_table().to_csv(path / "mine.csv", index=False)
    own_table()[40:60].to_csv(path / "part.csv", index=False)
    return path


def load(folder, *overrides):
    return configs.load(None, [*TINY, f"data.path={folder / 'mine.csv'}", *overrides])


def learned(folder, out, config, supernet=None):
    """The folder of the network that `jobs.mask` trains, and the steps that it keeps."""
    data = prepare(config.data, folder / "cache", lambda line: None)
    windows = load_part(data.folder, "train").values
    start, budgets = mask_fit._start(config, data, supernet), plan_budgets(config, len(windows))
    network = build_supernet(start.network, (1.0,)).full
    if start.weights is not None:
        network.load_state_dict(start.weights)
    training = MaskTraining(config, budgets, Windows(torch.from_numpy(windows)), network)
    training.run(lambda row: None, lambda: None)
    run = RunDirectory(out)
    mask_fit._save_network(config, data, supernet, training.state(), run, {"mask": "it"})
    kept = training.learner.best[0].nonzero()[:, 0].tolist()
    return run.supernet, replace(chains.baseline(config), steps=training.chain.steps(kept))


def filled(folder, supernet, schedule):
    table = read_table(folder / "part.csv", "time")
    imputer = read_imputer(supernet, schedule)
    return imputer, fill(imputer, schedule, table, "time", 3, 0, lambda line: None)


@pytest.mark.parametrize("form", ["respaced", "literal"])
def test_a_network_that_learned_with_a_mask_fills_a_table(folder, tmp_path, form):
    config = load(folder, "mask.weights=scratch", f"mask.form={form}")
    supernet, schedule = learned(folder, tmp_path / "scratch", config)
    imputer, found = filled(folder, supernet, schedule)
    header = prepare(config.data, folder / "cache", lambda line: None).header
    assert imputer.variables == header.variables == ("warm", "cold", "press")
    assert (imputer.mean == header.mean).all() and (imputer.std == header.std).all()
    was, now = own_table()[40:60], found.table.to_pandas()
    now["press"] = now["press"].astype(float)  # of a CSV it is text
    assert now["press"].notna().all() and len(now) == 23  # three rows were missing
    there = was["press"].notna()
    np.testing.assert_array_equal(now["press"][was.index[there] - 40], was["press"][there])
    in_gaps = found.gaps[found.gaps["variable"] == "press"]["q50"]
    assert in_gaps.between(900, 1100).all()  # in the table's unit, not the network's


def test_so_does_one_that_was_tuned_with_it(folder, tmp_path):
    config = load(folder, "mask.weights=scratch")
    before, _ = learned(folder, tmp_path / "scratch", config)
    tuned = load(folder, "mask.weights=tuned", "mask.evaluations=64")
    after, schedule = learned(folder, tmp_path / "tuned", tuned, before)
    assert "" not in filled(folder, after, schedule)[1].table["warm"].to_pylist()
    metas = [read_description(of_one)["meta"] for of_one in (before, after)]
    assert metas[0] == metas[1] and set(metas[0]["windows"]) == {
        "name", "variables", "mean", "std", "step_s"
    }  # fmt: skip


def test_a_network_that_does_not_say_what_it_was_trained_on_is_refused_in_a_line(folder, tmp_path):
    supernet, schedule = learned(folder, tmp_path, load(folder, "mask.weights=scratch"))
    network = read_description(supernet)["network"]
    save_supernet(tmp_path / "silent", load_supernet(supernet), network, {})
    with pytest.raises(DataError, match="got no meta.windows, expected the variables") as error:
        read_imputer(tmp_path / "silent", schedule)
    assert "\n" not in str(error.value) and "silent" in str(error.value)


@pytest.mark.parametrize("kind", ["text", "timestamps", "nothing"])
def test_gaps_are_told_in_the_tables_own_time(folder, tmp_path, monkeypatch, kind):
    """So that its rows can be joined with those of the table."""
    supernet, schedule = learned(folder, tmp_path, load(folder, "mask.weights=scratch"))
    raw = pd.DataFrame({"warm": [20.0, np.nan, 21.0, 19.0], "press": [1e3, 1e3, 1e3, np.nan]})
    hours = ["01", "02", "03", "05"]  # the fourth row is missing
    texts = [f"2020-01-01 {hour}:00:00-05:00" for hour in hours]
    expected, first = [texts[1], "2020-01-01 04:00:00-05:00", texts[3]], texts[0]
    if kind == "text":
        raw["at"] = texts
    elif kind == "timestamps":
        raw["at"] = pd.to_datetime(pd.Series(texts)).dt.tz_convert("America/New_York")
        expected = [pd.Timestamp(text).tz_convert("America/New_York") for text in expected]
    else:
        expected, first = [1, 3], "0"
    raw.to_parquet(tmp_path / "own.parquet")
    column = None if kind == "nothing" else "at"
    table = read_table(tmp_path / "own.parquet", column)
    names = []
    monkeypatch.setattr(WindowPicture, "png", lambda self, rows: names.append(self.name))
    found = fill(read_imputer(supernet, schedule), schedule, table, column, 3, 0, lambda _: None)
    assert sorted(set(found.gaps["time"])) == expected and names == [first]
    if column is not None:
        write_table(tmp_path / "quantiles.parquet", found.gaps)
        gaps = pd.read_parquet(tmp_path / "quantiles.parquet")
        joined = found.table.to_pandas().merge(gaps, left_on=column, right_on="time")
        assert len(joined) == len(found.gaps) == 4
        of_warm = joined[joined["variable"] == "warm"]
        np.testing.assert_array_equal(of_warm["warm"], of_warm["q50"])


def written(trained, file, time_column, out, step_s=3600.0):
    """A table as it is filled and written, in the folder `out`."""
    supernet, schedule = trained
    table = read_table(file, time_column)
    imputer = replace(read_imputer(supernet, schedule), step_s=step_s)
    found = fill(imputer, schedule, table, time_column, 3, 0, lambda line: None)
    out.mkdir()
    write_table(out / file.name, found.table)
    return out / file.name


def test_cells_of_a_csv_that_are_not_filled_stay_the_texts_they_were(trained, tmp_path):
    lines = [
        "time,station,flag,note,count,warm,press",
        '2020-01-01 00:00,007,true,"a, b",5,1.50,1e3',
        "2020-01-01 02:00,008,false,,6,0.1000000000000000055511151231257827, ",
        "2020-01-01 03:00,009,TRUE,NA,7,NULL,1000",
    ]
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    found = written(trained, tmp_path / "own.csv", "time", tmp_path / "out").read_text()
    head, *rows = found.splitlines()
    assert head == lines[0] and len(rows) == 4
    gaps = {1: (5, 6), 2: (6,), 3: (5,)}  # of each row, the cells with medians
    texts = [lines[1], "2020-01-01 01:00,,,,,,", lines[2], lines[3]]
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        cells, was = (next(csv.reader([line])) for line in (row, text))
        for place, (cell, before) in enumerate(zip(cells, was, strict=True)):
            if place in gaps.get(number, ()):
                assert np.isfinite(float(cell)) and cell == repr(float(cell))
            else:
                assert cell == before


def test_columns_of_a_parquet_that_are_not_filled_keep_their_types(trained, tmp_path):
    hours = pd.to_datetime(["2020-01-01 00:00", "2020-01-01 02:00", "2020-01-01 03:00"])
    own = pa.table(
        {
            "time": pa.array(hours, pa.timestamp("ms", "Europe/Berlin")),
            "count": pa.array([2**62 + 1, 2, None], pa.int64()),
            "flag": pa.array([True, False, True]),
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "warm": pa.array([20, None, 21], pa.int32()),
        }
    )
    frame = own.to_pandas().astype({"warm": "Int32"})  # so that the file tells pandas of it
    own = own.replace_schema_metadata(pa.Schema.from_pandas(frame).metadata)
    pq.write_table(own, tmp_path / "own.parquet")
    file = written(trained, tmp_path / "own.parquet", "time", tmp_path / "out")
    found = pq.read_table(file)
    assert found.schema.types == [*own.schema.types[:4], pa.float64()]
    assert found["count"].to_pylist() == [2**62 + 1, None, 2, None]
    assert found["flag"].to_pylist() == [True, None, False, True]
    assert found["kind"].to_pylist() == ["a", None, "b", "a"]
    assert found["time"].to_pylist()[::2] == own["time"].to_pylist()[:2]
    warm = pd.read_parquet(file)["warm"]
    assert warm.notna().all() and warm[[0, 3]].tolist() == [20, 21]


def test_days_of_a_parquet_stay_days(trained, tmp_path):
    days = pa.array([date(2020, 1, 1), date(2020, 1, 3), date(2020, 1, 4)])
    own = pa.table({"day": days, "warm": [20.0, 21.0, 22.0]})
    pq.write_table(own, tmp_path / "own.parquet")
    file = written(trained, tmp_path / "own.parquet", "day", tmp_path / "out", 86400.0)
    found = pq.read_table(file)
    assert found["day"].to_pylist() == [date(2020, 1, day) for day in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", ["time", None])
def test_an_index_is_the_index_of_the_filled_parquet(trained, tmp_path, name):
    hours = pd.date_range("2020-01-01", periods=4, freq="h", name=name)
    own = pd.DataFrame({"note": ["a", "b", "c"], "warm": [20.0, 21.0, 22.0]}, hours[[0, 2, 3]])
    own.to_parquet(tmp_path / "own.parquet")
    column = name or "__index_level_0__"
    file = written(trained, tmp_path / "own.parquet", column, tmp_path / "out")
    found = pd.read_parquet(file)
    assert found.index.name == name and list(found.columns) == ["note", "warm"]
    assert found.index.tolist() == hours.tolist() and found["warm"].notna().all()
    assert found["note"].isna().tolist() == [False, True, False, False]
    untimed = written(trained, tmp_path / "own.parquet", None, tmp_path / "untimed")
    pd.testing.assert_frame_equal(pd.read_parquet(untimed), own)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (",warm,note,note", ",warm,note,note"),
        ("Unnamed: 0,warm,note,note", "Unnamed: 0,warm,note,note"),
        ("warm,note,note", ",warm,note,note"),  # R's
    ],
)
def test_names_of_columns_stay_as_they_were_though_they_be_none(trained, tmp_path, head, expected):
    (tmp_path / "own.csv").write_text(f"{head}\n00,20,a,b\n01,,c,d\n02,21,e,f\n")
    found = written(trained, tmp_path / "own.csv", None, tmp_path / "out").read_text()
    lines = found.splitlines()
    assert lines[:2] == [expected, "00,20,a,b"] and lines[3] == "02,21,e,f"
    assert lines[2].startswith("01,") and lines[2].endswith(",c,d") and ",," not in lines[2]


def read_hours(file, hours):
    rows = [f"2020-01-01 {hour:02d}:00,{20 + hour}" for hour in hours]
    file.write_text("\n".join(["time,warm", *rows]) + "\n")
    return read_table(file, "time")


def test_a_table_of_another_step_than_in_training_is_refused(trained, tmp_path):
    imputer = read_imputer(*trained)
    assert imputer.step_s == 3600
    table = read_hours(tmp_path / "own.csv", range(0, 24, 2))
    expected = "got steps of 0 days 02:00:00, expected 0 days 01:00:00 as .*supernet was trained"
    with pytest.raises(DataError, match=expected) as error:
        check_step(imputer, table)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=expected):
        fill(imputer, trained[1], table, "time", 3, 0, lambda line: None)
    check_step(replace(imputer, step_s=None), table)  # an older supernet


@pytest.mark.parametrize("hours", [range(24), [0, 2, 4, 5, 7, 9, 12], [3]])
def test_rows_that_are_missing_are_no_other_step(trained, tmp_path, hours):
    check_step(read_imputer(*trained), read_hours(tmp_path / "own.csv", hours))


def test_rows_without_times_have_no_step(trained, tmp_path):
    read_hours(tmp_path / "own.csv", range(0, 24, 2))
    check_step(read_imputer(*trained), read_table(tmp_path / "own.csv", None))


@pytest.mark.parametrize("kind", ["text", "view", "dictionary"])
def test_text_of_a_parquet_may_be_kept_in_any_way(trained, tmp_path, kind):
    texts = pa.array([f"2020-01-01 {hour:02d}:00" for hour in (0, 2, 3)])
    ways = {"view": texts.cast(pa.string_view()), "dictionary": texts.dictionary_encode()}
    own = pa.table({"time": ways.get(kind, texts), "warm": [20.0, 21.0, 22.0]})
    pq.write_table(own, tmp_path / "own.parquet")
    file = written(trained, tmp_path / "own.parquet", "time", tmp_path / "out")
    found = pq.read_table(file)
    assert found["time"].to_pylist() == [f"2020-01-01 {hour:02d}:00" for hour in range(4)]
    assert pa.types.is_dictionary(found.schema.field("time").type) == (kind == "dictionary")


OTHERS = {
    "never null": pa.field("other", pa.int64(), nullable=False),
    "fixed size": pa.field("other", pa.list_(pa.int8(), 2)),
    "within": pa.field("other", pa.struct([pa.field("name", pa.string_view())])),
    "within a list": pa.field("other", pa.list_(pa.struct([("x", pa.list_(pa.int8(), 1))]))),
}
VALUES = {
    "never null": [1, 2, 3],
    "fixed size": [[1, 2], [3, 4], [5, 6]],
    "within": [{"name": "a"}, {"name": "b"}, None],
    "within a list": [[{"x": [1]}], [], None],
}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("hours", [(0, 2, 3), (0, 1, 2)])
def test_columns_of_any_type_are_kept_and_read_back(trained, tmp_path, kind, hours):
    """Also where the type knows no nulls, and rows are put in."""
    texts = [f"2020-01-01 {hour:02d}:00" for hour in hours]
    others = pa.array(VALUES[kind], OTHERS[kind].type)
    columns = [pa.array(texts), pa.array([20.0, None, 22.0]), others]
    schema = pa.schema([("time", pa.string()), ("warm", pa.float64()), OTHERS[kind]])
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), tmp_path / "own.parquet")
    file = written(trained, tmp_path / "own.parquet", "time", tmp_path / "out")
    kept = dict(zip(hours, VALUES[kind], strict=True))
    assert pq.read_table(file)["other"].to_pylist() == [kept.get(h) for h in range(hours[-1] + 1)]
