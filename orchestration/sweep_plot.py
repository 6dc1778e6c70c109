"""sweep.png: the fronts of all data sets in one axis of quality relative to the baseline.

A colour for each data set, a dash and marker for each optimizer, a line for each seed; the uniform
schedules of a data set are dotted. At (0 %, 1) lies everyone's baseline; what lies below the line
is better than it, and the further right the cheaper.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from orchestration.costs import Unit, unit_of
from orchestration.figures import INK, STYLE, png_bytes
from orchestration.front_plot import QUALITY_TICKS, attained
from orchestration.members import Front, Member, by_savings
from orchestration.sweep_summary import Swept
from search_spaces.pareto import non_dominated

DATA_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f4f24")
"""Okabe & Ito 2008, which the colour-blind can tell apart; after the last, the first again."""
DASHES = ("solid", "dash", "dashdot", "longdash")
MARKERS = ("circle", "square", "triangle-up", "cross")
"""Of optimizers, by the names that plotly has for them."""
IN_MATPLOTLIB = {
    "solid": "-", "dash": "--", "dashdot": "-.", "longdash": (0, (8, 3)),
    "circle": "o", "square": "s", "triangle-up": "^", "cross": "P",
}  # fmt: skip
Y_TITLE = "quality / baseline's quality (below 1 is better)"


def sweep_png(searches: Sequence[Swept]) -> bytes:
    """The picture of those searches that are done, as PNG."""
    return png_bytes(sweep_figure(searches))


def sweep_figure(searches: Sequence[Swept]) -> Figure:
    """The picture of those searches that are done."""
    done = [swept for swept in searches if swept.front is not None]
    colours, styles = data_colours(searches), optimizer_styles(searches)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 4.8), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (6, 4)))
        named: set[str] = set()
        for swept in one_of_each_data_set(done):
            rivals = uniform_front(swept.front)
            colour = colours[swept.dataset]
            axes.plot(*points(rivals, swept.front), ":", color=colour, linewidth=1, alpha=0.7)
        for swept in done:
            label = f"{swept.dataset}, {swept.optimizer}"
            _draw(axes, swept, colours[swept.dataset], styles[swept.optimizer],
                  None if label in named else label)  # fmt: skip
            named.add(label)
        axes.plot([0], [1], "D", color=INK, markersize=6, label="baseline of each", zorder=5)
        _draw_axes(axes, x_title(searches))
    return figure


def data_colours(searches: Sequence[Swept]) -> dict[str, str]:
    """A colour for each data set, in the order of the sweep, done or not."""
    names = dict.fromkeys(swept.dataset for swept in searches)
    return {name: DATA_COLOURS[i % len(DATA_COLOURS)] for i, name in enumerate(names)}


def optimizer_styles(searches: Sequence[Swept]) -> dict[str, tuple[str, str]]:
    """A dash and a marker for each optimizer."""
    names = dict.fromkeys(swept.optimizer for swept in searches)
    return {
        name: (DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)
    }


def one_of_each_data_set(done: Sequence[Swept]) -> list[Swept]:
    """The first search of each: the uniform schedules of a data set are the same in all."""
    return list({swept.dataset: swept for swept in reversed(done)}.values())[::-1]


def uniform_front(front: Front) -> list[Member]:
    """The uniform schedules that no other of them dominates, by rising savings."""
    members = by_savings(front["uniform"])
    values = np.array([[member["quality"], -member["savings"]] for member in members])
    return [members[i] for i in non_dominated(values.reshape(-1, 2))]


def points(members: Sequence[Member], front: Front) -> tuple[list[float], list[float]]:
    """Savings in percent, and quality relative to the baseline's."""
    base = front["baseline"]["quality"]
    return [100 * m["savings"] for m in members], [m["quality"] / base for m in members]


def x_title(searches: Sequence[Swept]) -> str:
    """Of the axis of savings."""
    return f"savings: share of the baseline's {unit_of_sweep(searches).text} that is not spent, %"


def unit_of_sweep(searches: Sequence[Swept]) -> Unit:
    """The unit of the costs of all fronts: all searches of a sweep go by one cost."""
    return unit_of(next((s.front for s in searches if s.front is not None), {}))


def recommended(front: Front) -> Member:
    """The recommended schedule, which may be the baseline."""
    return next(
        m for m in [*front["members"], front["baseline"]] if m["key"] == front["recommended"]
    )


def _draw(
    axes: Axes, swept: Swept, colour: str, style: tuple[str, str], label: str | None
) -> None:
    dash, marker = (IN_MATPLOTLIB[name] for name in style)
    members = attained(swept.front)
    axes.plot(
        *points(members, swept.front),
        color=colour,
        linestyle=dash,
        marker=marker,
        linewidth=1.1,
        markersize=3.5,
        markeredgecolor="white",
        markeredgewidth=0.4,
        alpha=0.85,
        label=label,
    )
    star = points([recommended(swept.front)], swept.front)
    axes.plot(*star, "*", color=colour, markersize=13, markeredgecolor="white", zorder=4)


def _draw_axes(axes: Axes, title: str) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=QUALITY_TICKS))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(title)
    axes.set_ylabel(Y_TITLE)
    axes.set_xlim(-2, 101)
    axes.legend(frameon=False, fontsize=8, title="★ recommended   ··· uniform", title_fontsize=8)
