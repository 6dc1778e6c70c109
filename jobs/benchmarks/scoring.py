"""`scoring`: one generation of an evolved population, scored by our engine and by DDSM's way.

DDSM's way, written from its paper (Yang et al., arXiv 2310.03337): candidates one after another,
each sampled from its own fresh noise, the supernet sliced anew in every call, contiguous float32,
and pytorch-fid's distance. Ours scores the same offspring as one population. Between the two lies
a ladder: each rung switches one part of ours on and keeps those before it, so the parts' ratios
multiply to the whole, up to the spread between rounds.

    prefixes      one network call for each distinct prefix of the offspring
    parents       states of the parents are there already, as far as STATE_BYTES goes
    materialised  subnets are networks of their own instead of slices made in each call
    layout        channels-last at the widths where it was measured to be faster
    features      moments of blocks and the jackknife, which also gives the error bar

Both sample in float32 by the same moves (DDIM, eta = 0), as many images a call. Slicing goes
through `Supernet.forward`; slicing by hand in each layer would cost less, so `materialised` is an
upper bound. Quality in the evolution is a closed form, and only decides which genomes there are.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor, nn

from jobs.benchmarks import subjects
from jobs.benchmarks.report import Report, Row
from jobs.benchmarks.side_by_side import ratio, side_by_side
from models.cost import count_macs
from models.diffusion import alphas_cumprod, linear_betas
from models.features import Classifier
from models.frechet import Reference
from models.moments import moments
from models.noise import INIT
from models.population import StateCache
from models.sampling import Sampler
from models.supernet import Supernet
from orchestration import ways
from orchestration.scorer import Execution, Scorer, SupernetSource
from orchestration.ways import Way
from search_spaces.optimizers import make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step, count_calls
from search_spaces.schedule import even_grid

POPULATION, GENERATIONS, SEED = 32, 8, 0
THREADS = 1  # of both, as a scoring actor has
STATE_BYTES = 2**29  # the default of `score.state_bytes`
DDSM, OURS = "DDSM's way", "stepwise"
PARTS = ("prefixes", "parents", "materialised", "layout", "features")
CAPACITY_ERROR = {1.0: 0.0, 0.75: 0.2, 0.5: 0.45, 0.25: 1.0}

Steps = tuple[Step, ...]
Rival = Callable[[], list[float]]


@dataclass(frozen=True)
class Case:
    """How much of a network is run.

    Attributes:
        images: of each candidate, in one batch.
        block_size: images a block of the jackknife.
        grid_steps: S.
        max_repetitions: of each timing, whatever the command asks for.
        ladder: whether each part is measured, or only the whole.
    """

    images: int
    block_size: int
    grid_steps: int
    max_repetitions: int
    ladder: bool


CASES = {
    "digits": Case(100, 20, 50, 3, True),
    "fashion-mnist": Case(10, 2, 20, 2, True),
    "cifar10": Case(3, 1, 10, 1, False),
}


@dataclass(frozen=True)
class Generation:
    """The offspring that are scored, and the parents whose states are kept."""

    offspring: tuple[Steps, ...]
    parents: tuple[Steps, ...]

    def calls(self) -> dict[str, int]:
        """Network calls for a block of images, without and with the engine's sharing."""
        return {
            "one_by_one": sum(map(len, self.offspring)),
            "prefixes": count_calls(self.offspring),
            "parents": count_calls(self.offspring, self.parents),
        }

    def macs(self, table: Mapping[float, int]) -> dict[str, int]:
        """What these calls cost an image: prefixes that are shared are narrower than the rest."""
        offspring, parents = _prefixes(self.offspring), _prefixes(self.parents)
        return {
            "one_by_one": sum(table[width] for steps in self.offspring for _, width in steps),
            "prefixes": sum(table[prefix[-1][1]] for prefix in offspring),
            "parents": sum(table[prefix[-1][1]] for prefix in offspring - parents),
        }


@dataclass(frozen=True, eq=False)
class Subject:
    """What both ways score with."""

    supernet: Supernet
    sampler: Sampler
    extractor: Classifier
    reference: Reference
    shape: tuple[int, int, int]


