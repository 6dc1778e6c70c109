"""What all pictures share: colours that the colour-blind can tell apart, type, and PNG bytes.

Widths run through viridis from dark (widest) to light. What was searched for is vermilion
(Okabe & Ito 2008), which stands out from it; baselines are black.
"""

from collections.abc import Sequence
from io import BytesIO

from matplotlib import colormaps, rc_context
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

INK = "#1a1a1a"
FAINT = "#8c8c8c"
FOUND = "#d55e00"
FOUND_LIGHT = "#f3a766"

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": "#4d4d4d",
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "xtick.color": "#4d4d4d",
    "ytick.color": "#4d4d4d",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
}
DPI = 160


def width_colours(widths: Sequence[float]) -> dict[float, str]:
    """A colour "#rrggbb" for each width, the same whatever other widths there are."""
    return {width: to_hex(colormaps["viridis"](0.93 - 0.85 * width)) for width in widths}


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes."""
    content = BytesIO()
    with rc_context(STYLE):
        figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()
