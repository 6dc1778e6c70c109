"""Which windows are sampled, and which of their entries hidden: for a search, and for reports.

A search looks at the validation windows, what is reported is of the test windows; so the front
meets windows, hidden entries and noise that the search has not seen. The entries that the source
itself hides are those of the test; elsewhere `score.hide` of what was recorded is hidden, each
window's by itself, the same for all schedules.
"""

from pathlib import Path

import numpy as np
import torch

from models.windows import Panel, hide
from orchestration.config import Config
from orchestration.window_formats import Part
from orchestration.windows import load_part

HIDDEN = 11 << 32  # upper half of the seed, see `training_batches`
STREAMS = {"validation": 0, "test": 1}


def search_panel(config: Config, folder: Path) -> Panel:
    """The validation windows, each sampled `search.num_samples` times; DataError where damaged."""
    part = load_part(folder, "validation")
    return panel(part, config.search.num_samples, config.score.hide, STREAMS["validation"])


def report_panel(config: Config, folder: Path) -> Panel:
    """The test windows, each sampled `score.num_samples` times; DataError where damaged."""
    part = load_part(folder, "test")
    return panel(part, config.score.num_samples, config.score.hide, STREAMS["test"])


def panel(part: Part, num_samples: int, share: float, stream: int) -> Panel:
    """Windows with entries hidden: those that the part names, else a share of what is recorded."""
    recorded = torch.from_numpy(np.isfinite(part.values))
    if part.hidden is None:
        hidden = hide(recorded, share, HIDDEN, range(len(recorded)), stream)
    else:
        hidden = torch.from_numpy(part.hidden) & recorded
    values = torch.from_numpy(part.values).nan_to_num(0.0)
    return Panel(values, recorded & ~hidden, hidden, num_samples)
