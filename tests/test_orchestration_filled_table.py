"""What is written of a table when its gaps are known, without a network."""

import numpy as np

from orchestration.filled_table import QUANTILES, filled_table, times_of
from orchestration.readers.time_table import read_table
from orchestration.table_files import write_table


def written(tmp_path, text, time, *variables):
    """The lines of the filled CSV, with 7.5 in each gap."""
    (tmp_path / "own.csv").write_text(text)
    table = read_table(tmp_path / "own.csv", time)
    wanted = table.values[list(variables)].isna().to_numpy()
    quantiles = np.full((len(QUANTILES), *wanted.shape), 7.5)
    filled = filled_table(table, time, times_of(table), variables, wanted, quantiles)
    write_table(tmp_path / "filled.csv", filled)
    return (tmp_path / "filled.csv").read_text().splitlines()


def test_a_blank_line_is_filled(tmp_path):
    assert written(tmp_path, "warm\n20\n\n22\n", None, "warm") == ["warm", "20", "7.5", "22"]


def test_rows_stay_where_they_were_below_an_empty_row(tmp_path):
    found = written(tmp_path, "warm,note,cold\n20,a,1\n,,\n22,,3\n\n,b,4\n", None, "warm", "cold")
    assert found == ["warm,note,cold", "20,a,1", "7.5,,7.5", "22,,3", "7.5,b,4"]


def test_blank_lines_are_no_rows_where_times_name_them(tmp_path):
    text = "t,warm,note\n2020-01-04,4,d\n\n2020-01-01,1,a\n,,\n2020-01-02,,b\n\n"
    assert written(tmp_path, text, "t", "warm") == [
        "t,warm,note", "2020-01-01,1,a", "2020-01-02,7.5,b", "2020-01-03,7.5,", "2020-01-04,4,d"
    ]  # fmt: skip
