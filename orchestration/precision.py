"""What bfloat16 does to qualities: the same schedules in float32, on the same noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from models.intervals import Replicates, paired
from orchestration.pool import Pool
from orchestration.scorer import Steps
from orchestration.ways import Way

HARMLESS = 0.02
"""The largest relative change of a quality that is taken, error bar included."""

JUDGED_OF_A_WIDTH = 2
"""Schedules of each width that it is judged on: all of them, twice, would cost a short search."""


@dataclass(frozen=True)
class Difference:
    """Of qualities in bfloat16 from those in float32.

    Args:
        largest: that the paired 95 % intervals allow, relative to the quality.
        same_order: whether all schedules that float32 tells apart keep their order.
    """

    largest: float
    same_order: bool

    @property
    def is_harmless(self) -> bool:
        """Whether bfloat16 may be taken."""
        return self.largest <= HARMLESS and self.same_order


def is_rough(ways: Mapping[float, Way]) -> bool:
    """Whether any width runs in bfloat16."""
    return any(way.dtype == "bfloat16" for way in ways.values())


def few_of_each_width(uniform: Sequence[Steps]) -> list[Steps]:
    """JUDGED_OF_A_WIDTH of each width, with other numbers of steps from width to width.

    Args:
        uniform: schedules of one width each, width by width, most steps first.
    """
    of_width: dict[float, list[Steps]] = {}
    for steps in uniform:
        of_width.setdefault(steps[0][1], []).append(steps)
    few = []
    for i, schedules in enumerate(of_width.values()):
        n = len(schedules)
        places = {(i + k * n // JUDGED_OF_A_WIDTH) % n for k in range(JUDGED_OF_A_WIDTH)}
        few += [schedules[place] for place in sorted(places)]
    return few


def difference(
    pool: Pool,
    use: Callable[[Mapping[float, Way]], None],
    ways: Mapping[float, Way],
    schedules: Sequence[Steps],
    seed: int,
    num_images: int,
) -> Difference:
    """Scores schedules in float32, and then in the ways that the pool goes on with.

    Args:
        pool: scores.
        use: has it run subnets in such ways.
        ways: some of them in bfloat16.
        schedules: steps of each.
        seed: of the noise.
        num_images: of each.
    """
    scores = []
    for each in ({width: replace(way, dtype="float32") for width, way in ways.items()}, ways):
        use(each)
        scores.append(pool.distances(schedules, seed, num_images))
    return compare(*scores)


def compare(exact: Sequence[Replicates], rough: Sequence[Replicates]) -> Difference:
    """The difference of schedules' distances, in the same order."""
    changes = []
    for one, other in zip(exact, rough, strict=True):
        low, high = paired(other, one).interval()
        changes.append(max(-low, high) / one.full)
    same_order = True
    for i, a in enumerate(exact):
        for j, b in enumerate(exact[:i]):
            low, high = paired(a, b).interval()
            gap = rough[i].full - rough[j].full
            same_order &= not ((low > 0 and gap < 0) or (high < 0 and gap > 0))
    return Difference(max(changes), same_order)
