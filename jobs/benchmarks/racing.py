"""`racing`: what racing and more images near the front are worth at equal network calls.

stepwise's own search, barriers, levels, charges and choice of members, on the landscape of
`landscape.py`, whose schedules are scored block by block: a block's quality is the true one and
normal noise, a schedule's and a block's own. That noise is not shared by schedules that are alike
makes it harder to tell them apart than it is on images. Its size is that of two networks on
digits, and grows with the square of quality, as was measured there.

Judged is what a search hands over: the hypervolume of the true qualities of the members that it
chooses, and what the recommended one truly saves and loses. `KIND_vs_plain`: hypervolume, the mean
over seeds of the ratio to the search without racing at 1,000 images.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from jobs.benchmarks import landscape
from jobs.benchmarks.landscape import SPACE
from jobs.benchmarks.report import Report, Say
from models.intervals import Replicates
from orchestration.batches import batches
from orchestration.files import Json
from orchestration.front import choose_members, recommend
from orchestration.search import Generation, Problem, search
from orchestration.search_sections import Score, Search
from search_spaces import pareto
from search_spaces.guided import Guide
from search_spaces.optimizers import REFERENCE_POINT, make_optimizer
from search_spaces.prefixes import Step
from search_spaces.schedule import StepSchedule

BATCH, BLOCK = 250, 25
CALLS = 3_000_000  # network calls x images
MACS = dict(zip(SPACE.widths, (100, 56, 25, 7), strict=True))  # `landscape.MACS`, as whole numbers
# Standard errors at 1,000 images of differences from the baseline, in its quality: of the network
# of `make demo`, and of the one of jobs/configs/proof.yaml.
NOISES = {"demo": 0.0125, "proof": 0.04}
MAX_MEMBERS = Score.model_fields["max_members"].default
KINDS: dict[str, dict[str, int | bool]] = {
    "plain": {"num_images": 1000},
    "racing": {"num_images": 1000, "racing": True},
    "racing_2000": {"num_images": 1000, "racing": True, "max_images": 2000},
    "plain_2000": {"num_images": 2000},
}


class LandscapePool:
    """Scores schedules block by block, as a function of the schedule, the block and the seed.

    Args:
        noise: standard error of the difference from the baseline at 1,000 images.
    """

    batch_size = BATCH

    def __init__(self, noise: float) -> None:
        self._noise = noise * (1000 / BLOCK) ** 0.5
        self._errors = cache(_errors)

    def blocks(
        self, schedules: Sequence[Sequence[Step]], seed: int, runs: Sequence[range]
    ) -> list[list[np.ndarray]]:
        """See `Pool`: (blocks of a batch,) qualities each."""
        return [[self._qualities(tuple(s), seed, run) for run in runs] for s in schedules]

    def judge(self, blocks: Sequence[Sequence[np.ndarray]]) -> list[Replicates]:
        """See `Pool`; a quality is the mean over blocks."""
        return [_mean(np.concatenate(list(of_one))) for of_one in blocks]

    def distances(
        self, schedules: Sequence[Sequence[Step]], seed: int, num_images: int
    ) -> list[Replicates]:
        """See `Pool`."""
        return self.judge(self.blocks(schedules, seed, batches(num_images, BATCH)))

    def rewards(
        self,
        schedules: Sequence[Sequence[Step]],
        seed: int,
        num_images: int,
        real: np.ndarray | None,
        first: int = 0,
        finer: None = None,
    ) -> tuple[list[float], list[float]]:
        """See `Pool`: the qualities, which are without bias here; there are no samples."""
        return [found.full for found in self.distances(schedules, seed, num_images)], []

    def keep(self, schedules: Sequence[Sequence[Step]]) -> None:
        """Has no states to keep."""

    def _qualities(self, steps: tuple[Step, ...], seed: int, run: range) -> np.ndarray:
        quality, _ = true_point(steps)
        errors = self._errors(steps, seed)[run.start // BLOCK : run.stop // BLOCK]
        return quality + self._noise * quality**2 * errors


@dataclass(frozen=True)
class Found:
    """What a search handed over, by true qualities.

    Args:
        hypervolume: of the members.
        savings: of the recommended one.
        loss: of the recommended one, in the baseline's quality.
        candidates: that were scored.
        images_saved: see `Generation`.
        wrongly_dropped: candidates of the true front of all that were asked for.
    """

    hypervolume: float
    savings: float
    loss: float
    candidates: int
    images_saved: float
    wrongly_dropped: int


def run(repetitions: int, say: Say) -> Report:
    """Searches with as many seeds as repetitions."""
    figures: dict[str, float] = {}
    notes: dict[str, Json] = {"seeds": repetitions, "calls": CALLS, "noises": dict(NOISES)}
    for name, noise in NOISES.items():
        found = {}
        for kind, settings in KINDS.items():
            say(f"{kind}, the noise of {name}: {repetitions} searches")
            found[kind] = [searched(noise, seed, **settings) for seed in range(repetitions)]
        plain = np.array([f.hypervolume for f in found["plain"]])
        for kind, of_kind in found.items():
            ratios = np.array([f.hypervolume for f in of_kind]) / plain
            if kind != "plain":
                figures[f"{kind}_vs_plain_{name}"] = float(ratios.mean())
            fields = Found.__dataclass_fields__
            notes[f"{name}_{kind}"] = {
                field: [getattr(f, field) for f in of_kind] for field in fields
            }
        figures[f"images_saved_{name}"] = float(np.mean([f.images_saved for f in found["racing"]]))
    return Report("racing", figures, [], notes)


def searched(
    noise: float,
    seed: int,
    calls: int = CALLS,
    guide: Guide | None = None,
    **settings: int | bool | str,
) -> Found:
    """One search, perhaps from a learned mask, and what has come of it."""
    chosen = Search(budget_calls=calls, seed=seed, noise_seed=seed, **settings)
    steps = tuple((t, SPACE.widths[0]) for t in SPACE.grid)
    chain = StepSchedule(1000, "linear", "epsilon", "ddim", 0.0, True, steps)
    problem = Problem(chain, SPACE, MACS, chosen, guide=guide)
    optimizer = make_optimizer(chosen.optimizer, problem.searched, seed, chosen.population)
    generations: list[Generation] = []
    for generation in search(problem, optimizer, LandscapePool(noise), (), lambda: 0.0):
        generations.append(generation)
        if generation.stop is not None:
            break
    records = [record for generation in generations for record in generation.records]
    chosen_members = choose_members(records, MAX_MEMBERS, problem.cost)
    members = np.array([true_point(r.steps) for r in chosen_members])
    quality, cost = true_point(recommend(records, problem.cost).steps)
    on_front = pareto.non_dominated(np.array([true_point(r.steps) for r in records]))
    dropped = [r for r in records if (r.num_images or chosen.num_images) < chosen.num_images]
    return Found(
        hypervolume=pareto.hypervolume(members, REFERENCE_POINT),
        savings=1 - cost,
        loss=quality - 1,
        candidates=len(records),
        images_saved=generations[-1].images_saved,
        wrongly_dropped=len({r.index for r in dropped} & set(on_front.tolist())),
    )


@cache
def true_point(steps: tuple[Step, ...]) -> tuple[float, float]:
    """Quality and cost of a schedule, relative to the baseline's."""
    ((quality, cost),) = landscape.losses([SPACE.encode(steps)])
    return float(quality), float(cost)


def _errors(steps: tuple[Step, ...], seed: int) -> np.ndarray:
    """Unit noise of each block; none of the baseline, which is compared with itself."""
    num_blocks = 2**14 // BLOCK
    if len(steps) == SPACE.num_genes and {width for _, width in steps} == {SPACE.widths[0]}:
        return np.zeros(num_blocks)
    digest = hashlib.sha256(repr(steps).encode()).digest()
    return np.random.default_rng([seed, *digest]).standard_normal(num_blocks)


def _mean(values: np.ndarray) -> Replicates:
    counts = np.full(len(values), BLOCK)
    without = (values.sum() - values) / (len(values) - 1)
    return Replicates(float(values.mean()), without, counts)
