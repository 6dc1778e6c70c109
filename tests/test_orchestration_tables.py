"""The table of a front says what the front says."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from orchestration.tables import front_table, quality_text
from tests.fakes import fake_front, fake_latency, fake_latency_front


@pytest.fixture
def front():
    return fake_front()


def test_table_tells_the_front_in_80_columns(front):
    console = Console(width=80, record=True, file=StringIO())
    console.print(front_table(front, fake_latency(front)))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= 80
    (line,) = (line for line in lines if line.startswith("m05 ★"))
    assert line.split() == "m05 ★ 82d432325775 40 52 % 52 % 1.81x 8.04 ± 0.32 +3.3 ± 2.3 %".split()
    assert sum(line.startswith("m") for line in lines) == 10
    (line,) = (line for line in lines if line.startswith("baseline"))
    assert line.split() == "baseline 9e2916c27429 50 – – 1.00x 7.78 ± 0.31 –".split()
    text = " ".join("\n".join(lines).split())
    assert "Noise floor 4.51: 898 real images" in text
    assert "Hypervolume 1.20 times" in text


def table_text(front, latency):
    console = Console(width=80, record=True, file=StringIO())
    console.print(front_table(front, latency))
    return " ".join(console.export_text().split())


def test_the_table_says_where_fewer_uniform_steps_are_far_better_than_the_baseline(front):
    assert "weak" not in table_text(front, {})
    tenth = front["baseline"]["quality"] / 10
    front["uniform"][3]["delta_ci"] = [-5 * tenth, -tenth]  # not beyond doubt
    front["uniform"][6]["delta_ci"] = [-4 * tenth, -1.1 * tenth]
    better = front["uniform"][6]
    steps = better["schedule"]["steps"]
    said = f"The baseline is weak: {len(steps)} uniform steps at width {steps[0]['width']:g} reach"
    assert f"{said} {quality_text(better)} (-25.5 ± 14.5 %)." in table_text(front, {})


def test_the_table_of_a_search_for_latency_says_what_savings_are_of_and_how_sure_that_is(front):
    found, latency = fake_latency_front(), fake_latency(front)
    errors = [100 * of["latency_error"] for of in latency.values()]
    text = table_text(found, latency)
    assert (
        "Savings are of the predicted latency, which is off by"
        f" {np.mean(errors):.1f} % in the mean and {max(errors):.1f} % at most;"
        " faster is measured."
    ) in text
    one = {found["baseline"]["key"]: {"latency_ms": 1.0, "speedup": 1.0}}
    assert "Savings are of the predicted latency." in table_text(found, one)
    assert "predicted" not in table_text(front, latency)
    saved = f"{100 * found['members'][0]['savings']:.0f} %"
    assert f"{found['members'][0]['key']}" in text and saved in text


def test_errors_of_a_prediction_count_whichever_way_they_go():
    found = fake_latency_front()
    latency = {
        key: {"latency_ms": 1.0, "speedup": 1.0, "latency_error": error}
        for key, error in (("a", 0.02), ("b", -0.04))
    }
    assert "off by 3.0 % in the mean and 4.0 % at most" in table_text(found, latency)


def test_table_without_latency_or_rival(front):
    (row,) = [
        [str(cell) for cell in cells]
        for cells in zip(*(c.cells for c in front_table(front, {}).columns), strict=True)
        if cells[0] == "m01"
    ]
    assert row[4:6] == ["–", "–"]
