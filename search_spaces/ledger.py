"""Which prefixes are at hand where schedules are not all sampled on the same images.

Images are cut into ranges, and a schedule is sampled on some of them. A prefix is at hand for a
range if a schedule that has it was sampled there, and ever since some schedule that has it was
kept: what `models.states.StateCache` holds where it has room for everything.
"""

from collections.abc import Sequence

from search_spaces.prefixes import Step, charge, shared_length


class Ledger:
    """Counts the network calls of each range of images.

    Args:
        num_ranges: how many there are.
    """

    def __init__(self, num_ranges: int) -> None:
        self._paths: list[list[tuple[Step, ...]]] = [[] for _ in range(num_ranges)]

    def keep(self, schedules: Sequence[Sequence[Step]]) -> None:
        """Forgets every prefix that is of none of these schedules."""
        for place, paths in enumerate(self._paths):
            lengths = [max((shared_length(p, s) for s in schedules), default=0) for p in paths]
            cut = dict.fromkeys(p[:n] for p, n in zip(paths, lengths, strict=True) if n)
            self._paths[place] = list(cut)

    def add(self, place: int, schedules: Sequence[Sequence[Step]]) -> list[int]:
        """Samples schedules on a range; the network calls that each adds to those before it."""
        charges = charge(schedules, self._paths[place])
        self._paths[place] += [tuple(steps) for steps in schedules]
        return charges
