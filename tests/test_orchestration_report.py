"""The pictures show what the front says: artists against the numbers, pixels against images."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from PIL import Image

from orchestration import report
from orchestration.errors import MachineError
from orchestration.figures import png_bytes, width_colours
from orchestration.front_page import page_figure, pareto_html
from orchestration.front_plot import attained, pareto_figure, pareto_png, uniform_of_width
from orchestration.members import front_members, widths_of
from orchestration.report import pictured
from orchestration.schedule_plot import (
    MAX_STRIPS,
    chosen_members,
    schedules_figure,
    schedules_png,
)
from orchestration.tracked_front import schedule_runs
from tests.fakes import fake_front, fake_latency_front


@pytest.fixture
def front():
    return fake_front()


def read_png(content):
    return np.array(Image.open(BytesIO(content)))


def drawn(axes, label):
    """Points (n, 2) and error bars (n, 2) of what is drawn under a label."""
    container = next(c for c in axes.containers if c.get_label() == label)
    line, _, bars = container
    assert isinstance(bars[0], LineCollection)
    ends = [segment[:, 1] for segment in bars[0].get_segments()]
    return np.array(line.get_xydata()), np.array(ends)


def expected(members):
    points = [[100 * member["savings"], member["quality"]] for member in members]
    return np.array(points), np.array([member["quality_ci"] for member in members])


def is_drawn(axes, label, members):
    points, ends = drawn(axes, label)
    return all(
        np.allclose(found, wanted)
        for found, wanted in zip((points, ends), expected(members), strict=True)
    )


def test_pareto_shows_every_schedule_with_its_interval(front):
    axes = pareto_figure(front).axes[0]
    named = front_members(front)
    members = [entry.member for entry in named if entry.role == "member"]
    recommended = [entry.member for entry in named if entry.role == "recommended"]
    assert is_drawn(axes, "front", members)
    assert is_drawn(axes, "recommended", recommended)
    assert is_drawn(axes, "baseline, 50 steps", [front["baseline"]])
    for width in widths_of(front):
        assert is_drawn(axes, f"uniform, width {width:g}", uniform_of_width(front, width))
    assert axes.get_yscale() == "log"


def test_pareto_shows_noise_floor_and_macs(front):
    figure = pareto_figure(front)
    axes = figure.axes[0]
    levels = [line.get_ydata()[0] for line in axes.lines if line.get_xdata()[0] == 0]
    assert front["noise_floor"] in levels
    assert front["baseline"]["quality"] in levels
    assert any("898 each" in text.get_text() for text in axes.texts)
    (top,) = axes.child_axes
    png_bytes(figure)  # the second axis takes its limits when it is drawn
    spent = (1 - np.array(axes.get_xlim()) / 100) * front["baseline"]["macs"] / 1e6
    assert np.allclose(sorted(top.get_xlim()), sorted(spent))


def test_uniform_lines_hold_each_schedule_once(front):
    lines = [uniform_of_width(front, width) for width in widths_of(front)]
    keys = [member["key"] for line in lines for member in line]
    assert sorted(keys) == sorted(member["key"] for member in front["uniform"])
    assert all(len(line) == 6 for line in lines)


def test_line_of_the_front_leaves_out_what_is_dominated(front):
    worst = {**front["members"][0], "key": "0" * 12, "quality": 99.0}
    front["members"].append(worst)
    assert worst not in attained(front)
    assert len(attained(front)) == 10


def test_equal_fronts_give_equal_files(front):
    assert pareto_png(front) == pareto_png(fake_front())
    assert schedules_png(front) == schedules_png(fake_front())
    assert pareto_html(front) == pareto_html(fake_front())


@pytest.mark.parametrize("members", [0, 1])
def test_pictures_of_a_search_that_found_nothing(front, members):
    front["members"] = [front["baseline"], *front["members"][:1]][: 1 + members]
    front["recommended"] = front["baseline"]["key"]
    assert read_png(pareto_png(front)).size
    assert read_png(schedules_png(front)).size
    assert front["baseline"]["key"] in pareto_html(front)
    assert [entry.role for entry in pictured(front)] == ["baseline"] + ["member"] * members


def test_page_needs_no_network_and_tells_all(front):
    page = pareto_html(front)
    assert 'src="http' not in page
    assert "plotly.js v" in page
    figure = page_figure(front)
    (trace,) = (trace for trace in figure.data if trace.name == "recommended")
    (found,) = (entry for entry in front_members(front) if entry.role == "recommended")
    member = found.member
    assert trace.x[0] == 100 * member["savings"]
    assert trace.y[0] == member["quality"]
    assert trace.y[0] - trace.error_y.arrayminus[0] == pytest.approx(member["quality_ci"][0])
    assert trace.y[0] + trace.error_y.array[0] == pytest.approx(member["quality_ci"][1])
    for told in (
        "m05 saves 52 %",
        member["key"],
        "8.04 [7.72, 8.36]",
        "40 steps",
        "▁" * 10 + "▄▄" + "▆" * 34 + "████",
    ):
        assert told in trace.text[0]
    assert figure.layout.yaxis.type == "log"


def test_strips_are_the_schedules(front):
    axes = schedules_figure(front).axes[0]
    schedules = [front["baseline"], *(entry.member for entry in front_members(front))]
    colours = width_colours(widths_of(front))
    bars = [
        (bar.get_x(), bar.get_width(), bar.get_y(), bar.get_height(), to_hex(bar.get_facecolor()))
        for bar in axes.patches
    ]
    wanted = [
        (step["t"], 20.0, row + 0.4, -0.8 * step["width"], colours[step["width"]])
        for row, member in enumerate(schedules)
        for step in member["schedule"]["steps"]
    ]
    assert [bar[4] for bar in bars] == [bar[4] for bar in wanted]
    assert np.allclose([bar[:4] for bar in bars], [bar[:4] for bar in wanted])
    assert axes.get_xlim() == (1000, 0)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[:2] == ["baseline", "m01"]
    assert labels[5] == "★ m05"
    texts = {text.get_text() for text in axes.texts}
    assert {"52 %", "40", "8.04 [7.72, 8.36]"} <= texts


def test_strips_of_a_large_front_keep_both_ends_and_the_recommended(front):
    front["members"] = [
        {**front["members"][0], "key": f"{i:012x}", "savings": i / 200} for i in range(120)
    ]
    for i in (0, 61, 119):
        front["recommended"] = f"{i:012x}"
        chosen = chosen_members(front)
        assert MAX_STRIPS - 1 <= len(chosen) <= MAX_STRIPS
        assert {"m001", f"m{i + 1:03d}", "m120"} <= {entry.name for entry in chosen}


def test_what_is_recommended_is_named_within_the_axes_wherever_it_lies(front):
    named = front["members"][0]
    named["quality_ci"][0] = front["noise_floor"] / 2  # the lowest of all that is drawn
    for saved in np.linspace(0, 1, 11):
        front["recommended"], named["savings"] = named["key"], saved
        figure = pareto_figure(front)
        FigureCanvasAgg(figure).draw()  # which lays out the axes, too
        (axes,) = figure.axes
        (text,) = (t for t in axes.texts if "saves" in t.get_text())
        box, room = text.get_window_extent(), axes.bbox
        assert room.x0 <= box.x0 and box.x1 <= room.x1
        assert room.y0 <= box.y0


def test_pictures_of_a_search_for_latency_say_so():
    front = fake_latency_front()
    figure = pareto_figure(front)
    axes = figure.axes[0]
    assert axes.get_xlabel() == (
        "savings: share of the baseline's predicted latency that is not spent, %"
    )
    (top,) = axes.child_axes
    assert top.get_xlabel() == "predicted latency, milliseconds for one sample"
    png_bytes(figure)  # the second axis takes its limits when it is drawn
    spent = (1 - np.array(axes.get_xlim()) / 100) * front["baseline"]["latency_predicted_ms"]
    assert np.allclose(sorted(top.get_xlim()), sorted(spent))
    page = page_figure(front)
    assert "baseline's predicted latency" in page.layout.xaxis.title.text
    (trace,) = (trace for trace in page.data if trace.name == "recommended")
    (member,) = (m for m in front["members"] if m["key"] == front["recommended"])
    assert f"{member['latency_predicted_ms']:.4g} ms predicted" in trace.text[0]
    assert trace.x[0] == 100 * member["savings"]


def test_schedules_of_a_search_for_latency_are_tracked_with_what_was_predicted():
    front = fake_latency_front()
    runs = {run.params["key"]: run.metrics for run in schedule_runs(front, {})}
    for member in [front["baseline"], *front["members"], *front["uniform"]]:
        assert runs[member["key"]]["latency_predicted_ms"] == member["latency_predicted_ms"]
    assert all("latency_predicted_ms" not in r.metrics for r in schedule_runs(fake_front(), {}))


def test_pictured_are_baseline_recommended_and_both_ends(front):
    names = [entry.name for entry in pictured(front)]
    assert names == ["baseline", "m05", "m01", "m03", "m06", "m08", "m10"]


@pytest.fixture
def stubs(monkeypatch):
    """Drawing is done by others: each picture says what it is, and of what it was made."""
    for name in ("pareto_png", "schedules_png"):
        monkeypatch.setattr(report, name, lambda front, n=name: (n + front["dataset"]).encode())
    monkeypatch.setattr(report, "pareto_html", lambda front: "pareto_html" + front["dataset"])
    monkeypatch.setattr(report, "samples_png", lambda rows: repr(rows).encode())


def test_pictures_are_written(front, tmp_path, stubs):
    samples = {entry.member["key"]: entry.name for entry in pictured(front)}
    report.write_pictures(tmp_path, front, samples)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "pareto.png": "pareto_pngdigits",
        "pareto.html": "pareto_htmldigits",
        "schedules.png": "schedules_pngdigits",
        "samples.png": repr([(entry.title, entry.name) for entry in pictured(front)]),
    }


def test_pictures_that_cannot_be_written_are_a_machine_error(front, tmp_path, stubs):
    samples = {entry.member["key"]: entry.name for entry in pictured(front)}
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write"):
        report.write_pictures(tmp_path / "file", front, samples)
