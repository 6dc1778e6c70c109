"""What a quality is called, what is told beside it, and how samples are shown: images, windows.

Scorers work the numbers out (`scorer.py`, `window_scorer.py`); here is what the driver says of
them, in `front.json` and in pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.crps import errors, replicates, share
from models.frechet import noise_floor
from models.intervals import Replicates, estimate
from orchestration.fidelity import fidelity_facts, real_subset
from orchestration.files import Json
from orchestration.image_grids import samples_png
from orchestration.window_plot import WindowPicture

Rows = Sequence[tuple[str, np.ndarray]]


class Quality(Protocol):
    """What a front says of its numbers."""

    @property
    def judged_on(self) -> str:
        """What numbers are taken on, for the key of what was measured by them."""

    @property
    def compared(self) -> np.ndarray | None:
        """What the scorers' `fidelity` compares samples with."""

    def name(self, num_images: int) -> str:
        """The metric with its features and count."""

    def facts(self, num_images: int, baseline: Replicates) -> dict[str, Json]:
        """What `front.json` says beside the schedules' own numbers.

        Args:
            num_images: that each schedule was scored on.
            baseline: qualities of the first of them, whose blocks others are held against.
        """

    def picture(self, rows: Rows) -> bytes:
        """Samples of several schedules, a titled row each, as PNG."""


@dataclass(frozen=True)
class FrechetQuality:
    """A Fréchet distance between samples and real images.

    Args:
        features: what the distance is taken on, as part of the quality's name.
        real: float32 features (M, D) of the real images, for the noise floor, KID, precision and
            recall.
        num_reference: real images that the reference is made of; None where it was given.
    """

    features: str
    real: np.ndarray
    num_reference: int | None

    @property
    def judged_on(self) -> str:
        """See `Quality`, as for the rest."""
        return self.features

    @property
    def compared(self) -> np.ndarray:
        """..."""
        return real_subset(self.real)

    def name(self, num_images: int) -> str:
        """Such as `fd_digits_2k`; `fid` on pytorch-fid's Inception, and only there."""
        kind = "fid" if self.features == "inception" else "fd"
        return f"{kind}_{self.features}_{count_name(num_images)}"

    def facts(self, num_images: int, baseline: Replicates) -> dict[str, Json]:
        """..."""
        return {
            "noise_floor": noise_floor(self.real, num_images, seed=0),
            "noise_floor_num_images": min(num_images, len(self.real) // 2),
            "num_reference": self.num_reference,
            "fidelity": fidelity_facts(num_images, len(self.compared)),
        }

    def picture(self, rows: Rows) -> bytes:
        """..."""
        return samples_png(rows)


@dataclass(frozen=True)
class CrpsQuality:
    """CRPS of what is hidden in windows.

    Args:
        label: of the data and of how much is hidden, as part of the quality's name.
        rows: by name of a baseline imputer, its float64 (n, 6) sums of the test windows.
        num_samples: of each window.
        drawn: the window that is shown.
    """

    label: str
    rows: Mapping[str, np.ndarray]
    num_samples: int
    drawn: WindowPicture

    @property
    def judged_on(self) -> str:
        """See `Quality`, as for the rest."""
        return self.label

    @property
    def compared(self) -> None:
        """..."""
        return None

    def name(self, num_images: int) -> str:
        """Such as `crps_weather_hidden10_36`, of 36 windows with 10 % hidden."""
        return f"crps_{self.label}_{count_name(num_images)}"

    def facts(self, num_images: int, baseline: Replicates) -> dict[str, Json]:
        """..."""
        return {
            "num_samples": self.num_samples,
            "imputers": {
                name: _imputer_facts(rows[:num_images], baseline)
                for name, rows in self.rows.items()
            },
        }

    def picture(self, rows: Rows) -> bytes:
        """..."""
        # The draws that follow are of the next window
        return self.drawn.png([(name, drawn[: self.num_samples, 0]) for name, drawn in rows])


def _imputer_facts(rows: np.ndarray, baseline: Replicates) -> dict[str, Json]:
    """What an imputer reaches on the blocks of windows that the baseline was scored on."""
    blocks = np.split(rows, np.cumsum(baseline.counts)[:-1])
    scores = replicates(blocks)
    facts: dict[str, Json] = {"crps": scores.full, "crps_ci": list(estimate(scores).interval())}
    facts |= errors(blocks)._asdict()
    ratio = share(baseline, scores)
    if ratio is not None:
        facts["baseline_share"] = ratio.full
        facts["baseline_share_ci"] = list(estimate(ratio).interval())
    return facts


def count_name(num_images: int) -> str:
    """2000 is "2k", 36 "36"."""
    return f"{num_images // 1000}k" if num_images % 1000 == 0 else str(num_images)