def run(repetitions: int) -> Report:
    """Measures on THREADS threads."""
    torch.set_num_threads(THREADS)
    figures, rows, notes = {}, [], {"threads": THREADS, "generation": GENERATIONS + 1}
    for name, case in CASES.items():
        measured = subject(name)
        generation = evolve(name, case.grid_steps, POPULATION, GENERATIONS)
        execution, cache = _execution(measured, case), StateCache(STATE_BYTES)
        rivals = ladder(measured, generation, case, execution, cache)
        if not case.ladder:
            rivals = {rung: rivals[rung] for rung in (DDSM, OURS)}
        state_bytes = cache.bytes
        # Measuring the layouts and making the parents' states was warm-up enough
        timings = side_by_side(rivals, min(repetitions, case.max_repetitions), warm_up=False)
        figures[f"speedup_{name}"] = ratio(timings, DDSM, OURS)
        if case.ladder:
            for part, (without, with_it) in zip(PARTS, pairwise(rivals), strict=True):
                figures[f"part_{part}_{name}"] = ratio(timings, without, with_it)
        rows += [Row(name, rung, timing) for rung, timing in timings.items()]
        notes[name] = {
            **asdict(case),
            "layouts": {f"{w:g}": way.memory_format for w, way in execution.ways.items()},
            "calls": generation.calls(),
            "macs_per_image": generation.macs(_macs(name)),
            "parents_state_bytes_per_image": state_bytes // case.images,
        }
    speedup = min(figures[f"speedup_{name}"] for name in CASES)
    return Report("scoring", {"speedup": speedup, **figures}, rows, notes)


def subject(name: str, sampler: str = "ddim") -> Subject:
    """A network of `subjects` with the project's own classifier, both with initial weights."""
    shape = subjects.shape(name)
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(SEED)
        extractor = Classifier(shape[0], shape[1], num_classes=10).eval()
        real = extractor.features(2 * torch.rand(500, *shape) - 1)
    reference = Reference.of(moments(real.numpy()))
    _ = reference.root  # once for all candidates
    moves = Sampler(sampler, alphas_cumprod(linear_betas(1000)))
    return Subject(subjects.supernet(name).eval(), moves, extractor, reference, shape)


def evolve(name: str, grid_steps: int, population: int, generations: int) -> Generation:
    """The generation after so many of the search's own optimizer on a closed-form landscape."""
    space = PerStepSpace(even_grid(1000, grid_steps), subjects.WIDTHS)
    macs = _macs(name)
    optimizer = make_optimizer("nsga2", space, SEED, population)
    baseline = toy_loss(space.decode(space.uniform()[0]), macs)
    for _ in range(generations):
        asked = optimizer.ask_generation(population)
        losses = [toy_loss(space.decode(candidate.genome), macs) for candidate in asked]
        optimizer.tell_generation(asked, np.array(losses) / baseline)
    asked = optimizer.ask_generation(population)
    return Generation(
        tuple(space.decode(candidate.genome) for candidate in asked),
        tuple(space.decode(genome) for genome in optimizer.survivors()),
    )


def toy_loss(steps: Steps, macs: Mapping[float, int]) -> tuple[float, float]:
    """Quality and cost of a schedule: errors by each move's length and its network's width.

    Errors matter most at low, not the lowest, noise, and are partly undone by later moves; 1 plus
    their square is like a Fréchet distance. A start below the noisiest timestep is free at first.
    """
    level = [1 - t / 1000 for t, _ in steps] + [1.0]  # 0 is the noisiest
    discretisation, capacity = 0.0, 3.0 * max(level[0] - 0.3, 0.0)
    for (_, width), (start, end) in zip(steps, pairwise(level), strict=True):
        length, weight = end - start, np.exp(-((0.75 - (start + end) / 2) ** 2) / 0.08)
        undone = np.exp(-2.0 * length)
        discretisation = undone * discretisation + 47.0 * weight * length**2
        capacity = undone * capacity + 2.8 * weight * length * CAPACITY_ERROR[width]
    return 1.0 + (discretisation + capacity) ** 2, sum(macs[width] for _, width in steps)


