"""schedules.png: which width runs at which timestep, a strip for each member of the front.

A strip runs from t = T (noise) at the left to t = 0 (image) at the right, as sampling does. Each
kept step is a bar from its timestep to the next of the grid, as dark and as high as its width; a
skipped step is blank.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from orchestration.figures import FAINT, FOUND, INK, STYLE, png_bytes, width_colours
from orchestration.members import (
    Front,
    NamedMember,
    front_members,
    percent,
    widths_of,
    with_interval,
)

MAX_STRIPS = 30
"""A front of more members is shown by evenly chosen ones: the picture stays a page."""


def schedules_png(front: Front) -> bytes:
    """The strips of the baseline and of the members by rising savings, as PNG."""
    return png_bytes(schedules_figure(front))


def schedules_figure(front: Front) -> Figure:
    """The strips of the baseline and of the members by rising savings."""
    entries = [NamedMember("baseline", "baseline", front["baseline"]), *chosen_members(front)]
    colours = width_colours(widths_of(front))
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.4 + 0.28 * len(entries)), layout="constrained")
        axes = figure.add_subplot()
        for row, entry in enumerate(entries):
            _draw_strip(axes, row, entry, front, colours)
        _draw_axes(axes, entries, front)
        patches = [Patch(color=colour, label=f"{w:g}") for w, colour in colours.items()]
        figure.legend(
            handles=patches, title="width", loc="outside upper center", ncols=9, frameon=False
        )
    return figure


def chosen_members(front: Front) -> list[NamedMember]:
    """At most MAX_STRIPS members by rising savings, ends and the recommended one among them."""
    members = front_members(front)
    if len(members) <= MAX_STRIPS:
        return members
    kept = set(np.linspace(0, len(members) - 1, MAX_STRIPS - 1).round().astype(int).tolist())
    return [m for i, m in enumerate(members) if i in kept or m.role == "recommended"]


def _draw_strip(
    axes: Axes, row: int, entry: NamedMember, front: Front, colours: dict[float, str]
) -> None:
    schedule = entry.member["schedule"]
    steps = schedule["steps"]
    num_cells = len(front["baseline"]["schedule"]["steps"])
    axes.axhline(row + 0.4, color=FAINT, linewidth=0.4, zorder=0)
    axes.bar(
        [step["t"] for step in steps],
        [-0.8 * step["width"] for step in steps],
        width=schedule["num_train_timesteps"] / num_cells,
        bottom=row + 0.4,
        align="edge",
        color=[colours[step["width"]] for step in steps],
        edgecolor="white",
        linewidth=20 / num_cells,
    )
    colour = FOUND if entry.role == "recommended" else INK
    savings = percent(entry.member["savings"]) if entry.role != "baseline" else ""
    quality = with_interval(entry.member["quality"], entry.member["quality_ci"])
    _write_row(axes, row, (savings, str(len(steps)), quality), colour)


def _draw_axes(axes: Axes, entries: Sequence[NamedMember], front: Front) -> None:
    num_train_timesteps = front["baseline"]["schedule"]["num_train_timesteps"]
    axes.set_xlim(num_train_timesteps, 0)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_xlabel("timestep: noise at the left, image at the right")
    names = [f"★ {e.name}" if e.role == "recommended" else e.name for e in entries]
    axes.set_yticks(range(len(entries)), names)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for label, entry in zip(axes.get_yticklabels(), entries, strict=True):
        label.set_color(FOUND if entry.role == "recommended" else INK)
    _write_row(axes, -0.85, ("saves", "steps", front["quality"]), FAINT)


def _write_row(axes: Axes, row: float, cells: tuple[str, str, str], colour: str) -> None:
    columns = ((1.08, "right"), (1.17, "right"), (1.19, "left"))
    for (x, side), text in zip(columns, cells, strict=True):
        place = axes.get_yaxis_transform()
        axes.text(x, row, text, color=colour, transform=place, ha=side, va="center")
