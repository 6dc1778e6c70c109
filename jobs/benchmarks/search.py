"""`search`: the hypervolume that optimizers reach at equal numbers of network calls.

Every optimizer searches the landscape of `landscape.py`, sees it with noise, and is charged for
network calls as stepwise's search is: prefixes shared within a generation and with its own parents
are made once, and a schedule scored before is free. What it scored is judged without the noise:
hypervolume below `REFERENCE_POINT`, the mean of as many seeds as there are repetitions.

`hypervolume_vs_best_rival`: of `nsga2` over the best rival's, all calls made. `calls_to_...` and
`time_to_best_rival`: the share of its calls, and of its time, at which `nsga2` has reached what
the best rival has in the end (inf: never). Time is the optimizer's own and SECONDS_PER_CALL.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jobs.benchmarks import landscape
from jobs.benchmarks.landscape import SPACE
from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.rival_optimizers import OURS, RIVALS, Rival
from jobs.benchmarks.side_by_side import Timing
from orchestration.files import Json
from search_spaces import pareto
from search_spaces.optimizers import REFERENCE_POINT
from search_spaces.prefixes import charge

# Network calls, each for a block of NUM_IMAGES: 1,000,000 calls x images, and four times as many.
NUM_IMAGES = 400
BUDGETS = {"": 2_500, "_long": 10_000}
# Assumed, of NUM_IMAGES images. The smallest network there is, the digits' at full width, takes
# about 0.2 s on one core: an optimizer's own time counts for more here than it ever will.
SECONDS_PER_CALL = 0.1
FRACTIONS = 200  # of the budget, where hypervolumes are taken
PATIENCE = 25  # generations without a network call, after which a search has converged


@dataclass(frozen=True)
class Trace:
    """What one search scored, in order.

    Args:
        points: (n, 2) losses without noise.
        calls: (n,) network calls when each had been scored.
        own_s: (n,) seconds that the optimizer itself had taken by then.
    """

    points: np.ndarray
    calls: np.ndarray
    own_s: np.ndarray

    def within(self, calls: int) -> "Trace":
        """What a search with a smaller budget had scored: its beginning."""
        end = np.searchsorted(self.calls, calls, side="right")
        return Trace(self.points[:end], self.calls[:end], self.own_s[:end])

    def hypervolumes(self, calls: np.ndarray) -> np.ndarray:
        """(k,): of what was scored within each of `calls` (k,), rising."""
        volumes, front, done = [], self.points[:0], 0
        for end in np.searchsorted(self.calls, calls, side="right"):
            front = np.concatenate([front, self.points[done:end]])
            front, done = front[pareto.non_dominated(front)], end
            volumes.append(pareto.hypervolume(front, REFERENCE_POINT))
        return np.array(volumes)

    def seconds(self, calls: np.ndarray) -> np.ndarray:
        """(k,): the optimizer's own, and the network's for what was scored within `calls` (k,)."""
        ends = np.searchsorted(self.calls, calls, side="right")
        spent = np.append(0.0, self.own_s + SECONDS_PER_CALL * self.calls)
        return spent[ends]


def run(repetitions: int, say: Say) -> Report:
    """Searches with as many seeds as repetitions."""
    traces = {name: [] for name in (*OURS, *RIVALS)}
    for seed in range(repetitions):
        say(f"seed {seed}: {len(traces)} rivals")
        for name, make in (OURS | RIVALS).items():
            traces[name].append(search(make(SPACE, seed), seed, max(BUDGETS.values())))
    rows, figures, notes = [], {}, _settings(repetitions)
    for suffix, budget in BUDGETS.items():
        within = {name: [trace.within(budget) for trace in ts] for name, ts in traces.items()}
        found, curves = compare(within, budget)
        figures |= {f"{name}{suffix}": value for name, value in found.items()}
        notes[f"budget_{budget}"] = curves
        for name, searches in within.items():
            own = Timing(tuple(float(trace.own_s[-1]) for trace in searches))
            rows.append(Row(f"own time, {budget} calls", name, own))
    return Report("search", figures, rows, notes)


def search(rival: Rival, seed: int, budget: int) -> Trace:
    """Asks and tells until the calls are made, or none are asked for any more."""
    known: dict[bytes, np.ndarray] = {}
    points, calls, own_s, idle, clock_s = [], [0], [], 0, 0.0
    while calls[-1] < budget and idle < PATIENCE:
        kept, start = rival.kept(), time.perf_counter()
        asked = rival.ask()
        clock_s += time.perf_counter() - start
        if not len(asked):
            break
        new = {g.tobytes(): g for g in asked if g.tobytes() not in known}
        true = landscape.losses(new.values())
        known |= dict(zip(new, landscape.observe(new.values(), true, seed), strict=True))
        points += list(true)
        calls += (calls[-1] + np.cumsum(charges(new.values(), kept))).astype(int).tolist()
        own_s += [clock_s] * len(new)
        idle = 0 if new else idle + 1
        losses, start = np.array([known[g.tobytes()] for g in asked]), time.perf_counter()
        rival.tell(losses)
        clock_s += time.perf_counter() - start
    return Trace(np.array(points), np.array(calls[1:]), np.array(own_s))


def charges(genomes: Sequence[np.ndarray], kept: Sequence[np.ndarray]) -> list[int]:
    """Network calls that each genome adds to kept ones and to those before it."""
    return charge(*([SPACE.decode(genome) for genome in some] for some in (genomes, kept)))


def compare(
    traces: Mapping[str, Sequence[Trace]], budget: int
) -> tuple[dict[str, float], dict[str, Json]]:
    """Figures of one budget, and the curves behind them."""
    calls = np.linspace(0, budget, FRACTIONS + 1)[1:]
    volumes = {n: np.mean([t.hypervolumes(calls) for t in ts], axis=0) for n, ts in traces.items()}
    seconds = {n: np.mean([t.seconds(calls) for t in ts], axis=0) for n, ts in traces.items()}
    best = max(RIVALS, key=lambda name: volumes[name][-1])
    reached = np.flatnonzero(volumes["nsga2"] >= volumes[best][-1])
    figures = {
        "hypervolume_vs_best_rival": volumes["nsga2"][-1] / volumes[best][-1],
        "calls_to_best_rival": calls[reached[0]] / budget if len(reached) else np.inf,
        "time_to_best_rival": seconds["nsga2"][reached[0]] / seconds[best][-1]
        if len(reached)
        else np.inf,
    }
    figures |= {f"{n}_vs_uniform": v[-1] / volumes["uniform"][-1] for n, v in volumes.items()}
    tenths = slice(FRACTIONS // 10 - 1, None, FRACTIONS // 10)
    notes = {
        "best_rival": best,
        "calls": calls[tenths].tolist(),
        "hypervolumes": {n: v[tenths].round(5).tolist() for n, v in volumes.items()},
        "seconds": {n: s[tenths].round(2).tolist() for n, s in seconds.items()},
        "final_by_seed": {
            n: [round(float(t.hypervolumes(calls[-1:])[0]), 5) for t in ts]
            for n, ts in traces.items()
        },
        "candidates": {n: float(np.mean([len(t.calls) for t in ts])) for n, ts in traces.items()},
        "own_seconds_per_candidate": {
            n: float(np.mean([t.own_s[-1] / len(t.calls) for t in ts])) for n, ts in traces.items()
        },
    }
    return {name: float(value) for name, value in figures.items()}, notes


def _settings(repetitions: int) -> dict[str, Json]:
    return {
        "seeds": repetitions,
        "images_per_call": NUM_IMAGES,
        "seconds_per_call": SECONDS_PER_CALL,
        "standard_error": landscape.STANDARD_ERROR,
        "reference_point": REFERENCE_POINT.tolist(),
    }
