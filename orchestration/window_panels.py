"""Which windows are sampled, and which of their entries hidden: for a search, and for reports.

A search looks at the validation windows, in an order that spreads the first ones over all; what is
reported is of the test windows. So the front meets windows, hidden entries and noise that the
search has not seen. The entries that the source itself hides are those of the test; elsewhere
`score.hide` of what was recorded is hidden, each window's by itself, the same for all schedules.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.windows import Panel, hide
from orchestration.config import Config
from orchestration.window_formats import Part
from orchestration.windows import load_part

HIDDEN = 11 << 32  # upper half of the seed, see `training_batches`
STREAMS = {"validation": 0, "test": 1}


def search_panel(config: Config, folder: Path) -> Panel:
    """The validation windows, each sampled `search.num_samples` times; DataError where damaged."""
    part = load_part(folder, "validation")
    found = panel(part, config.search.num_samples, config.score.hide, STREAMS["validation"])
    order = spread_order(len(found.values))
    return replace(
        found, values=found.values[order], given=found.given[order], scored=found.scored[order]
    )


def report_panel(config: Config, folder: Path) -> Panel:
    """The test windows, each sampled `score.num_samples` times; DataError where damaged."""
    part = load_part(folder, "test")
    return panel(part, config.score.num_samples, config.score.hide, STREAMS["test"])


def spread_order(count: int) -> Tensor:
    """Windows in an order of which any first ones lie evenly over all: int64 (count,).

    They follow each other in time, and few of them would be of one season. By the ranks of the
    multiples of the golden ratio, modulo 1.
    """
    places = torch.arange(1, count + 1, dtype=torch.float64) * ((5**0.5 - 1) / 2) % 1
    return places.argsort().argsort()


def panel(part: Part, num_samples: int, share: float, stream: int) -> Panel:
    """Windows with entries hidden: those that the part names, else a share of what is recorded."""
    recorded = torch.from_numpy(np.isfinite(part.values))
    if part.hidden is None:
        hidden = hide(recorded, share, HIDDEN, range(len(recorded)), stream)
    else:
        hidden = torch.from_numpy(part.hidden) & recorded
    values = torch.from_numpy(part.values).nan_to_num(0.0)
    return Panel(values, recorded & ~hidden, hidden, num_samples)
