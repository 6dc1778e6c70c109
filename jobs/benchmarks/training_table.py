"""The benchmark of trainings as a table: variants side by side, a column a width."""

from collections.abc import Mapping

from rich.table import Table

from jobs.benchmarks.report import Report
from orchestration.files import Json


def training_table(report: Report) -> Table:
    """Loss and distance of each variant; under them the change from plain, where there is one."""
    comparison = report.notes["comparison"]
    widths = list(comparison["plain"]["widths"])
    table = Table(
        title="loss and Fréchet distance by width, and their change from plain",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # four widths fit a terminal of 80 columns
    )
    for column in ("variant", "cost", *(f"width {width}" for width in widths)):
        left = column == "variant"
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    for name, variant in comparison.items():
        cells = [_cell(variant["widths"][width], name == "plain") for width in widths]
        cost = f"{report.figures[f'cost_{name}']:.2f}"
        table.add_row(name, cost, *cells)
    return table


def _cell(found: Mapping[str, Json], is_plain: bool) -> str:
    low, high = found["fd_ci"]
    line = f"{found['loss']:.4f}\n{found['fd']:.2f} ± {(high - low) / 2:.2f}"
    if is_plain:
        return line
    low, high = found["fd_change_ci"]
    change = f"{found['fd_change']:+.2f} ± {(high - low) / 2:.2f}"
    return f"{line}\n{found['loss_change']:+.4f}\n{change}"
