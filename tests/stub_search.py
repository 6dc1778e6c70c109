"""A search on the stub in this process, without Ray, for tests of the search and its trial."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from models.frechet import Reference
from models.intervals import Replicates
from models.moments import FeatureBlock
from orchestration.batches import batches
from orchestration.costs import Cost
from orchestration.fidelity import Fidelity
from orchestration.journal import Record
from orchestration.scorer import Scorer
from orchestration.search import Generation, Problem, search
from orchestration.search_sections import Search
from orchestration.stub import NUM_FEATURES, StubSource, macs_table
from search_spaces.optimizers import make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step
from search_spaces.schedule import StepSchedule, even_grid

T = 1000
WIDTHS = (1.0, 0.5, 0.25)
BLOCK_SIZE = 5
# Milliseconds: a narrow step takes more of a wide one's time than of its MACs.
LATENCY = Cost("latency", {width: 0.5 + 0.5 * width for width in WIDTHS}, 0.25)


def stub_problem(steps: int = 8, **settings: object) -> Problem:
    """The stub's problem on a small grid; `settings` are those of `search`."""
    settings = {"population": 8, "num_images": 20, "noise_seed": 3, **settings}
    grid = even_grid(T, steps)
    chain = StepSchedule(
        T, "linear", "epsilon", "ddim", 0.0, True, tuple((t, WIDTHS[0]) for t in grid)
    )
    chosen = Search(steps=steps, **settings)
    return Problem(chain, PerStepSpace(grid, WIDTHS), macs_table(WIDTHS), chosen, LATENCY)


def stub_scorer() -> Scorer:
    """What a scoring actor holds."""
    reference = Reference(np.zeros(NUM_FEATURES), np.eye(NUM_FEATURES))
    return Scorer(StubSource(T), reference, BLOCK_SIZE)


class InProcessPool:
    """Scores like a pool of one actor, and remembers what it was asked for.

    Args:
        scorer: what its actor holds.

    Attributes:
        asked: (schedules, seed, num_images) of each population.
        kept: the schedules that were named before each population.
        batches: (schedules, images) of each batch of a race.
    """

    batch_size = 20

    def __init__(self, scorer: Scorer | None = None) -> None:
        self.scorer = scorer or stub_scorer()
        self.asked: list[tuple[list[tuple[Step, ...]], int, int]] = []
        self.kept: list[list[tuple[Step, ...]]] = []
        self.batches: list[tuple[list[tuple[Step, ...]], range]] = []

    def distances(
        self,
        schedules: Sequence[Sequence[Step]],
        seed: int,
        num_images: int,
        tell: Callable[[int, int], None] | None = None,
    ) -> list[Replicates]:
        """See `Pool`."""
        self.asked.append(([tuple(steps) for steps in schedules], seed, num_images))
        runs = batches(num_images, self.batch_size)
        scored = []
        for done, images in enumerate(runs, 1):
            scored.append(self.scorer.score(schedules, seed, images))
            if tell is not None and done < len(runs):
                tell(done, len(runs))
        return [self.scorer.judge(*of_one) for of_one in zip(*scored, strict=True)]

    def appraise(
        self,
        schedules: Sequence[Sequence[Step]],
        seed: int,
        num_images: int,
        real: np.ndarray,
        tell: Callable[[int, int], None] | None = None,
    ) -> tuple[list[Replicates], list[Fidelity]]:
        """See `Pool`."""
        judged = self.distances(schedules, seed, num_images, tell)
        runs = batches(num_images, self.batch_size)
        whole = [self.scorer.score(schedules, seed, images, whole=True) for images in runs]
        return judged, [self.scorer.fidelity(real, *of_one) for of_one in zip(*whole, strict=True)]

    def blocks(
        self, schedules: Sequence[Sequence[Step]], seed: int, runs: Sequence[range]
    ) -> list[list[list[FeatureBlock]]]:
        """See `Pool`; what it was asked for is remembered in `batches`."""
        self.batches += [([tuple(steps) for steps in schedules], images) for images in runs]
        scored = [self.scorer.score(schedules, seed, images) for images in runs]
        return [list(of_one) for of_one in zip(*scored, strict=True)]

    def judge(self, blocks: Sequence[Sequence[list[FeatureBlock]]]) -> list[Replicates]:
        """See `Pool`."""
        return [self.scorer.judge(*of_one) for of_one in blocks]

    def keep(self, schedules: Sequence[Sequence[Step]]) -> None:
        """See `Pool`."""
        self.kept.append([tuple(steps) for steps in schedules])


def generations(
    problem: Problem,
    pool: InProcessPool,
    records: Sequence[Record] = (),
    elapsed_s: Callable[[], float] = lambda: 0.0,
) -> Iterator[Generation]:
    """The search, up to and with the generation that it stops at."""
    settings = problem.settings
    optimizer = make_optimizer(
        settings.optimizer, problem.searched, settings.seed, settings.population
    )
    for generation in search(problem, optimizer, pool, records, elapsed_s):
        yield generation
        if generation.stop is not None:
            return


def records_of(found: Sequence[Generation]) -> list[Record]:
    """All candidates of some generations."""
    return [record for generation in found for record in generation.records]
