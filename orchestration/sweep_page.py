"""sweep.html: the fronts of a sweep in one figure, and its tables; one file, no network needed.

The same content as sweep.png. Pointing at a schedule shows whose it is and what it does; a click
in the legend hides a data set's optimizer, a button makes the quality axis linear.
"""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from orchestration.figures import INK
from orchestration.front_page import hover_text
from orchestration.front_plot import QUALITY_TICKS, attained
from orchestration.members import Front, Member, NamedMember, all_schedules
from orchestration.sweep_plot import (
    Y_TITLE,
    data_colours,
    one_of_each_data_set,
    optimizer_styles,
    points,
    recommended,
    uniform_front,
    unit_of_sweep,
    x_title,
)
from orchestration.sweep_summary import Summary, Swept
from orchestration.sweep_tables import (
    HEAD,
    MEDIAN_HEAD,
    caption,
    failure_lines,
    median_cells,
    search_cells,
    shows_medians,
)

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.45 sans-serif; color: #1a1a1a; margin: 1.5em auto; max-width: 1200px;
        padding: 0 1em; }}
table {{ border-collapse: collapse; margin: .5em 0 1.5em; }}
th, td {{ padding: .2em 1em .2em 0; text-align: right; border-bottom: 1px solid #ddd; }}
th:nth-child(-n+2), td:nth-child(-n+2) {{ text-align: left; }}
.note {{ color: #555; max-width: 60em; }}
.failed {{ color: #a02c00; }}
</style></head><body>
<h1>{title}</h1>
<p class="note">A line for each search: the schedules of its front that no other dominates, on
fresh noise. Stars are recommended. Dotted: the data set's uniform schedules. All qualities are
relative to the baseline of the same data set, at (0, 1).</p>
{figure}
{tables}
</body></html>
"""


def sweep_html(title: str, searches: Sequence[Swept], summary: Summary) -> str:
    """The page, plotly's script included (about 5 MB); equal sweeps give equal pages."""
    figure = sweep_page_figure(searches).to_html(
        full_html=False,
        include_plotlyjs=True,
        div_id="fronts",
        default_height="70vh",
        config={"displayModeBar": False, "responsive": True},
    )
    tables = _table("Searches", HEAD, search_cells(summary["searches"]))
    tables += f'<p class="note">{escape(caption(unit_of_sweep(searches)))}</p>'
    if shows_medians(summary):
        tables += _table("Medians over seeds", MEDIAN_HEAD, median_cells(summary["medians"]))
    for line in failure_lines(summary["searches"]):
        tables += f'<p class="failed">{escape(line)}</p>'
    return PAGE.format(title=escape(title), figure=figure, tables=tables)


def sweep_page_figure(searches: Sequence[Swept]) -> go.Figure:
    """What the page charts."""
    figure = go.Figure()
    done = [swept for swept in searches if swept.front is not None]
    colours, styles = data_colours(searches), optimizer_styles(searches)
    for swept in one_of_each_data_set(done):
        line = {"width": 1, "dash": "dot", "color": colours[swept.dataset]}
        name = f"{swept.dataset}, uniform"
        _add(figure, swept, uniform_front(swept.front), name, True, line=line, mode="lines")
    named: set[str] = set()
    for swept in done:
        name, colour = f"{swept.dataset}, {swept.optimizer}", colours[swept.dataset]
        dash, symbol = styles[swept.optimizer]
        marker = {"size": 7, "symbol": symbol, "line": {"color": "white", "width": 0.5}}
        line = {"width": 1.4, "dash": dash, "color": colour}
        _add(
            figure, swept, attained(swept.front), name, name not in named,
            line=line, marker=marker, mode="lines+markers",
        )  # fmt: skip
        star = {"size": 17, "symbol": "star", "color": colour, "line": marker["line"]}
        best = [recommended(swept.front)]
        _add(figure, swept, best, name, False, marker=star, mode="markers")
        named.add(name)
    figure.add_hline(y=1, line={"color": INK, "width": 1, "dash": "dash"})
    _lay_out(figure, x_title(searches))
    return figure


def _add(
    figure: go.Figure,
    swept: Swept,
    members: Sequence[Member],
    name: str,
    in_legend: bool,
    **style: dict[str, object] | str,
) -> None:
    x, y = points(members, swept.front)
    head = f"<b>{escape(swept.dataset)}, {swept.optimizer}, seed {swept.seed}</b><br>"
    known = {entry.member["key"]: entry for entry in all_schedules(swept.front)}
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            name=name,
            legendgroup=name,
            showlegend=in_legend,
            text=[head + _hover(m, swept.front, known) for m in members],
            hoverinfo="text",
            **style,
        )
    )


def _hover(member: Member, front: Front, known: dict[str, NamedMember]) -> str:
    share = member["quality"] / front["baseline"]["quality"]
    return f"{share:.3f} of the baseline's quality<br>{hover_text(known[member['key']], front)}"


def _lay_out(figure: go.Figure, title: str) -> None:
    buttons = [
        {"label": kind, "method": "relayout", "args": [{"yaxis.type": kind}]}
        for kind in ("log", "linear")
    ]
    figure.update_layout(
        template="simple_white",
        margin={"t": 40},
        xaxis={"title": title},
        yaxis={
            "title": Y_TITLE,
            "type": "log",
            "tickvals": [tick * 10**power for power in range(-2, 4) for tick in QUALITY_TICKS],
        },
        hoverlabel={"bgcolor": "white", "font": {"family": "monospace", "color": INK}},
        legend={"x": 0.02, "y": 0.98},
        updatemenus=[
            {"type": "buttons", "direction": "left", "buttons": buttons, "x": 1, "y": 1.08}
        ],
    )


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line("td", cells) for cells in rows)
    return f"<h2>{title}</h2>\n<table>\n{line('th', head)}\n{body}\n</table>\n"
