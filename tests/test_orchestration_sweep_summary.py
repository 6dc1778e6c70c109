import html
import json
from copy import deepcopy

import numpy as np
import pytest
from fakes import RECOMMENDED, fake_front
from rich.console import Console

from orchestration.costs import UNITS
from orchestration.files import canonical_json
from orchestration.sweep_page import sweep_html, sweep_page_figure
from orchestration.sweep_plot import sweep_figure, uniform_front
from orchestration.sweep_summary import Swept, search_row, summarize_sweep
from orchestration.sweep_tables import failure_lines, sweep_tables


def scaled(factor):
    """The fake front, its quality in other units; relative to the baseline it is the same."""
    front = deepcopy(fake_front())
    for m in [*front["members"], *front["uniform"]]:  # the baseline is one of the uniform ones
        m["quality"] *= factor
        for ends in ("quality_ci", "delta_ci"):
            m[ends] = [factor * end for end in m[ends]]
    for name in ("hypervolume", "hypervolume_uniform"):
        front[name] *= factor
    return front


def stingy():
    """A front whose recommended schedule is its baseline."""
    front = fake_front()
    return {**front, "recommended": front["baseline"]["key"]}


def swept(dataset, seed, front, optimizer="nsga2", failure=None):
    return Swept(f"{dataset}-{optimizer}-{seed}", dataset, optimizer, seed, front, failure)


@pytest.fixture
def sweep():
    return [
        swept("digits", 0, fake_front()),
        swept("photos", 0, scaled(40.0)),
        swept("broken", 0, None, failure="/none: no such folder"),
        swept("digits", 1, stingy()),
        swept("photos", 1, scaled(40.0)),
        swept("broken", 1, None, failure="/none: no such folder"),
    ]


def test_a_row_tells_of_the_recommended_schedule_against_the_baseline():
    front = fake_front()
    row = search_row(swept("digits", 0, front))
    base = front["baseline"]["quality"]
    (chosen,) = (m for m in front["members"] if m["key"] == front["recommended"])
    assert row["savings"] == 1 - chosen["macs"] / front["baseline"]["macs"]
    assert row["loss"] * base == pytest.approx(chosen["quality"] - base)
    assert [row["loss_low"] * base, row["loss_high"] * base] == pytest.approx(chosen["delta_ci"])
    assert row["loss_low"] < row["loss"] < row["loss_high"]
    assert row["hypervolume_ratio"] == front["hypervolume"] / front["hypervolume_uniform"]
    assert row["num_members"] == 10 and row["failure"] is None and RECOMMENDED == 4


def test_a_recommended_baseline_saves_and_loses_nothing():
    row = search_row(swept("digits", 0, stingy()))
    assert (row["savings"], row["loss"], row["loss_low"], row["loss_high"]) == (0, 0, 0, 0)


def test_uniform_schedules_without_hypervolume_give_no_ratio():
    row = search_row(swept("digits", 0, {**fake_front(), "hypervolume_uniform": 0.0}))
    assert row["hypervolume_ratio"] is None and row["savings"] > 0


def test_the_units_of_quality_do_not_matter():
    ours, theirs = (search_row(swept("a", 0, front)) for front in (fake_front(), scaled(40.0)))
    assert theirs.pop("baseline_quality") == pytest.approx(40 * ours.pop("baseline_quality"))
    assert {k: pytest.approx(v) if isinstance(v, float) else v for k, v in ours.items()} == theirs


def test_medians_are_over_the_seeds_that_are_done(sweep):
    summary = summarize_sweep(sweep)
    assert [row["name"] for row in summary["searches"]] == [
        f"{label}-nsga2-{seed}" for label in ("digits", "photos", "broken") for seed in (0, 1)
    ]
    digits, photos, broken = summary["medians"]
    savings = search_row(sweep[0])["savings"]
    assert digits["savings"] == pytest.approx(savings / 2) and digits["num_seeds"] == 2
    assert photos["savings"] == savings
    assert broken["num_seeds"] == 0 and broken["savings"] is None
    assert json.loads(canonical_json(summary)) == summary


