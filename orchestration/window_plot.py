"""Pictures of imputed windows: what was given, what is true, real gaps, medians and bands.

A row is a schedule (or a width, or a user's table), a column a variable. Bands run from the .05 to
the .95 quantile of the samples, and darker from the .25 to the .75.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from orchestration.figures import FAINT, FOUND, INK, STYLE, png_bytes

BAND = (0.05, 0.25, 0.5, 0.75, 0.95)
NUM_VARIABLES = 4


@dataclass(frozen=True)
class WindowPicture:
    """A window as it is drawn.

    Args:
        name: of the window, such as the time at which it starts.
        variables: names of the K variables.
        mean, std: of each, by which its values were prepared.
        values: float (K, L) as prepared, anything at gaps.
        given: bool (K, L), what the networks are told.
        scored: bool (K, L), what is hidden from them and known.
        order: of the variables, those first that are to be shown; None: those with the most to
            impute.
    """

    name: str
    variables: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    values: np.ndarray
    given: np.ndarray
    scored: np.ndarray
    order: tuple[int, ...] | None = None

    def png(self, rows: Sequence[tuple[str, np.ndarray]]) -> bytes:
        """A figure as PNG.

        Args:
            rows: (title, samples float (S, K, L) as prepared) from top to bottom, at least one.

        Raises:
            ValueError: no rows.
        """
        if not rows:
            raise ValueError("no samples of a window to draw")
        shown = self.shown()
        with rc_context(STYLE):
            figure = Figure(
                figsize=(3.2 * len(shown), 2.0 * len(rows) + 0.8), layout="constrained"
            )
            grid = figure.subplots(
                len(rows), len(shown), squeeze=False, sharex=True, sharey="col"
            )
            for axes, (title, samples) in zip(grid, rows, strict=True):
                axes[0].set_ylabel(title, rotation=0, ha="right", va="center")
                for of_variable, variable in zip(axes, shown, strict=True):
                    self._draw(of_variable, samples[:, variable], variable)
            for of_variable, variable in zip(grid[0], shown, strict=True):
                of_variable.set_title(self.variables[variable], fontsize=9)
            for of_variable in grid[-1]:
                of_variable.set_xlabel(f"times from {self.name}")
            handles = _legend(bool(self.scored[shown].any()))
            figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
        return png_bytes(figure)

    def shown(self) -> list[int]:
        """The variables that are drawn: those with the most to impute, in their order."""
        most = self.order
        if most is None:
            unknown = (~self.given).sum(1) + self.scored.sum(1)
            most = np.argsort(-unknown, kind="stable").tolist()
        return sorted(most[:NUM_VARIABLES])

    def _draw(self, axes: Axes, samples: np.ndarray, k: int) -> None:
        """One variable: `samples` (S, L) as prepared."""
        mean, std, times = self.mean[k], self.std[k], np.arange(self.values.shape[1])
        # Where a value is given it is known: bands close there
        known = np.where(self.given[k], self.values[k], samples)
        quantiles = np.quantile(known, BAND, axis=0) * std + mean
        axes.fill_between(times, quantiles[0], quantiles[4], color=FOUND, alpha=0.2, lw=0)
        axes.fill_between(times, quantiles[1], quantiles[3], color=FOUND, alpha=0.3, lw=0)
        axes.plot(times, quantiles[2], color=FOUND, lw=1)
        values = self.values[k] * std + mean
        axes.plot(times[self.given[k]], values[self.given[k]], ".", color=INK, ms=3)
        hidden = self.scored[k]
        axes.plot(times[hidden], values[hidden], "x", color=INK, ms=5, mew=1.2)
        for start, stop in runs(~(self.given[k] | hidden)):
            axes.axvspan(start - 0.5, stop - 0.5, color=FAINT, alpha=0.25, lw=0)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of true values of a bool (L,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _legend(has_hidden: bool) -> list[Line2D | Patch]:
    hidden = Line2D([], [], color=INK, marker="x", ls="", label="hidden, true value")
    return [
        Line2D([], [], color=INK, marker=".", ls="", label="given"),
        *([hidden] if has_hidden else []),
        Patch(color=FAINT, alpha=0.25, lw=0, label="real gap"),
        Line2D([], [], color=FOUND, label="median"),
        Patch(color=FOUND, alpha=0.35, lw=0, label="5 to 95 %, 25 to 75 %"),
    ]
