"""Tables of one's own: what is a time, a variable, a gap."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.errors import DataError
from orchestration.readers.table_cells import read_cells
from orchestration.readers.time_table import as_in, read_table, time_table


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
        ("t,x\n,1\n2020-01-01,2\n", "t", "'t' has an empty time in row 1 of"),
        ("t,x\n\n2020-01-01,2\n\n,1\n", "t", "'t' has an empty time in row 2 of the data"),
        ("t,x\n\n,\n", "t", "got empty rows alone; expected times in column 't'"),
        ("t,x\n", None, "got the columns t, x, and no rows; expected columns of numbers"),
        ('t,x\na,"20,5"\nb,"1.021,5"\n', "t", "the columns t, x, 'x' for one with '20,5'; exp"),
        ('t,x\na,"20,5"\n', None, "'20,5'; expected columns of numbers with a point before dec"),
        ("t;x\n1;2\n", "t", "got the names 't;x' with ';' between columns, expected commas"),
        ("t;x\n1;20,5\n2;21\n", None, "got the names 't;x' with ';' between columns, expected"),
        ("t\tx\n1\t20,5\n", None, "expected commas there, and a point before decimals"),
        ("t,x\n1,2\n1,2,3\n", None, "Expected 2 fields in line 3, saw 3; expected a table"),
        ("t,x\n2020-01-01,1\n", "time", "has no column 'time'; expected one of"),
        ("t,x\n00:00,1\n01:00,2\n", "t", "column 't': got '00:00', expected times with year"),
        ("t,x\n1:00:00.5Z,1\n2:00:00.5Z,2\n", "t", "got '1:00:00.5Z', expected times with year"),
        ("t,x\n7:05 PM,1\n", "t", "got '7:05 PM', expected times with year, month and day"),
        ("t,x\n01 Jan 10:00,1\n", "t", "got '01 Jan 10:00', expected times with year"),
        ("t,x\nnow,1\n", "t", "got 'now', expected times with year, month and day"),
        ("t,x\na,b\n", None, "got the columns t, x, 't' for one with 'a'; expected columns of"),
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


def test_columns_of_a_parquet_have_names_that_differ(tmp_path):
    pq.write_table(pa.table([[1.0], [2.0], [3.0]], ["a", "b", "a"]), tmp_path / "own.parquet")
    with pytest.raises(DataError, match="more than one column with the name 'a', exp") as error:
        read_cells(tmp_path / "own.parquet")
    assert "FieldRef" not in str(error.value) and "own.parquet" in str(error.value)


def test_a_name_may_have_a_mark_that_separates_columns_elsewhere(tmp_path):
    assert list(read_table(own(tmp_path, "P(a|b)\n.1\n.2\n"), None).values.columns) == ["P(a|b)"]


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(DataError, match="expected a file that ends in .csv or .parquet"):
        time_table(own(tmp_path, "", ".txt"), None, None)
    with pytest.raises(DataError, match="cannot read .*own.parquet"):
        time_table(own(tmp_path, "no", ".parquet"), None, None)


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_blank_line_is_a_row_and_the_last_newline_begins_none(tmp_path, end, newline):
    text = "\nwarm\n20\n\n22\n  \n24" + end
    (tmp_path / "own.csv").write_bytes(text.replace("\n", newline).encode())
    table = read_table(tmp_path / "own.csv", None)
    np.testing.assert_array_equal(table.values["warm"], [20, np.nan, 22, np.nan, 24])
    assert table.raw["warm"].to_pylist() == ["20", "", "22", "  ", "24"] and not table.strange


def test_ends_of_lines_that_were_ended_twice_and_blank_lines_at_the_end_are_no_rows(tmp_path):
    for name, text in (("a.csv", "warm\r\r\n20\r\r\n22\r\r\n"), ("b.csv", "warm\n20\n22\n\n\n\n")):
        (tmp_path / name).write_bytes(text.encode())
        assert read_table(tmp_path / name, None).values["warm"].tolist() == [20, 22]
    (tmp_path / "c.csv").write_bytes(b"x,y\r\r\n1,2\r\r\n\r\r\n3,4\r\r\n\r\r\n")
    assert read_table(tmp_path / "c.csv", None).values.to_numpy().tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("head", "first", "blank", "last"),
    [
        ("a,b,flag", "1,2,true", "", "3,4,false"),
        ("a,b,flag", "1,2,true", " ", "3,4,false"),
        ("a,b,flag", "1,2,true", ",,", "3,4,false"),
        ("a,b", "x,1,2", "", "y,3,4"),  # R's, whose header is a cell shorter
    ],
)
def test_of_several_columns_only_a_row_of_empty_cells_is_one(tmp_path, head, first, blank, last):
    values = read_table(own(tmp_path, "\n".join([head, first, blank, last])), None).values
    gap = [[np.nan, np.nan]] * blank.startswith(",")
    np.testing.assert_array_equal(values, [[1, 2], *gap, [3, 4]])
    assert list(values.columns) == ["a", "b"]  # truth values with a gap are no numbers, either


@pytest.mark.parametrize("blank", ["", "  ", ",,", "NA,,"])
def test_a_row_without_a_time_or_anything_else_is_none(tmp_path, blank):
    rows = ("t,x,n", "2020-01-03,3,c", blank, "2020-01-01,1,a", blank, "")
    table = read_table(own(tmp_path, "\n".join(rows)), "t")
    np.testing.assert_array_equal(table.values["x"], [1, 3])
    assert table.rows.tolist() == [1, 0] and len(table.times) == len(table.raw) == 2
    assert table.raw["n"].to_pylist() == ["c", "a"]


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
