import numpy as np
import pandas as pd
import pytest

from orchestration.config import load
from orchestration.data import headers, look, prepare, read_header
from orchestration.dry_run import check_features
from orchestration.errors import ConfigError, DataError
from orchestration.files import MANIFEST, read_json
from orchestration.supernet_description import trained_on
from orchestration.training_sections import Data
from orchestration.window_formats import MAX_TRAIN, Part, cut_cycles
from orchestration.window_panels import (
    HIDDEN,
    panel,
    report_panel,
    search_panel,
    spread_order,
)
from orchestration.windows import load_part, normalise, restore

T, LENGTH = 240, 8


@pytest.fixture
def table(tmp_path):
    """Three cycles of hours of two variables, with gaps, each value telling its own time."""
    frame = pd.DataFrame({"a": np.arange(T, dtype=float), "b": 1000 - 2.0 * np.arange(T)})
    frame.loc[5, "a"] = np.nan
    frame.loc[60:62, "b"] = np.nan
    frame.to_csv(tmp_path / "mine.csv", index=False)
    return Data(name="table", path=tmp_path / "mine.csv", window=LENGTH)


def test_parts_share_no_time_and_leave_none_out(table, tmp_path):
    data = prepare(table, tmp_path / "cache")
    times = {}
    for name in ("train", "validation", "test"):
        values = restore(load_part(data.folder, name).values, data.header)[:, 0]
        times[name] = {round(v) for v in values[np.isfinite(values)]}
    assert not times["train"] & times["validation"] and not times["train"] & times["test"]
    assert not times["validation"] & times["test"]
    assert set.union(*times.values()) == set(range(T)) - {5}
    assert data.header.counts == {"train": 3 * 41, "validation": 6, "test": 6}
    assert data.header == read_header(data.folder) == headers(table)
    assert data.header.shape == (1, 2, LENGTH) and data.header.num_classes is None
    assert look(table)[1][0].endswith("% of the training entries are gaps")


def test_the_step_of_times_is_kept_where_there_are_any(table, tmp_path):
    """Without times the manifest is what it was before: by it runs know their data again."""
    untimed = prepare(table, tmp_path / "cache")
    assert untimed.header.step_s is None and "step_s" not in read_json(untimed.folder / MANIFEST)
    frame = pd.read_csv(table.path)
    frame["at"] = pd.date_range("2020-01-01", periods=T, freq="15min")
    frame.drop(index=[1, 2, 4, 6]).to_csv(table.path, index=False)
    timed = prepare(table.model_copy(update={"time": "at"}), tmp_path / "cache")
    assert timed.header.step_s == 900 == read_header(timed.folder).step_s
    settings = config(table)
    assert trained_on(settings, timed.header)["windows"]["step_s"] == 900
    assert "step_s" not in trained_on(settings, untimed.header)["windows"]


def test_gaps_stay_gaps(table, tmp_path):
    data = prepare(table, tmp_path / "cache")
    train = load_part(data.folder, "train").values
    known = restore(train, data.header)
    a, b = np.rint(known[:, 0]), np.rint(known[:, 1])
    assert np.isnan(b[(a >= 60) & (a <= 62)]).all()
    assert np.isnan(a[b == 990]).all() and np.isfinite(a[b == 1000]).all()


def test_normalisation_is_the_training_datas_alone(tmp_path):
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(5, 2, 80), "b": 7.0})
    frame.loc[48:, "a"] += 100  # the validation and test windows of the one cycle
    frame.to_parquet(tmp_path / "mine.parquet")
    data = prepare(
        Data(name="table", path=tmp_path / "mine.parquet", window=8), tmp_path / "cache"
    )
    starts = np.arange(41)
    seen = np.concatenate([frame["a"].to_numpy()[s : s + 8] for s in starts])
    assert data.header.mean == pytest.approx((seen.mean(), 7.0), rel=1e-6)
    assert data.header.std == pytest.approx((seen.std(), 1.0), rel=1e-6)  # b never varies
    train, test = (load_part(data.folder, name).values for name in ("train", "test"))
    assert train[:, 0].mean() == pytest.approx(0, abs=1e-4)
    assert train[:, 0].std() == pytest.approx(1, abs=1e-4) and test[:, 0].mean() > 20


def test_normalise_and_restore_undo_each_other(table, tmp_path):
    header = prepare(table, tmp_path / "cache").header
    values = np.random.default_rng(0).normal(size=(3, 2, LENGTH)) * 50
    np.testing.assert_allclose(restore(normalise(values, header), header), values, rtol=1e-4)


