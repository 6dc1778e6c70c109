"""`scale`: what orchestration costs where sampling costs nothing, or where 64 actors do it.

A whole search (Tune trial, optimizer, pool, journal on disk) on actors that sleep. Nothing else
is replaced. NUM_THREADS simulated actors share a process, since this is about one driver and not
about the memory of one machine.

`candidates_per_s`: committed to the journal by `random`, in generations of 256, when scoring takes
no time. `efficiency_64`: the time that 64 actors sleep, over what a generation of 32 candidates
takes from one commit to the next, where a block (one candidate's samples of one batch) takes 100
ms and each actor has one batch of each candidate.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import ray
from ray.actor import ActorHandle

from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.side_by_side import Timing
from jobs.benchmarks.sleeping_actor import SleepingActor
from orchestration import chains, setting
from orchestration import config as configs
from orchestration.cluster import cluster
from orchestration.journal import Journal
from orchestration.pool import Pool
from orchestration.search import Generation, Problem
from orchestration.trial import run_search

NUM_THREADS = 8
BLOCK_S = 0.1
BATCH_SIZE = 250


@dataclass(frozen=True)
class Case:
    """A search to time.

    Attributes:
        optimizer: its name.
        num_actors: simulated; a candidate has a batch for each of them.
        seconds_per_block: see `SleepingActor`.
        population: candidates a generation.
    """

    optimizer: str
    num_actors: int
    seconds_per_block: float
    population: int


CASES = {
    "candidates_per_s": Case("random", 1, 0.0, 256),
    "candidates_per_s_nsga2": Case("nsga2", 1, 0.0, 16),
    "efficiency_64": Case("random", 64, BLOCK_S, 32),
    "efficiency_64_nsga2": Case("nsga2", 64, BLOCK_S, 32),
}


def run(repetitions: int, say: Say) -> Report:
    """Times `repetitions` generations of each case, after the first one."""
    figures, rows = {}, []
    with cluster(configs.load(None, ["search.budget=1"])), TemporaryDirectory() as folder:
        for name, case in CASES.items():
            size = f"{case.num_actors} actors, {case.population} candidates"
            say(f"{size}, {case.optimizer}: {repetitions + 1} generations")
            timing = generations_s(case, repetitions, Path(folder) / f"{name}.jsonl")
            if case.seconds_per_block:
                figures[name] = case.population * case.seconds_per_block / timing.median
            else:
                figures[name] = case.population / timing.median
            rows.append(Row(size, case.optimizer, timing))
    return Report("scale", figures, rows, {"block_s": BLOCK_S, "threads": NUM_THREADS})


def generations_s(case: Case, repetitions: int, path: Path) -> Timing:
    """Seconds from the commit of each generation to that of the next."""
    config = configs.load(
        None,
        [
            "score.scorer=stub",
            f"score.batch_size={BATCH_SIZE}",
            f"search.num_images={max(2, case.num_actors) * BATCH_SIZE}",
            f"search.optimizer={case.optimizer}",
            f"search.population={case.population}",
            f"search.budget={(1 + repetitions) * case.population}",
        ],
    )
    chosen = setting.stub_setting(config)
    problem = Problem(
        chains.baseline(config), chains.space(config), chosen.macs, config.search
    )
    actors = _actors(case)
    # the same process several times: each time another actor, to the pool
    pool = Pool([actors[i % len(actors)] for i in range(case.num_actors)], BATCH_SIZE, ray.put(0))
    committed: list[float] = []

    def note(generation: Generation) -> None:
        committed.append(time.perf_counter())

    try:
        run_search(problem, pool, Journal(path, "scale"), note)
    finally:
        for actor in actors:
            ray.kill(actor)
    pairs = zip(committed, committed[1:], strict=False)
    return Timing(tuple(after - before for before, after in pairs))


def _actors(case: Case) -> list[ActorHandle]:
    """Processes enough, each up and running."""
    remote = ray.remote(num_cpus=0, max_concurrency=NUM_THREADS)(SleepingActor)
    count = -(-case.num_actors // NUM_THREADS)
    actors = [remote.remote(case.seconds_per_block) for _ in range(count)]
    ray.get([actor.call.remote(None, "keep") for actor in actors])
    return actors
