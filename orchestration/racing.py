"""Racing: candidates are scored up to common barriers, and some of them no further.

Barriers lie at a quarter, a half and the whole of `search.num_images`, in whole batches, then at
twice that and so on up to `search.max_images`. At the first ones a candidate is *dropped* if it is
beyond doubt dominated; from `num_images` on only those *near the front* go on. Who arrives at the
last barrier is *complete*: the front, and what it is judged by, hold complete candidates only, all
on the same images.

Dominated means worse than a complete member of the front that costs no more, by their paired
difference on the same blocks. Each test of one candidate against one earlier one at one barrier
has a level that depends on the list of candidates alone, not on their noise, and all levels of a
search add up to less than FALSE_REJECTIONS. So whichever of the earlier ones happens to be on the
front, for any list of schedules the chance over the noise that any of them is dropped which none
of the others dominates is below it, as far as paired differences follow Student's t. That the
search chose its candidates by what it saw of the same noise is not in this bound.

What a candidate that is not complete is told by is the baseline at all images plus the paired
difference on the images that both have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.intervals import Replicates, estimate, expected_at, paired
from orchestration.journal import Record
from orchestration.records import make_record
from search_spaces import pareto
from search_spaces.ledger import Ledger
from search_spaces.optimizers import REFERENCE_POINT
from search_spaces.prefixes import Step

if TYPE_CHECKING:
    from orchestration.search import Problem

FALSE_REJECTIONS = 0.05  # chance that a search drops any candidate wrongly
NEAR = 0.0  # standard errors that a candidate near the front may be worse than those on it
EARLY_SHARES = (4, 2)  # barriers below num_images, as its 1/4 and 1/2

Scores = dict[int, Replicates]
"""By barrier."""


class RacingPool(Protocol):
    """What a race needs of the pool."""

    batch_size: int

    def blocks(
        self, schedules: Sequence[Sequence[Step]], seed: int, runs: Sequence[range]
    ) -> list[list[object]]:
        """Something for each schedule and batch that `judge` takes."""

    def judge(self, blocks: Sequence[Sequence[object]]) -> list[Replicates]:
        """Distances of each schedule from its batches in order."""

    def keep(self, schedules: Sequence[Sequence[Step]]) -> None:
        """Schedules whose states later ones start from."""


@dataclass(eq=False)
class Racer:
    """A candidate of the generation at hand, and how far it has come."""

    index: int
    steps: tuple[Step, ...]
    cost: float
    is_uniform: bool
    blocks: list[object] = field(default_factory=list)
    scores: Scores = field(default_factory=dict)
    calls: int = 0


class Racing:
    """Turns the candidates of a generation into records, as `search` asks for them."""

    def __init__(self, problem: "Problem", pool: RacingPool) -> None:
        settings = problem.settings
        self.problem = problem
        self.cost = problem.cost
        self.pool = pool
        self.barriers = barriers(
            settings.num_images, settings.max_images or settings.num_images, pool.batch_size
        )
        self.num_early = sum(barrier < settings.num_images for barrier in self.barriers)
        self.ledger = Ledger(len(self.barriers))
        self.known: dict[tuple[Step, ...], Scores] = {}  # of the baseline and the front

    def records(
        self,
        generation: int,
        steps: Sequence[tuple[Step, ...]],
        kept: Sequence[Sequence[Step]],
        earlier: Sequence[Record],
        replayed: Sequence[Record],
    ) -> list[Record]:
        """Records of those candidates of a generation that were not replayed.

        A generation of which only some were replayed is raced anew as a whole: who goes on
        depends on all of them.

        Args:
            generation: its index.
            steps: of all its candidates.
            kept: schedules that they may share steps with.
            earlier: records of all candidates before it.
            replayed: records that are there already, of its first candidates.
        """
        self.ledger.keep(kept)
        if len(replayed) == len(steps):
            for place, barrier in enumerate(self.barriers):
                self.ledger.add(place, [r.steps for r in replayed if r.num_images >= barrier])
            return []
        self.pool.keep(kept)
        front = self._front(earlier)
        racers = [self._racer(len(earlier) + i, s) for i, s in enumerate(steps)]
        alive = racers
        for place in range(len(self.barriers)):
            self._advance(alive, place)
            if place < self.num_early:
                alive = [r for r in alive if not self._is_hopeless(r, place, front, earlier)]
            elif place < len(self.barriers) - 1:
                alive = [r for r in alive if self._is_near(r, place, front, alive)]
        last = self.barriers[-1]
        self.known |= {r.steps: r.scores for r in racers if last in r.scores}
        return [self._record(r, generation) for r in racers][len(replayed) :]

    def _racer(self, index: int, steps: tuple[Step, ...]) -> Racer:
        is_uniform = self.problem.schedule(steps).key in self.problem.uniform_keys
        return Racer(index, steps, self.cost.of(steps), is_uniform)

    def _front(self, earlier: Sequence[Record]) -> list[Record]:
        """The front of earlier generations; its scores, and the baseline's, are known then."""
        if not earlier:
            return []
        complete = [r for r in earlier if r.complete]
        points = np.array([(r.quality, self.cost.of_record(r)) for r in complete])
        front = [complete[i] for i in pareto.non_dominated(points)]
        wanted = dict.fromkeys(r.steps for r in [earlier[0], *front])
        missing = [steps for steps in wanted if steps not in self.known]  # of a resumed search
        self.known |= dict(zip(missing, self._all_scores(missing), strict=True))
        self.known = {steps: self.known[steps] for steps in wanted}
        return front

    def _all_scores(self, schedules: Sequence[tuple[Step, ...]]) -> list[Scores]:
        racers = [Racer(-1, steps, 0, True) for steps in schedules]
        if racers:
            for place in range(len(self.barriers)):
                self._sample(racers, place)
        return [racer.scores for racer in racers]

    def _advance(self, racers: Sequence[Racer], place: int) -> None:
        """Takes candidates to a barrier, and charges them for it."""
        num_images = sum(len(run) for run in self._runs(place))
        charges = self.ledger.add(place, [racer.steps for racer in racers])
        for racer, calls in zip(racers, charges, strict=True):
            racer.calls += calls * self.problem.calls_of_a_step(num_images)
        if racers:
            self._sample(racers, place)

    def _sample(self, racers: Sequence[Racer], place: int) -> None:
        seed = self.problem.settings.noise_seed
        added = self.pool.blocks([r.steps for r in racers], seed, self._runs(place))
        for racer, blocks in zip(racers, added, strict=True):
            racer.blocks += blocks
        judged = self.pool.judge([racer.blocks for racer in racers])
        for racer, scores in zip(racers, judged, strict=True):
            racer.scores[self.barriers[place]] = scores

    def _runs(self, place: int) -> list[range]:
        """The batches between a barrier and the one before it."""
        start, stop = self.barriers[place - 1] if place else 0, self.barriers[place]
        size = self.pool.batch_size
        return [range(i, min(i + size, stop)) for i in range(start, stop, size)]

    def _is_hopeless(
        self, racer: Racer, place: int, front: Sequence[Record], earlier: Sequence[Record]
    ) -> bool:
        """Whether the best member of the front that costs no more is better beyond doubt.

        Of the difference to be expected at `num_images`. Uniform schedules are never dropped:
        they are what the front is compared with.
        """
        cheaper = self._no_dearer(front, racer)
        if racer.is_uniform or not cheaper:
            return False
        settings = self.problem.settings
        best = min(cheaper, key=lambda record: (record.quality, record.index))
        barrier = self.barriers[place]
        difference = racer.scores[barrier] - self.known[best.steps][barrier]
        num_rivals = len(self._no_dearer(earlier, racer))
        chance = expected_at(difference, settings.num_images).tail()
        return chance < level(racer.index, settings.population, self.num_early * num_rivals)

    def _is_near(
        self, racer: Racer, place: int, front: Sequence[Record], alive: Sequence[Racer]
    ) -> bool:
        """Whether it may be on the front: no one that costs no more is clearly better."""
        if racer.index == 0:
            return True
        barrier = self.barriers[place]
        scores, baseline = racer.scores[barrier], self._baseline(alive)[barrier]
        if scores.full > REFERENCE_POINT[0] * baseline.full:
            return False
        rivals = [self.known[r.steps][barrier] for r in self._no_dearer(front, racer)]
        rivals += [r.scores[barrier] for r in alive if r is not racer and r.cost <= racer.cost]
        differences = (paired(scores, rival) for rival in rivals)
        return all(d.value <= NEAR * d.se for d in differences)

    def _no_dearer(self, records: Sequence[Record], racer: Racer) -> list[Record]:
        """Those that cost no more than a racer."""
        return [record for record in records if self.cost.of_record(record) <= racer.cost]

    def _baseline(self, racers: Sequence[Racer]) -> Scores:
        """The baseline's scores: it is the first candidate of all, and goes all the way."""
        return self.known.get(self.problem.chain.steps) or racers[0].scores

    def _record(self, racer: Racer, generation: int) -> Record:
        baseline = self.known[self.problem.chain.steps]
        reached = max(racer.scores)
        record = make_record(
            self.problem, racer.index, generation, racer.steps, racer.scores[reached],
            baseline[reached], racer.calls,
        )  # fmt: skip
        if reached == self.barriers[-1]:
            return replace(record, num_images=reached)
        base = estimate(baseline[self.barriers[-1]])
        return replace(
            record,
            quality=base.value + record.delta,
            quality_se=float(np.hypot(base.se, record.delta_se)),
            num_images=reached,
            complete=False,
        )


def barriers(num_images: int, max_images: int, batch_size: int) -> tuple[int, ...]:
    """Numbers of images at which candidates are compared, rising.

    Args:
        num_images: that each is scored on unless it is dropped.
        max_images: the last barrier.
        batch_size: barriers below `num_images` are multiples of it.
    """
    early = [-(-num_images // (share * batch_size)) * batch_size for share in EARLY_SHARES]
    places = {barrier for barrier in early if barrier < num_images}
    barrier = num_images
    while barrier < max_images:
        places.add(barrier)
        barrier *= 2
    return tuple(sorted({*places, max_images}))


def level(index: int, population: int, num_tests: int) -> float:
    """Of each of the `num_tests` tests that a candidate might have to stand.

    Generation g of `population` candidates has 1 / ((g + 1) (g + 2)) of FALSE_REJECTIONS, which
    over all generations adds up to the whole of it.
    """
    g = index // population
    return FALSE_REJECTIONS / ((g + 1) * (g + 2) * population * num_tests)
