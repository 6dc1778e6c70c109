"""A search: an optimizer asks for a generation, the pool scores it, the optimizer is told.

Pure but for the clock and the pool that come in through the call. Everything is a function of the
configuration and of the records so far: records of an earlier run are replayed into the optimizer
in ask order, and what follows is what would have followed.

Quality is told relative to the baseline's (1 is the baseline), and so is cost.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Protocol

import numpy as np

from models.intervals import Replicates
from orchestration.costs import Cost
from orchestration.journal import Record
from orchestration.racing import Racing, RacingPool
from orchestration.records import make_record
from orchestration.search_sections import Search
from search_spaces import pareto
from search_spaces.guided import Guide, GuidedSpace
from search_spaces.optimizers import REFERENCE_POINT, Optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step, charge
from search_spaces.schedule import StepSchedule
from search_spaces.spaces import Space, make_space


class ScoringPool(RacingPool, Protocol):
    """What a search needs of the pool."""

    def distances(
        self, schedules: Sequence[Sequence[Step]], seed: int, num_images: int
    ) -> list[Replicates]:
        """Distances of each schedule."""


@dataclass(frozen=True)
class Problem:
    """What is searched.

    Args:
        chain: a schedule of the chain that all candidates run on; its steps are the baseline's.
        space: the grid and the widths, which candidates are written in.
        macs: of one call at each width.
        settings: `search` of the configuration.
        latency: as predicted, where it is known.
        guide: what a mask has learned; None without a warm start.

    Raises:
        ValueError: latency is searched for, and not known.
    """

    chain: StepSchedule
    space: PerStepSpace
    macs: dict[float, int]
    settings: Search
    latency: Cost | None = None
    guide: Guide | None = None

    def __post_init__(self) -> None:
        if self.settings.cost == "latency" and self.latency is None:
            raise ValueError("search.cost is latency, and how long steps take is not known")

    @property
    def cost(self) -> Cost:
        """What candidates are compared by beside their quality."""
        if self.settings.cost == "latency":
            return self.latency
        calls = self.chain.calls_per_step
        return Cost("macs", {width: calls * macs for width, macs in self.macs.items()})

    def schedule(self, steps: Sequence[Step]) -> StepSchedule:
        """These steps on the problem's chain."""
        fields = {name: getattr(self.chain, name) for name in self.chain.__dataclass_fields__}
        return StepSchedule(**{**fields, "steps": tuple(steps)})

    def calls_of_a_step(self, num_images: int | None = None) -> int:
        """Network calls x images that a step costs, on `num_images` or the search's own number."""
        return self.chain.calls_per_step * (num_images or self.settings.num_images)

    @property
    def searched(self) -> Space:
        """The part of the space that the optimizer moves in."""
        space = make_space(self.settings.space, self.space, self.settings.segments)
        return space if self.guide is None else GuidedSpace(space, self.guide)

    @cached_property
    def uniform_keys(self) -> frozenset[str]:
        """Keys of the uniform schedules."""
        return frozenset(
            self.schedule(self.space.decode(genome)).key for genome in self.space.uniform()
        )


@dataclass(frozen=True)
class Generation:
    """What one generation brought, and where the search stands after it.

    Args:
        records: the new ones, in ask order.
        num_scored: candidates so far.
        calls: network calls x images so far.
        calls_alone: what the same candidates had cost one by one.
        hypervolume: of all candidates so far, in units of the box.
        hypervolume_uniform: of the uniform schedules alone.
        best_savings: the most saved, as a share of the baseline's cost, by a candidate that the
            search believes to be no worse; 0 if there is none.
        stop: why the search ends here, or None.
        images_saved: see `images_saved`.
    """

    records: tuple[Record, ...]
    num_scored: int
    calls: int
    calls_alone: int
    hypervolume: float
    hypervolume_uniform: float
    best_savings: float
    stop: str | None
    images_saved: float | None = None