def ladder(
    subject: Subject,
    generation: Generation,
    case: Case,
    execution: Execution,
    cache: StateCache,
) -> dict[str, Rival]:
    """Scoring the offspring, from DDSM's way to ours; each gives their distances.

    The parents' states are computed here, before any clock starts: a search has them already.

    Args:
        subject: what to score with.
        generation: what to score.
        case: how many images.
        execution: of ours; its ways are taken from `layout` on.
        cache: filled with the parents' states; all rungs that keep them share it.
    """
    plain = replace(execution, ways={})
    subnets = _subnets(subject.supernet)
    sources = {
        "prefixes": _sliced(subject, plain),
        "parents": _sliced(subject, plain),
        "materialised": _source(subject, subnets, plain),
        "layout": _source(subject, subnets, execution),
    }
    sources["prefixes"].states = StateCache(limit_bytes=0)
    for rung in ("parents", "materialised", "layout"):
        sources[rung].states = cache
    images = range(case.images)
    for _ in sources["layout"].features(generation.parents, SEED, images):
        pass
    scorer = Scorer(sources["layout"], subject.reference, case.block_size, THREADS)
    return {
        DDSM: partial(one_by_one, subject, generation.offspring, case.images),
        **{
            f"+ {rung}": partial(_shared, source, generation, images, subject.reference)
            for rung, source in sources.items()
        },
        OURS: partial(_judged, scorer, generation, images),
    }


def one_by_one(subject: Subject, schedules: Sequence[Steps], num_images: int) -> list[float]:
    """DDSM's way: the distances of schedules, each sampled from noise of its own."""
    generator = torch.Generator().manual_seed(SEED)
    size = (num_images, *subject.shape)
    distances = []
    for steps in schedules:
        x_0 = sample_alone(subject, steps, lambda _: torch.randn(size, generator=generator))
        with torch.no_grad():
            features = subject.extractor.features(x_0).numpy()
        distances.append(fid(features, subject.reference))
    return distances


@torch.no_grad()
def sample_alone(subject: Subject, steps: Steps, draw: Callable[[int], Tensor]) -> Tensor:
    """x_0 of one schedule, by a supernet that is sliced in every call.

    Args:
        subject: whose supernet and sampler run.
        steps: of the schedule.
        draw: the noise of a stream (see `models.noise`), for all images.
    """
    x = draw(INIT)
    for (t, width), (s, _) in pairwise([*steps, (None, None)]):
        eps = subject.supernet(x, torch.full((len(x),), t), width)
        needed = subject.sampler.adds_noise and s is not None
        x = subject.sampler.move(x, eps, t, s, draw(t + 1) if needed else None)
    return x


def fid(features: np.ndarray, reference: Reference) -> float:
    """The distance of features (n, D) as pytorch-fid takes it."""
    x = features.astype(np.float64)
    mean, covariance = x.mean(axis=0), np.cov(x, rowvar=False)
    return calculate_frechet_distance(mean, covariance, reference.mean, reference.covariance)


def _shared(
    source: SupernetSource, generation: Generation, images: range, reference: Reference
) -> list[float]:
    source.keep(generation.parents)
    features = dict(source.features(generation.offspring, SEED, images))
    return [fid(features[index], reference) for index in range(len(features))]


def _judged(scorer: Scorer, generation: Generation, images: range) -> list[float]:
    scorer.keep(generation.parents)
    return [
        scorer.judge(blocks).full for blocks in scorer.score(generation.offspring, SEED, images)
    ]


def _execution(subject: Subject, case: Case) -> Execution:
    """Ours: at each width in the layout that is faster, as the plan of a run has it."""
    execution = Execution(case.images, THREADS, STATE_BYTES)
    layouts = [Way(memory_format=layout) for layout in ("contiguous", "channels_last")]
    source = _source(subject, _subnets(subject.supernet), execution)
    measured = source.measure(dict.fromkeys(source.subnets, layouts), case.images)
    return replace(execution, ways={w: ways.fastest(of_way) for w, of_way in measured.items()})


def _prefixes(schedules: Sequence[Steps]) -> set[Steps]:
    return {steps[:k] for steps in schedules for k in range(1, len(steps) + 1)}


def _source(
    subject: Subject, subnets: Mapping[float, nn.Module], execution: Execution
) -> SupernetSource:
    return SupernetSource(subnets, subject.sampler, subject.extractor, subject.shape, execution)


def _sliced(subject: Subject, execution: Execution) -> SupernetSource:
    """A source whose networks slice the supernet's weights in each call."""
    source, supernet = _source(subject, {}, execution), subject.supernet
    source.networks = {width: partial(supernet, width=width) for width in supernet.widths}
    return source


def _subnets(supernet: Supernet) -> dict[float, nn.Module]:
    return {width: supernet.subnet(width) for width in supernet.widths}


def _macs(name: str) -> dict[float, int]:
    subnets = _subnets(subjects.supernet(name))
    return {
        width: count_macs(deepcopy(net).to("meta"), subjects.shape(name))
        for width, net in subnets.items()
    }
