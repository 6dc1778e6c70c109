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
    precision     bfloat16 likewise, on machines with units for it
    compilation   `score.compile: auto`: compiled likewise; what compiling takes is not counted
    features      moments of blocks and the jackknife, which also gives the error bar

A rung that changes nothing, such as precision on a machine without units, is left out. Rivals run
in turn, a candidate at a time, so that a machine that slows down slows all of them.

Both sample by the same moves (DDIM, eta = 0), as many images a call. Slicing goes
through `Supernet.forward`; slicing by hand in each layer would cost less, so `materialised` is an
upper bound. Quality in the evolution is a closed form, and only decides which genomes there are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from jobs.benchmarks import subjects
from jobs.benchmarks.frechet import fid
from jobs.benchmarks.offspring import Generation, Steps, evolve
from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.side_by_side import piece_by_piece, ratio
from models.cost import macs_by_width
from models.diffusion import alphas_cumprod, linear_betas
from models.features import Classifier
from models.frechet import Reference
from models.moments import moments
from models.sampling import Sampler
from models.states import StateCache
from models.supernet import Supernet
from orchestration import ways
from orchestration.execution import Execution
from orchestration.machine import has_bfloat16
from orchestration.scorer import Scorer
from orchestration.search_sections import Score
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way

POPULATION, GENERATIONS, SEED = 32, 8, 0
THREADS = 1  # of both, as a scoring actor has
STATE_BYTES = 2**29  # the default of `score.state_bytes`
DDSM, OURS = "DDSM's way", "stepwise"
RUNS = ("materialised", "layout", "precision", "compilation")
"""Parts that change how a subnet runs."""

Scored = Iterator[tuple[int, float]]
"""(index of a candidate, its distance), in any order."""


