"""What a sweep says of itself while it searches: a line for each generation, pure text."""

from collections.abc import Callable, Mapping

from orchestration.durations import clock
from orchestration.search import Generation
from orchestration.search_sections import Search


class SweepProgress:
    """Where the searches of a sweep stand.

    Args:
        searches: settings, and the number of candidates that are replayed, by name.
        now_s: a clock, seconds.
    """

    def __init__(
        self, searches: Mapping[str, tuple[Search, int]], now_s: Callable[[], float]
    ) -> None:
        self.searches = searches
        self.now_s = now_s
        self.start_s = now_s()
        self.shares = dict.fromkeys(searches, 0.0)
        self.replayed = dict.fromkeys(searches, 0.0)
        self.longest = max(map(len, searches))

    def line(self, name: str, generation: Generation) -> str | None:
        """What a generation of a search has brought; None where it is only replayed."""
        settings, num_replayed = self.searches[name]
        self.shares[name] = share_done(generation, settings)
        if generation.num_scored <= num_replayed and generation.stop is None:
            self.replayed[name] = self.shares[name]
            return None
        gain = f"{generation.hypervolume:.3f}"
        if generation.hypervolume_uniform:
            gain = f"{generation.hypervolume / generation.hypervolume_uniform:.2f} x uniform"
        stands = (
            f"done: {generation.stop}"
            if generation.stop is not None
            else f"{generation.num_scored} scored"
        )
        return (
            f"{name:{self.longest}}  {stands}   hypervolume {gain}"
            f"   saves {generation.best_savings:.0%} at no loss   {self._whole()}"
        )

    def _whole(self) -> str:
        done, before = (sum(s.values()) / len(s) for s in (self.shares, self.replayed))
        text = f"[{done:.0%} of all"
        if 0 < done - before:
            elapsed_s = self.now_s() - self.start_s
            text += f", {clock(elapsed_s * (1 - done) / (done - before))} left"
        return text + "]"


def share_done(generation: Generation, settings: Search) -> float:
    """How much of a search is done, 0 to 1, by its budgets; minutes and patience can't tell."""
    if generation.stop is not None:
        return 1.0
    shares = [
        done / limit
        for limit, done in (
            (settings.budget, generation.num_scored),
            (settings.budget_calls, generation.calls),
        )
        if limit is not None
    ]
    return min(1.0, max(shares, default=0.0))