def test_the_terminal_has_a_row_for_each_search_and_a_line_for_each_reason(sweep):
    summary = summarize_sweep(sweep)
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    for table in sweep_tables(summary, UNITS["macs"]):
        console.print(table)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert sum(line[:2] == ["digits", "nsga2"] for line in lines) == 3  # two seeds, a median
    row = search_row(sweep[0])
    (shown,) = (line for line in lines if line[:3] == ["photos", "nsga2", "0"])
    assert f"{100 * row['savings']:.0f}" in shown and f"{100 * row['loss']:+.1f}" in shown
    assert failure_lines(summary["searches"]) == [
        "not done: broken-nsga2-0, broken-nsga2-1: /none: no such folder"
    ]
    single = summarize_sweep(sweep[:3])
    assert len(sweep_tables(single, UNITS["macs"])) == 1  # no medians of one seed


@pytest.mark.parametrize(("cost", "text"), [("macs", "MACs"), ("latency", "predicted latency")])
def test_the_caption_names_the_cost_that_was_searched_by(cost, text):
    front = fake_front()
    for m in [*front["members"], *front["uniform"], front["baseline"]]:
        m["latency_predicted_ms"] = m["macs"] / 1e6
    sweep = [swept("digits", 0, {**front, "cost": cost})]
    summary = summarize_sweep(sweep)
    line = f"the recommended schedule's {text} and quality against the baseline's"
    (table,) = sweep_tables(summary, UNITS[cost])
    assert line in table.caption
    assert html.escape(line) in sweep_html("a", sweep, summary)


def test_every_front_is_charted_relative_to_its_own_baseline(sweep):
    traces = sweep_page_figure(sweep).data
    lines = {t.name: t for t in traces if t.mode == "lines+markers" and t.showlegend}
    assert set(lines) == {"digits, nsga2", "photos, nsga2"}
    digits, photos = lines["digits, nsga2"], lines["photos, nsga2"]
    np.testing.assert_allclose(digits.x, photos.x)
    np.testing.assert_allclose(digits.y, photos.y)
    assert digits.line.color != photos.line.color
    front = fake_front()
    base = front["baseline"]["quality"]
    ours = sorted((100 * m["savings"], m["quality"] / base) for m in front["members"])
    np.testing.assert_allclose(np.transpose([digits.x, digits.y]), ours)
    stars = [t for t in traces if t.mode == "markers"]
    assert [len(t.x) for t in stars] == [1] * 4 and sum(t.x[0] == 0 for t in stars) == 1
    assert sum(t.mode == "lines" for t in traces) == 2  # the uniform schedules of a data set
    assert sum(t.mode == "lines+markers" for t in traces) == 4
    # and in the picture
    (axes,) = sweep_figure(sweep).axes
    drawn = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(drawn["photos, nsga2"].get_ydata(), photos.y)


def test_the_uniform_line_holds_what_no_uniform_schedule_dominates():
    front = fake_front()
    kept = uniform_front(front)
    for m in front["uniform"]:
        better = any(
            o["macs"] <= m["macs"] and o["quality"] <= m["quality"]
            and (o["macs"], o["quality"]) != (m["macs"], m["quality"])
            for o in front["uniform"]
        )  # fmt: skip
        assert (m in kept) is not better
    assert kept[0]["savings"] == 0


def test_the_page_needs_no_network_and_tells_what_failed(sweep):
    summary = summarize_sweep([*sweep, swept("<b>", 0, None, failure="a < b")])
    page = sweep_html("my <sweep>", sweep, summary)
    assert page == sweep_html("my <sweep>", sweep, summary)
    assert "<script src" not in page and "cdn.plot.ly" not in page.partition("Plotly.newPlot")[2]
    assert "my &lt;sweep&gt;" in page and "not done: &lt;b&gt;-nsga2-0: a &lt; b" in page
    assert "broken-nsga2-0, broken-nsga2-1: /none: no such folder" in page
    assert "Medians over seeds" in page


def test_a_sweep_that_has_found_nothing_still_has_a_page_and_a_picture(sweep):
    nothing = [s for s in sweep if s.front is None]
    page = sweep_html("sweep", nothing, summarize_sweep(nothing))
    assert "no such folder" in page
    assert len(sweep_figure(nothing).axes) == 1