@dataclass(frozen=True)
class Case:
    """How much of a network is run.

    Attributes:
        images: of each candidate, in one batch.
        block_size: images a block of the jackknife.
        grid_steps: S.
        max_repetitions: of each timing, whatever the command asks for.
        ladder: whether each part is measured, or only the whole, without compiling anything.
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
    "digits": Case(50, 10, 50, 5, True),
    "fashion-mnist": Case(4, 2, 50, 5, True),
    "cifar10": Case(4, 1, 50, 2, False),
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
        say(f"{name}: an evolved population, and how its subnets run")
        measured = subject(name)
        generation = evolve(case.grid_steps, POPULATION, GENERATIONS, SEED)
        chosen, cache = chosen_ways(measured, case), StateCache(STATE_BYTES)
        rivals = ladder(measured, generation, case, chosen, cache)
        rounds = min(repetitions, case.max_repetitions)
        say(f"{name}: {len(rivals)} ways to score the offspring, {rounds} rounds")
        timings = piece_by_piece(rivals, rounds)
        figures[f"speedup_{name}"] = ratio(timings, DDSM, OURS)
        say(f"{name}: {figures[f'speedup_{name}']:.2f} times as fast")
        if case.ladder:
            for without, with_it in pairwise(rivals):
                part = "features" if with_it == OURS else with_it.removeprefix("+ ")
                figures[f"part_{part}_{name}"] = ratio(timings, without, with_it)
        rows += [Row(name, rung, timing) for rung, timing in timings.items()]
        notes[name] = {
            **asdict(case),
            "ways": ways.to_json(chosen[RUNS[-1]]),
            "calls": generation.calls(),
            "macs_per_image": generation.macs(
                macs_by_width(_subnets(measured.supernet), measured.shape)
            ),
            "parents_state_bytes_per_image": cache.bytes // case.images,
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


def chosen_ways(subject: Subject, case: Case) -> dict[str, dict[float, Way]]:
    """How each width runs on each rung of RUNS: the fastest there, as the plan of a run has it."""
    execution = Execution(case.images, THREADS, STATE_BYTES)
    source = _source(subject, _subnets(subject.supernet), execution)
    tried, found = [Way()], {"materialised": dict.fromkeys(source.subnets, Way())}
    more = {
        "layout": [Way(memory_format="channels_last")],
        "precision": [way for way in ways.eager_ways(Score(dtype="auto"), has_bfloat16())
                      if way.dtype == "bfloat16"],
        "compilation": [Way(True, memory_format="channels_last")] if case.ladder else [],
    }  # fmt: skip
    fastest = found["materialised"]
    for rung, others in more.items():
        if others:  # else to measure again could only change what noise decides
            tried += others
            measured = source.measure(dict.fromkeys(source.subnets, tried), case.images)
            fastest = {width: ways.fastest(of_way) for width, of_way in measured.items()}
        found[rung] = fastest
    return found


def ladder(
    subject: Subject,
    generation: Generation,
    case: Case,
    chosen: Mapping[str, Mapping[float, Way]],
    cache: StateCache,
) -> dict[str, Callable[[], Scored]]:
    """Scoring the offspring, from DDSM's way to ours.

    The parents' states are computed here, before any clock starts: a search has them already.

    Args:
        subject: what to score with.
        generation: what to score.
        case: how many images, and whether the rungs between are there.
        chosen: how subnets run, for each of RUNS.
        cache: takes the parents' states; each rung has a copy of its own.
    """
    images, subnets = range(case.images), _subnets(subject.supernet)
    fill = _source(subject, subnets, _execution(case, chosen[RUNS[-1]]))
    fill.states = cache
    for _ in fill.features(generation.parents, SEED, images):
        pass
    sources = {
        "prefixes": _sliced(subject, _execution(case, {})),
        "parents": _sliced(subject, _execution(case, {})),
    }
    for before, rung in pairwise((None, *RUNS)):
        if before is None or chosen[rung] != chosen[before]:
            sources[rung] = _source(subject, subnets, _execution(case, chosen[rung]))
    sources["prefixes"].states = StateCache(limit_bytes=0)
    last = _source(subject, subnets, fill.execution)
    for source in (*list(sources.values())[1:], last):
        source.states = deepcopy(cache)
    x, t = torch.zeros(case.images, *subject.shape), torch.zeros(case.images, dtype=torch.int64)
    with torch.inference_mode():  # what is compiled is compiled now
        for source in (*sources.values(), last):
            for network in source.networks.values():
                network(x, t)
    scorer = Scorer(last, subject.reference, case.block_size, THREADS)
    rungs = {
        DDSM: partial(one_by_one, subject, generation.offspring, case.images),
        **{
            f"+ {rung}": partial(_shared, source, generation, images, subject.reference)
            for rung, source in sources.items()
        },
        OURS: partial(_judged, scorer, generation, images),
    }
    return rungs if case.ladder else {rung: rungs[rung] for rung in (DDSM, OURS)}


def one_by_one(subject: Subject, schedules: Sequence[Steps], num_images: int) -> Scored:
    """DDSM's way: the distances of schedules, each sampled from noise of its own."""
    generator = torch.Generator().manual_seed(SEED)
    size = (num_images, *subject.shape)
    for index, steps in enumerate(schedules):
        x_0 = sample_alone(subject, steps, lambda *_: torch.randn(size, generator=generator))
        with torch.no_grad():
            features = subject.extractor.features(x_0).numpy()
        yield index, fid(features, subject.reference)


@torch.no_grad()
def sample_alone(
    subject: Subject, steps: Steps, draw: Callable[[int | None, int], Tensor]
) -> Tensor:
    """x_0 of one schedule, by a supernet that is sliced in every call.

    Args:
        subject: whose supernet and sampler run.
        steps: of the schedule.
        draw: the noise of a move from t to s, or with None for t that of a start at s, for all
            images.
    """
    x = draw(None, steps[0][0])
    for (t, width), (s, _) in pairwise([*steps, (None, None)]):
        eps = subject.supernet(x, torch.full((len(x),), t), width)
        needed = subject.sampler.adds_noise and s is not None
        x = subject.sampler.move(x, eps, t, s, draw(t, s) if needed else None)
    return x


def _shared(
    source: SupernetSource, generation: Generation, images: range, reference: Reference
) -> Scored:
    source.keep(generation.parents)
    for index, features in source.features(generation.offspring, SEED, images):
        yield index, fid(features, reference)


def _judged(scorer: Scorer, generation: Generation, images: range) -> Scored:
    scorer.keep(generation.parents)
    for index, blocks in scorer.blocks(generation.offspring, SEED, images):
        yield index, scorer.judge(blocks).full


def _execution(case: Case, of_width: Mapping[float, Way]) -> Execution:
    return Execution(case.images, THREADS, STATE_BYTES, of_width)


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