def search(
    problem: Problem,
    optimizer: Optimizer,
    pool: ScoringPool,
    records: Sequence[Record],
    elapsed_s: Callable[[], float],
) -> Iterator[Generation]:
    """Yields generation after generation until a stopping rule is met.

    Args:
        problem: what is searched.
        optimizer: fresh, made from the problem's seed.
        pool: scores candidates.
        records: of an earlier run of the same search, in ask order.
        elapsed_s: seconds since the search began, for `budget_minutes`.

    Raises:
        ValueError: the records are not those of this search.
    """
    settings = problem.settings
    cost = problem.cost
    scoring = Racing(problem, pool) if settings.racing else _Scoring(problem, pool)
    history = list(records)
    volumes: list[float] = []
    done, calls_alone = 0, 0
    for index in count():
        asked = optimizer.ask_generation(_room(settings, done))
        steps = [problem.space.decode(candidate.genome) for candidate in asked]
        replayed = history[done : done + len(asked)]
        if [record.steps for record in replayed] != steps[: len(replayed)]:
            raise ValueError("the journal's candidates are not those of this search")
        kept = [problem.space.decode(genome) for genome in optimizer.survivors()]
        history += scoring.records(index, steps, kept, history[:done], replayed)
        scored = history[: done + len(asked)]
        if asked:
            optimizer.tell_generation(asked, relative(scored[done:], scored[0], cost))
        points = relative(scored, scored[0], cost)
        is_uniform = [record.key in problem.uniform_keys for record in scored]
        complete = np.array([record.complete for record in scored])
        volumes.append(pareto.hypervolume(points[complete], REFERENCE_POINT))
        calls = sum(record.calls for record in scored)
        calls_alone += sum(
            len(r.steps) * problem.calls_of_a_step(r.num_images) for r in scored[done:]
        )
        yield Generation(
            records=tuple(scored[done:]),
            num_scored=len(scored),
            calls=calls,
            calls_alone=calls_alone,
            hypervolume=volumes[-1],
            hypervolume_uniform=pareto.hypervolume(points[is_uniform], REFERENCE_POINT),
            best_savings=1 - float(points[[no_loss(r) for r in scored], 1].min()),
            stop=_stop(settings, len(scored), calls, volumes, elapsed_s())
            if asked
            else f"no further candidate found after {done}",
            images_saved=images_saved(scored, settings),
        )
        done = len(scored)


class _Scoring:
    """Turns the candidates of a generation into records; holds the baseline's replicates."""

    def __init__(self, problem: Problem, pool: ScoringPool) -> None:
        self.problem = problem
        self.pool = pool
        self.baseline: Replicates | None = None

    def records(
        self,
        generation: int,
        steps: Sequence[tuple[Step, ...]],
        kept: Sequence[Sequence[Step]],
        earlier: Sequence[Record],
        replayed: Sequence[Record],
    ) -> list[Record]:
        """Records of those candidates of a generation that were not replayed.

        Args:
            generation: its index.
            steps: of all its candidates.
            kept: schedules that they may share steps with.
            earlier: records of all candidates before it.
            replayed: records that are there already, of its first candidates.
        """
        if len(replayed) == len(steps):
            return []
        settings, done = self.problem.settings, len(earlier)
        self.pool.keep(kept)
        new = list(steps[len(replayed) :])
        if self.baseline is None and (done or replayed):  # a resumed search
            new.append(self.problem.chain.steps)
        scores = self.pool.distances(new, settings.noise_seed, settings.num_images)
        if self.baseline is None:  # the first candidate of all is the baseline
            self.baseline = scores.pop() if done or replayed else scores[0]
        charged = charge(steps, kept)
        return [
            make_record(
                self.problem, done + i, generation, steps[i], score, self.baseline,
                charged[i] * self.problem.calls_of_a_step(),
            )  # fmt: skip
            for i, score in enumerate(scores, len(replayed))
        ]


def relative(records: Sequence[Record], baseline: Record, cost: Cost) -> np.ndarray:
    """(n, 2): quality and cost of each, relative to the baseline's."""
    scale = (baseline.quality, cost.of_record(baseline))
    return np.array(
        [(r.quality / scale[0], cost.of_record(r) / scale[1]) for r in records]
    ).reshape(-1, 2)


def no_loss(record: Record) -> bool:
    """Whether the search believes the candidate to be no worse than the baseline.

    By its paired difference on the search's noise, which is an estimate: how lucky the chosen one
    was, fresh noise tells.
    """
    return record.complete and record.delta <= 0


def images_saved(records: Sequence[Record], settings: Search) -> float | None:
    """Share of the images of all candidates that dropping some early has saved; None: no race."""
    if not settings.racing:
        return None
    missing = (max(0, settings.num_images - record.num_images) for record in records)
    return sum(missing) / (len(records) * settings.num_images)


def _room(settings: Search, done: int) -> int:
    """Candidates to ask for: a generation, or what the budget leaves of one."""
    if settings.budget is None:
        return settings.population
    return min(settings.population, settings.budget - done)


def _stop(
    settings: Search, done: int, calls: int, volumes: Sequence[float], elapsed_s: float
) -> str | None:
    if settings.budget is not None and done >= settings.budget:
        return f"{done} candidates scored"
    if settings.budget_calls is not None and calls >= settings.budget_calls:
        return f"{calls} network calls x images made"
    if settings.budget_minutes is not None and elapsed_s >= 60 * settings.budget_minutes:
        return f"{settings.budget_minutes:g} minutes are over"
    flat = settings.patience
    if flat is not None and len(volumes) > flat and volumes[-1] <= volumes[-1 - flat] * 1.001:
        return f"hypervolume flat for {flat} generations"
    return None
