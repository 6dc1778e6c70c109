"""Pictures of a learned mask: s over its learning, and which steps were kept.

`s.png` has a heat map for each number of steps: updates to the right, candidates upwards from
clean to noise. `kept.png` has a row of marks for each schedule over the logarithm of the
signal-to-noise ratio, noise at the left as sampling runs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from orchestration.figures import FAINT, FOUND, INK, STYLE, png_bytes


def heat_png(
    history: Mapping[int, Sequence[tuple[int, Sequence[float]]]], timesteps: Sequence[int]
) -> bytes:
    """Heat maps as PNG.

    Args:
        history: for each number of steps (updates so far, s by rising t), over the learning.
        timesteps: the candidates, rising.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 0.8 + 1.9 * len(history)), layout="constrained")
        for row, (num_steps, values) in enumerate(history.items(), start=1):
            axes = figure.add_subplot(len(history), 1, row)
            table = np.array([s for _, s in values]).T
            image = axes.pcolormesh(
                np.arange(len(values)), timesteps, table, vmin=0, vmax=1, cmap="viridis",
                shading="nearest", rasterized=True,
            )  # fmt: skip
            places = np.unique(np.linspace(0, len(values) - 1, 6).astype(int))
            axes.set_xticks(places, [f"{values[i][0]:,}" for i in places])
            axes.set_ylabel(f"timestep ({num_steps} steps)")
        axes.set_xlabel("updates of s")
        figure.colorbar(image, ax=figure.axes, label="probability of being kept")
        return png_bytes(figure)


def kept_png(schedules: Mapping[str, Sequence[float]]) -> bytes:
    """Which noise levels schedules visit, as PNG.

    Args:
        schedules: by name, log SNR of the steps; what was learned has a name that begins so.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.0 + 0.26 * len(schedules)), layout="constrained")
        axes = figure.add_subplot()
        for row, (name, places) in enumerate(schedules.items()):
            colour = FOUND if name.startswith("learned") else INK
            axes.axhline(row, color=FAINT, linewidth=0.4, zorder=0)
            axes.plot(places, [row] * len(places), "|", color=colour, markersize=9)
        axes.set_yticks(range(len(schedules)), list(schedules))
        axes.set_ylim(len(schedules) - 0.4, -0.6)
        axes.set_xlabel("log signal-to-noise ratio: noise at the left, image at the right")
        axes.tick_params(axis="y", length=0)
        return png_bytes(figure)
