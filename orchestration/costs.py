"""What a schedule costs: its MACs, or the latency that is predicted for it.

Both are sums over the steps, each of which costs what its width does, so a cost is known without
running anything. Whatever compares schedules by cost goes by the one that `search.cost` names:
the search, its optimizer and hypervolume, the recommended member, savings, pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Literal, NamedTuple

from orchestration.journal import Record

Step = tuple[int, float] | tuple[int, float, float]


class Unit(NamedTuple):
    """How a cost is written.

    Attributes:
        key: of a member's cost in `front.json`.
        text: what savings are a share of.
        axis: title of an axis, for one sample.
        per: of the cost, one on that axis.
    """

    key: str
    text: str
    axis: str
    per: float


UNITS = {
    "macs": Unit("macs", "MACs", "MMACs for one sample", 1e6),
    "latency": Unit(
        "latency_predicted_ms",
        "predicted latency",
        "predicted latency, milliseconds for one sample",
        1.0,
    ),
}


@dataclass(frozen=True)
class Cost:
    """What a sample costs: a sum over the steps of its schedule.

    Args:
        name: `macs`, or `latency` in milliseconds.
        of_step: of a step at each width.
        of_sample: beside the steps.
    """

    name: Literal["macs", "latency"]
    of_step: Mapping[float, float]
    of_sample: float = 0.0

    @property
    def unit(self) -> Unit:
        """How it is written."""
        return UNITS[self.name]

    def of(self, steps: Sequence[Step]) -> float:
        """Of these steps; the same for the same widths in any order, to the last bit."""
        return fsum([self.of_sample, *(self.of_step[width] for _, width, *_ in steps)])

    def of_record(self, record: Record) -> float:
        """Of a scored candidate."""
        return record.macs if self.name == "macs" else self.of(record.steps)


def unit_of(front: Mapping[str, object]) -> Unit:
    """The unit of a front's costs; a front that does not name its cost is one of MACs."""
    return UNITS[front.get("cost", "macs")]