def test_a_changed_source_and_a_damaged_part(table, tmp_path):
    folder = prepare(table, tmp_path / "cache").folder
    assert prepare(table, tmp_path / "cache").folder == folder
    (folder / "test.npy").write_bytes(b"x")
    with pytest.raises(DataError, match="test.npy is damaged: .*delete .* to have it made again"):
        load_part(folder, "test")
    table.path.write_text(table.path.read_text().replace("1000.0", "1001.0"))
    assert prepare(table, tmp_path / "cache").folder != folder


def test_long_series_are_thinned_and_short_ones_refused():
    values = np.zeros((MAX_TRAIN * 4, 1), np.float32)
    names = [str(i) for i in range(len(values))]
    found = cut_cycles(values, 2, names, "here")
    assert MAX_TRAIN / 2 < len(found["train"].values) <= MAX_TRAIN
    with pytest.raises(DataError, match="here: got 19 times, expected at least 20: ten windows"):
        cut_cycles(values[:19], 2, names, "here")


def test_a_variable_that_was_never_recorded(tmp_path):
    pd.DataFrame({"a": np.arange(80.0), "b": np.nan}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="b was never recorded in the training data"):
        look(Data(name="table", path=tmp_path / "t.csv", window=8))


def config(table, *overrides):
    sets = [f"data.path={table.path}", "data.name=table", "data.window=8"]
    sets += ["sampler.clip_sample=false", "search.budget=1", "score.block_size=1"]
    sets += ["search.num_images=6", "score.num_images=6", "score.batch_size=2", *overrides]
    return load(None, sets)


def test_searches_and_reports_see_other_windows(table, tmp_path):
    settings = config(table, "search.num_samples=3", "score.num_samples=9")
    folder = prepare(table, tmp_path / "cache").folder
    search, report = search_panel(settings, folder), report_panel(settings, folder)
    assert (search.num_samples, report.num_samples) == (3, 9)
    assert search.values.shape == report.values.shape == (6, 2, 8)
    for shown, name in ((search, "validation"), (report, "test")):
        values = load_part(folder, name).values
        values = values[spread_order(len(values))] if shown is search else values
        there = np.isfinite(values)
        scored, given = shown.scored.numpy(), shown.given.numpy()
        assert np.array_equal(scored | given, there) and not (scored & given).any()
        assert scored.sum() == sum(round(0.1 * each.sum()) for each in there)
        np.testing.assert_array_equal(shown.values.numpy(), np.nan_to_num(values))


@pytest.mark.parametrize("count", [1, 2, 36, 100])
def test_any_first_windows_of_a_search_are_spread_over_all(count):
    order = spread_order(count)
    assert sorted(order.tolist()) == list(range(count))
    for first in range(4, count + 1):
        gaps = np.diff(np.sort(order[:first].numpy()), prepend=-1, append=count)
        assert gaps.max() <= 3 * count / first + 1  # twelve of a year's 36: no quarter is left out


def test_what_the_source_hides_is_scored_and_given_nowhere():
    values = np.ones((2, 1, 4), np.float32)
    values[0, 0, 3] = np.nan
    hidden = np.zeros((2, 1, 4), bool)
    hidden[0, 0, 2:] = True
    found = panel(Part(values, ("x", "y"), hidden), 5, 0.5, 0)
    assert found.scored[0, 0].tolist() == [False, False, True, False]
    assert found.given[0, 0].tolist() == [True, True, False, False]
    assert found.given[1].all() and HIDDEN >> 32


def test_more_windows_than_there_are(table):
    header = headers(table)
    for key, part in (("search", "validation"), ("score", "test")):
        with pytest.raises(
            ConfigError, match=rf"{key}.num_images: got 7, expected at most 6, the {part} windows"
        ):
            check_features(config(table, f"{key}.num_images=7"), header)
    check_features(config(table, "search.num_images=7"), header, searches=False)  # as of masks


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sampler.clip_sample=true", "sampler.clip_sample: got true, expected false where"),
        ("network.conditional=true", "network.conditional: got true, expected false where"),
        ("data.path=null", "data.path: got null, expected a CSV or parquet file"),
        ("imputer.num_heads=5", "imputer.num_heads: got 5, expected a divisor of"),
        ("score.hide=0", "score.hide: got 0, expected greater than 0"),
    ],
)
def test_mistakes(table, override, expected):
    with pytest.raises(ConfigError) as error:
        config(table, override)
    assert expected in str(error.value)


def test_keys_of_windows_mean_nothing_to_images():
    with pytest.raises(ConfigError, match="data.window: got 9, expected null where data.name is"):
        load(None, ["search.budget=1", "data.window=9"])
    with pytest.raises(ConfigError, match="data.time: got \"t\", expected null where data.name"):
        load(None, ["search.budget=1", "data.time=t"])
