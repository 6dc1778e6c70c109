"""pareto.png: quality against savings, of the front and of what it must beat.

Re-scored values with 95 % intervals, the uniform schedules (a line for each width, losing steps
from left to right), the baseline with its interval as a band, the recommended member, and the
noise floor: a set of real images is no nearer to another. The quality axis is logarithmic, for
taking steps away costs a factor rather than a difference.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from orchestration.costs import unit_of
from orchestration.figures import FAINT, FOUND, INK, STYLE, png_bytes, width_colours
from orchestration.members import (
    Front,
    Member,
    by_savings,
    front_members,
    landmark,
    widths_of,
    with_interval,
)
from search_spaces.pareto import non_dominated

QUALITY_TICKS = (1, 1.5, 2, 3, 5, 7)
"""Ticks of a logarithmic axis in each decade."""


def pareto_png(front: Front) -> bytes:
    """The picture of the front, as PNG."""
    return png_bytes(pareto_figure(front))


def pareto_figure(front: Front) -> Figure:
    """The picture of the front."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 4.8), layout="constrained")
        axes = figure.add_subplot()
        _draw_levels(axes, front)
        for width, colour in width_colours(widths_of(front)).items():
            _draw_uniform(axes, uniform_of_width(front, width), width, colour)
        _draw_front(axes, front)
        _draw_axes(axes, front)
    return figure


def uniform_of_width(front: Front, width: float) -> list[Member]:
    """The uniform schedules of one width by rising savings; the baseline is one of them."""
    return [
        member
        for member in by_savings(front["uniform"])
        if all(step["width"] == width for step in member["schedule"]["steps"])
    ]


def error_bars(members: Sequence[Member]) -> np.ndarray:
    """Distances (2, n) from each quality down and up to the ends of its interval."""
    quality = np.array([member["quality"] for member in members])
    low, high = np.array([member["quality_ci"] for member in members]).reshape(-1, 2).T
    return np.array([quality - low, high - quality])


def attained(front: Front) -> list[Member]:
    """The members that no other dominates by the re-scored values, by rising savings."""
    members = by_savings(front["members"])
    points = np.array([[member["quality"], -member["savings"]] for member in members])
    return [members[i] for i in non_dominated(points.reshape(-1, 2))]


def _savings(members: Sequence[Member]) -> list[float]:
    return [100 * member["savings"] for member in members]


def _quality(members: Sequence[Member]) -> list[float]:
    return [member["quality"] for member in members]


def _draw_levels(axes: Axes, front: Front) -> None:
    baseline = front["baseline"]
    axes.axhspan(*baseline["quality_ci"], color=INK, alpha=0.07, linewidth=0)
    axes.axhline(baseline["quality"], color=INK, linewidth=0.8, linestyle=(0, (6, 4)))
    mark = landmark(front)
    axes.axhline(mark.value, color=FAINT, linewidth=1, linestyle=":")
    _annotate(axes, f"{mark.name}: {mark.explanation}", (0, mark.value), (0, 3), FAINT)


def _draw_uniform(axes: Axes, members: Sequence[Member], width: float, colour: str) -> None:
    if not members:
        return
    axes.errorbar(
        _savings(members),
        _quality(members),
        error_bars(members),
        color=colour,
        alpha=0.55,
        linewidth=1,
        elinewidth=0.8,
        marker="o",
        markersize=3,
        label=f"uniform, width {width:g}",
    )
    if width == 1:
        for member in members[1:]:
            place = (100 * member["savings"], member["quality"])
            text = f"{len(member['schedule']['steps'])} steps"
            _annotate(axes, text, place, (-7, 4), colour, "right")


def _draw_front(axes: Axes, front: Front) -> None:
    line = attained(front)
    axes.plot(_savings(line), _quality(line), color=FOUND, linewidth=1.1, alpha=0.7)
    named = front_members(front)
    found = [entry.member for entry in named if entry.role == "member"]
    _draw_points(axes, found, "o", 5, FOUND, "front")
    for entry in named:
        if entry.role == "recommended":
            _draw_points(axes, [entry.member], "*", 15, FOUND, "recommended")
            quality, (low, high) = entry.member["quality"], entry.member["quality_ci"]
            text = f"{entry.title}\n{with_interval(quality, (low, high))}"
            saved = 100 * entry.member["savings"]
            _annotate(axes, text, (saved, low), (0, -24), FOUND, _side_with_room(saved))
    baseline = front["baseline"]
    calls = len(baseline["schedule"]["steps"])
    _draw_points(axes, [baseline], "D", 6.5, INK, f"baseline, {calls} steps")


def _side_with_room(saved: float) -> str:
    """Where a text of some width is held, so that it stays within the axes."""
    if saved > 85:
        return "right"
    return "left" if saved < 15 else "center"


def _draw_points(
    axes: Axes, members: Sequence[Member], marker: str, size: float, colour: str, label: str
) -> None:
    axes.errorbar(
        _savings(members),
        _quality(members),
        error_bars(members),
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.5,
        elinewidth=1.3,
        zorder=4,
        label=label,
    )


def _annotate(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float],
    colour: str,
    side: str = "left",
) -> None:
    axes.annotate(
        text,
        place,
        xytext=offset,
        textcoords="offset points",
        color=colour,
        fontsize=7.5,
        horizontalalignment=side,
    )


def _draw_axes(axes: Axes, front: Front) -> None:
    axes.set_yscale("log")
    axes.margins(y=0.12)  # for the name of what is recommended, below its interval
    axes.yaxis.set_major_locator(LogLocator(subs=QUALITY_TICKS))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel(f"{front['quality']}  (lower is better)")
    unit = unit_of(front)
    axes.set_xlabel(f"savings: share of the baseline's {unit.text} that is not spent, %")
    axes.set_xlim(-2, 101)
    most = front["baseline"][unit.key] / unit.per
    top = axes.secondary_xaxis(
        "top", functions=(lambda x: (1 - x / 100) * most, lambda cost: 100 * (1 - cost / most))
    )
    top.set_xlabel(unit.axis)
    axes.legend(frameon=False, fontsize=8)
