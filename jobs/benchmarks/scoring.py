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
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from jobs.benchmarks import subjects
from jobs.benchmarks.frechet import fid
from jobs.benchmarks.offspring import Generation, Steps, evolve
from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.side_by_side import ratio, side_by_side
from models.cost import macs_by_width
from models.diffusion import alphas_cumprod, linear_betas
from models.features import Classifier
from models.frechet import Reference
from models.moments import moments
from models.noise import INIT
from models.population import StateCache
from models.sampling import Sampler
from models.supernet import Supernet
from orchestration import ways
from orchestration.execution import Execution
from orchestration.scorer import Scorer
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way

POPULATION, GENERATIONS, SEED = 32, 8, 0
THREADS = 1  # of both, as a scoring actor has
STATE_BYTES = 2**29  # the default of `score.state_bytes`
DDSM, OURS = "DDSM's way", "stepwise"
PARTS = ("prefixes", "parents", "materialised", "layout", "features")

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

    def __post_init__(self) -> None:
        if self.images - self.block_size < 2:
            raise ValueError("the jackknife needs two images beside each block")


CASES = {
    "digits": Case(100, 20, 50, 3, True),
    "fashion-mnist": Case(4, 2, 50, 2, True),
    "cifar10": Case(4, 1, 50, 1, False),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """What both ways score with."""

    supernet: Supernet
    sampler: Sampler
    extractor: Classifier
    reference: Reference
    shape: tuple[int, int, int]


def run(repetitions: int, say: Say) -> Report:
    """Measures on THREADS threads."""
    torch.set_num_threads(THREADS)
    figures, rows, notes = {}, [], {"threads": THREADS, "generation": GENERATIONS + 1}
    for name, case in CASES.items():
        say(f"{name}: an evolved population, its layouts and the states of its parents")
        measured = subject(name)
        generation = evolve(case.grid_steps, POPULATION, GENERATIONS, SEED)
        execution, cache = _execution(measured, case), StateCache(STATE_BYTES)
        rivals = ladder(measured, generation, case, execution, cache)
        if not case.ladder:
            rivals = {rung: rivals[rung] for rung in (DDSM, OURS)}
        state_bytes = cache.bytes
        # Measuring the layouts and making the parents' states was warm-up enough
        rounds = min(repetitions, case.max_repetitions)
        say(f"{name}: {len(rivals)} ways to score the offspring, {rounds} rounds")
        timings = side_by_side(rivals, rounds, warm_up=False)
        figures[f"speedup_{name}"] = ratio(timings, DDSM, OURS)
        say(f"{name}: {figures[f'speedup_{name}']:.2f} times as fast")
        if case.ladder:
            for part, (without, with_it) in zip(PARTS, pairwise(rivals), strict=True):
                figures[f"part_{part}_{name}"] = ratio(timings, without, with_it)
        rows += [Row(name, rung, timing) for rung, timing in timings.items()]
        notes[name] = {
            **asdict(case),
            "layouts": {f"{w:g}": way.memory_format for w, way in execution.ways.items()},
            "calls": generation.calls(),
            "macs_per_image": generation.macs(
                macs_by_width(_subnets(measured.supernet), measured.shape)
            ),
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
