"""The pictures of a run directory: what is drawn, and where it is written.

The drawing is done by files that touch no disk: `front_plot`, `front_page`, `schedule_plot`,
`image_grids`; the terminal's table is in `tables`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from orchestration.files import write_bytes
from orchestration.front_page import pareto_html
from orchestration.front_plot import pareto_png
from orchestration.image_grids import samples_png
from orchestration.members import Front, NamedMember, all_schedules, front_members
from orchestration.rundir import PICTURES
from orchestration.schedule_plot import schedules_png

NUM_FURTHER = 5
"""Rows of samples.png after those of the baseline and the recommended member."""


def pictured(front: Front) -> list[NamedMember]:
    """The schedules whose samples are shown: baseline, recommended, others that save evenly more.

    The others run from the least to the most savings.
    """
    first = [entry for entry in all_schedules(front) if entry.role in ("baseline", "recommended")]
    others = [entry for entry in front_members(front) if entry.role == "member"]
    chosen = np.linspace(0, len(others) - 1, min(NUM_FURTHER, len(others))).round().astype(int)
    return [*first, *(others[i] for i in chosen)]


def write_pictures(
    folder: Path,
    front: Front,
    samples: Mapping[str, np.ndarray],
    picture: Callable[[Sequence[tuple[str, np.ndarray]]], bytes] | None = None,
) -> None:
    """Writes PICTURES into a run directory.

    Args:
        folder: the run directory.
        front: content of its `front.json`.
        samples: images (n, C, H, W) by key of the schedule, for all of `pictured(front)`; image k
            of each is made of the same noise.
        picture: draws samples, a titled row a schedule; None: as images.

    Raises:
        MachineError: the disk is full or not writable.
    """
    rows = [(entry.title, samples[entry.member["key"]]) for entry in pictured(front)]
    contents = (
        pareto_png(front),
        pareto_html(front).encode(),
        schedules_png(front),
        (picture or samples_png)(rows),
    )
    for name, content in zip(PICTURES, contents, strict=True):
        write_bytes(folder / name, content)
