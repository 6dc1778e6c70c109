"""What a sweep tells the terminal in the end; the same rows stand in its page."""

from collections.abc import Sequence

from rich.table import Table

from orchestration.costs import Unit
from orchestration.members import percent
from orchestration.sweep_summary import MedianRow, SearchRow, Summary
from orchestration.tables import NOTHING

HEAD = ["data set", "optimizer", "seed", "hypervolume", "saves", "loses", "members"]
MEDIAN_HEAD = ["data set", "optimizer", "seeds", *HEAD[3:]]
CAPTION = (
    "hypervolume: that of the front against the uniform schedules'. saves, loses: the recommended "
    "schedule's {cost} and quality against the baseline's, re-scored; ± are 95 % intervals."
)


def caption(unit: Unit) -> str:
    """What the columns of the searches mean; `unit` is that of their costs."""
    return CAPTION.format(cost=unit.text)


def sweep_tables(summary: Summary, unit: Unit) -> list[Table]:
    """The searches, then the medians where a data set and optimizer has several seeds.

    Args:
        summary: to be shown.
        unit: of the costs of its fronts.
    """
    tables = [_table("searches", HEAD, search_cells(summary["searches"]), caption(unit))]
    if shows_medians(summary):
        rows = median_cells(summary["medians"])
        tables.append(_table("medians over seeds", MEDIAN_HEAD, rows, None))
    return tables


def shows_medians(summary: Summary) -> bool:
    """Whether there are several seeds to take the median of."""
    return len(summary["medians"]) < len(summary["searches"])


def search_cells(rows: Sequence[SearchRow]) -> list[list[str]]:
    """The searches that are done, as text under HEAD."""
    return [
        [
            row["dataset"],
            row["optimizer"],
            str(row["seed"]),
            _times(row["hypervolume_ratio"]),
            percent(row["savings"]),
            _loss_text(row),
            str(row["num_members"]),
        ]
        for row in rows
        if row["failure"] is None
    ]


def median_cells(rows: Sequence[MedianRow]) -> list[list[str]]:
    """Medians as text under MEDIAN_HEAD."""
    return [
        [
            row["dataset"],
            row["optimizer"],
            str(row["num_seeds"]),
            _times(row["hypervolume_ratio"]),
            percent(row["savings"]),
            f"{100 * row['loss']:+.1f} %",
            f"{row['num_members']:g}",
        ]
        for row in rows
        if row["num_seeds"]
    ]


def failure_lines(rows: Sequence[SearchRow]) -> list[str]:
    """A line for each reason, with the searches that it kept from being done."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row["failure"] is not None:
            names.setdefault(row["failure"], []).append(row["name"])
    return [f"not done: {', '.join(of_it)}: {reason}" for reason, of_it in names.items()]


def _table(title: str, head: list[str], rows: list[list[str]], caption: str | None) -> Table:
    table = Table(
        title=title,
        caption=caption and f"\n{caption}",
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for name in head:
        is_text = name in ("data set", "optimizer")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=not is_text)
    for cells in rows:
        table.add_row(*cells)
    return table


def _times(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:.2f} x"


def _loss_text(row: SearchRow) -> str:
    half = (row["loss_high"] - row["loss_low"]) / 2
    return f"{100 * row['loss']:+.1f} ± {100 * half:.1f} %"
