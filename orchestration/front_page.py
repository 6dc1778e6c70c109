"""pareto.html: the front as a page to explore; one file that needs no network.

The same content as pareto.png. Pointing at a schedule shows its name, key, quality with interval,
savings, steps, and which width runs when; a button makes the quality axis linear.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from orchestration.costs import unit_of
from orchestration.figures import FAINT, FOUND, INK, width_colours
from orchestration.front_plot import QUALITY_TICKS, attained, error_bars, uniform_of_width
from orchestration.members import (
    Front,
    Member,
    NamedMember,
    all_schedules,
    counted,
    landmark,
    percent,
    strip_text,
    widths_of,
    with_interval,
)


def pareto_html(front: Front) -> str:
    """The page, plotly's script included (about 5 MB); equal fronts give equal pages."""
    return page_figure(front).to_html(
        include_plotlyjs=True,
        div_id="front",
        default_height="95vh",
        config={"displaylogo": False, "responsive": True},
    )


def page_figure(front: Front) -> go.Figure:
    """What the page shows."""
    figure = go.Figure()
    named = all_schedules(front)
    of_key = {entry.member["key"]: entry for entry in named}
    for width, colour in width_colours(widths_of(front)).items():
        uniform = [of_key[member["key"]] for member in uniform_of_width(front, width)]
        style = {"color": colour, "size": 6, "symbol": "circle"}
        _add(figure, front, uniform, f"uniform, width {width:g}", style, line=True)
    line = [of_key[member["key"]] for member in attained(front)]
    _add(figure, front, line, "front", {"color": FOUND, "size": 9, "symbol": "circle"}, line=True)
    for role, style in (
        ("recommended", {"color": FOUND, "size": 20, "symbol": "star"}),
        ("baseline", {"color": INK, "size": 12, "symbol": "diamond"}),
    ):
        points = [entry for entry in named if entry.role == role]
        _add(figure, front, points, role, style, line=False)
    _add_levels(figure, front)
    _lay_out(figure, front)
    return figure


def hover_text(entry: NamedMember, front: Front) -> str:
    """What the page says about a schedule, as HTML lines."""
    member = entry.member
    steps = member["schedule"]["steps"]
    grid = [step["t"] for step in front["baseline"]["schedule"]["steps"]]
    lines = [
        f"<b>{entry.title}</b>{' (recommended)' * (entry.role == 'recommended')}",
        f"{front['quality']} {with_interval(member['quality'], member['quality_ci'])}",
        f"{len(steps)} steps, {member['macs'] / 1e6:.4g} MMACs",
        f"noise {strip_text(member['schedule'], grid)} image",
        f"key {member['key']}",
    ]
    if "latency_predicted_ms" in member:
        lines[2] += f", {member['latency_predicted_ms']:.4g} ms predicted"
    if member["savings_uniform"] is not None and entry.role in ("member", "recommended"):
        uniform = percent(member["savings_uniform"])
        lines.insert(2, f"{uniform} less than the cheapest uniform schedule as good")
    return "<br>".join(lines)


def _add(
    figure: go.Figure,
    front: Front,
    entries: Sequence[NamedMember],
    name: str,
    style: dict[str, str | int],
    line: bool,
) -> None:
    members: list[Member] = [entry.member for entry in entries]
    if not members:
        return
    below, above = error_bars(members)
    figure.add_trace(
        go.Scatter(
            x=[100 * member["savings"] for member in members],
            y=[member["quality"] for member in members],
            error_y={"array": list(above), "arrayminus": list(below), "width": 0, "thickness": 1},
            mode="lines+markers" if line else "markers",
            line={"width": 1.2},
            marker={**style, "line": {"color": "white", "width": 1}, "opacity": 1},
            name=name,
            text=[hover_text(entry, front) for entry in entries],
            hoverinfo="text",
            opacity=0.6 if name.startswith("uniform") else 1,
        )
    )


def _add_levels(figure: go.Figure, front: Front) -> None:
    baseline = front["baseline"]
    low, high = baseline["quality_ci"]
    figure.add_hrect(y0=low, y1=high, fillcolor=INK, opacity=0.07, line_width=0)
    figure.add_hline(y=baseline["quality"], line={"color": INK, "width": 1, "dash": "dash"})
    # A trace, since plotly takes an annotation's y on a logarithmic axis for its logarithm.
    mark = landmark(front)
    text = f"{mark.name}:<br>{mark.explanation}"
    figure.add_trace(
        go.Scatter(
            x=[0, 100],
            y=[mark.value] * 2,
            mode="lines",
            line={"color": FAINT, "width": 1, "dash": "dot"},
            name=text,
            text=text,
            hoverinfo="text",
        )
    )


def _lay_out(figure: go.Figure, front: Front) -> None:
    buttons = [
        {"label": kind, "method": "relayout", "args": [{"yaxis.type": kind}]}
        for kind in ("log", "linear")
    ]
    figure.update_layout(
        template="simple_white",
        title=f"{front['dataset']}: quality against savings, re-scored on "
        f"{counted(front)}",
        xaxis={
            "title": f"savings: share of the baseline's {unit_of(front).text} that is not spent, %"
        },
        yaxis={
            "title": f"{front['quality']} (lower is better)",
            "type": "log",
            "tickvals": [tick * 10**power for power in range(-3, 5) for tick in QUALITY_TICKS],
        },
        hoverlabel={"bgcolor": "white", "font": {"family": "monospace", "color": INK}},
        legend={"x": 0.02, "y": 0.98},
        updatemenus=[
            {"type": "buttons", "direction": "left", "buttons": buttons, "x": 1, "y": 1.08}
        ],
    )
