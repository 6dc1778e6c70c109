"""Cells of a table that are neither numbers nor empty, where numbers are wanted."""

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.errors import DataError
from orchestration.imputing import Imputer, check_columns
from orchestration.readers.number_cells import EMPTY, check_numbers, is_empty, numbers_of
from orchestration.readers.time_table import read_table, time_table


def imputer_of(*variables):
    ones = np.ones(len(variables))
    return Imputer(Path("supernet"), variables, 0 * ones, ones, 8, None)


def own(tmp_path, *lines):
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "own.csv"


@pytest.mark.parametrize("text", [*sorted(EMPTY), " ", " NA "])
def test_what_pandas_takes_for_missing_is_a_gap_in_csv_and_parquet_alike(tmp_path, text):
    file = own(tmp_path, "warm,cold", "20,1", f"{text},1", "22,1")
    pd.DataFrame({"warm": ["20", text, "22"], "cold": 1.0}).to_parquet(tmp_path / "own.parquet")
    for path in (file, tmp_path / "own.parquet"):
        table = read_table(path, None)
        np.testing.assert_array_equal(table.values["warm"], [20, np.nan, 22])
        check_columns(imputer_of("warm"), table)


def test_pandas_takes_no_other_text_for_missing():
    """The list is a copy: should pandas' be another one day, this fails."""
    from pandas._libs.parsers import STR_NA_VALUES

    assert EMPTY == STR_NA_VALUES


@pytest.mark.parametrize(
    ("cell", "got"),
    [
        ('"1,234.5"', "'1,234.5'"),
        ("hot", "'hot'"),
        ("--", "'--'"),
        ("inf", "inf"),
        ("-inf", "-inf"),
        ("1e39", "1e+39"),
        ("x" * 100, "'" + "x" * 36 + "..."),
    ],
)
def test_a_variable_with_a_cell_that_is_no_number_is_refused_in_a_line(tmp_path, cell, got):
    file = own(tmp_path, "note,warm,cold", "a,20,1", "b,,2", f"c,{cell},3", "d,22,4")
    table = read_table(file, None)
    with pytest.raises(DataError) as error:
        check_columns(imputer_of("cold", "warm"), table)
    assert str(error.value) == (
        f"the table: column 'warm', row 3 of the data: got {got} (the only such cell), expected a"
        " number such as 1234.5, at most 3.4e+38, an empty cell for a gap, or no such column"
    )
    assert check_columns(imputer_of("cold"), table) == (["cold"], ["warm"], [])


def test_all_such_cells_are_counted_and_the_first_is_shown(tmp_path):
    rows = ["2020-01-03,1,--", "", "2020-01-01,hot,2", "2020-01-02,warm,3", "2020-01-04,4,4"]
    table = read_table(own(tmp_path, "t,warm,cold", *rows), "t")
    with pytest.raises(DataError, match="'warm', row 2 .* got 'hot' .the first of 3 such cells"):
        check_columns(imputer_of("cold", "warm"), table)
    with pytest.raises(DataError, match="column 'cold', row 1 of the data: got '--' .the only"):
        check_columns(imputer_of("cold"), table)


def test_a_variable_that_is_text_throughout_is_not_taken_for_one_that_is_lacking(tmp_path):
    table = read_table(own(tmp_path, "warm,cold", '"20,5",1', '"21,5",2', '"22,0",3'), None)
    with pytest.raises(DataError, match="'warm', row 1 .* got '20,5' .the first of 3 such cells"):
        check_columns(imputer_of("warm", "cold"), table)


def test_variables_that_the_table_lacks_are_named(tmp_path):
    table = read_table(own(tmp_path, "rain,warm,note", "1,20,a", "2,,b"), None)
    found = check_columns(imputer_of("press", "warm", "cold"), table)
    assert found == (["warm"], ["rain"], ["press", "cold"])


def test_a_table_to_train_on_is_refused_alike_when_it_is_read(tmp_path):
    rows = [f"{n},{n},a" for n in range(40)]
    assert len(time_table(own(tmp_path, "a,b,note", *rows), None, 2).read()) == 3
    rows[7] = "7,hot,a"
    source = time_table(own(tmp_path, "a,b,note", *rows), None, 2)
    with pytest.raises(DataError, match="own.csv: column 'b', row 8 of the data: got 'hot'"):
        source.read()


def test_text_where_no_numbers_are_wanted_may_be_anything():
    frame = pd.DataFrame({"note": ["a", "b", "3"], "id": ["1", "2", "x"], "n": [1, 2, 3]})
    numbers, strange = numbers_of(frame)
    assert list(numbers.columns) == ["id", "n"] and set(strange) == {"note", "id"}
    check_numbers(strange, ["n"], "here")


def test_numbers_of_all_kinds():
    nothing = [None, pd.NA, float("nan"), pd.NaT]
    numbers, strange = numbers_of(
        pd.DataFrame(
            {
                "decimal": [Decimal("1.5"), None, Decimal("2"), None],
                "whole": pd.array([1, None, 3, 4], "Int32"),
                "text": [" 1 ", "2", None, "4e2"],
                "nothing": nothing,
                "true": [True, None, False, True],
                "when": pd.to_datetime(["2020-01-01"] * 4),
            }
        )
    )
    assert not strange and list(numbers.columns) == ["decimal", "whole", "text", "nothing"]
    assert (numbers.dtypes == np.float64).all() and numbers["text"].tolist()[::3] == [1, 400]
    assert is_empty(pd.Series(nothing, dtype=object)).all()


def test_a_variable_that_holds_truth_values_is_not_called_missing(tmp_path):
    table = read_table(own(tmp_path, "x,f", "1,True", "2,", "3,False"), None)
    with pytest.raises(DataError, match="column 'f': got truth values, times or row names, exp"):
        check_columns(imputer_of("x", "f"), table)
    assert check_columns(imputer_of("x", "y"), table) == (["x"], [], ["y"])
