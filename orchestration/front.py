"""From scored candidates to the front that is reported.

The members are chosen, and the recommended one is fixed, on the search's numbers. Then the
baseline, the uniform schedules that are rivals at all and the members are scored again on noise
that the search did not see, and only these numbers are reported: the best of hundreds is partly
lucky, and its luck does not repeat.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from models.intervals import Replicates, estimate, paired
from orchestration.costs import Cost, unit_of
from orchestration.files import Json
from orchestration.journal import Record
from orchestration.members import FORMAT, Front, Member
from orchestration.search import Problem, Step, no_loss, relative
from search_spaces import pareto
from search_spaces.optimizers import REFERENCE_POINT


def choose_members(records: Sequence[Record], limit: int, cost: Cost) -> list[Record]:
    """The candidates that go on to be scored again, cheapest first.

    All of the search's front within the box, the recommended one among them; where there are more
    than `limit`, those whose loss would cost the front the most area.
    """
    points = relative(records, records[0], cost)
    inside = (points <= REFERENCE_POINT).all(axis=1)
    complete = np.flatnonzero([record.complete for record in records])
    front = [i for i in complete[pareto.non_dominated(points[complete])] if inside[i]]
    best = recommend(records, cost)
    worth = dict(zip(front, pareto.contributions(points[front], REFERENCE_POINT), strict=True))
    worth[best.index] = np.inf
    chosen = sorted(worth, key=lambda i: (-worth[i], i))[:limit]
    return sorted((records[i] for i in chosen), key=lambda r: (cost.of_record(r), r.quality))


def choose_rivals(records: Sequence[Record], problem: Problem) -> list[Sequence[Step]]:
    """The uniform schedules that are scored again, the baseline first.

    All but those that cost more than another one which the search found to be better beyond
    doubt: such schedules cost most of the time, and fresh noise would not make them rivals.
    """
    uniform = [problem.space.decode(genome) for genome in problem.space.uniform()]
    scored = [r for r in records if r.steps in set(uniform)]
    cost = problem.cost
    beaten = {b.steps for b in scored[1:] if any(_surely_beats(a, b, cost) for a in scored)}
    return [steps for steps in uniform if steps not in beaten]


def _surely_beats(a: Record, b: Record, cost: Cost) -> bool:
    """Whether a costs no more than b and is better by twice the error of their difference.

    Both differ from the baseline on the same noise; that their errors go together, and so their
    difference has less, is not counted on.
    """
    margin = 2 * math.hypot(a.delta_se, b.delta_se)
    return cost.of_record(a) <= cost.of_record(b) and a.delta + margin < b.delta


def recommend(records: Sequence[Record], cost: Cost) -> Record:
    """The cheapest candidate that the search believes to be no worse than the baseline."""
    return min(
        (r for r in records if no_loss(r)),
        key=lambda r: (cost.of_record(r), r.quality, r.index),
    )


def member(
    problem: Problem, steps: Sequence[tuple[int, float]], scores: Replicates, base: Replicates
) -> Member:
    """MEMBER of the front's format, but for `savings_uniform`, which needs the others."""
    schedule = problem.schedule(steps)
    cost, quality = problem.cost, estimate(scores)
    found: Member = {
        "key": schedule.key,
        "schedule": schedule.to_json(),
        "quality": quality.value,
        "quality_ci": list(quality.interval()),
        "delta_ci": list(paired(scores, base).interval()),
        "macs": schedule.macs(problem.macs),
        "savings": 1 - cost.of(schedule.steps) / cost.of(problem.chain.steps),
        "savings_uniform": None,
    }
    if cost.name == "latency":
        found["latency_predicted_ms"] = cost.of(schedule.steps)
    return found


def assemble(
    baseline: Member,
    uniform: Sequence[Member],
    members: Sequence[Member],
    recommended: str,
    facts: Mapping[str, Json],
) -> Front:
    """The content of `front.json`.

    Args:
        baseline: as scored again.
        uniform: as scored again, the baseline among them.
        members: as scored again; those that turn out to be dominated, by each other or by a
            uniform schedule, are left out, the recommended one never.
        recommended: key of the recommended member.
        facts: what else `Front` has.
    """
    cost_key = unit_of(facts).key
    points = np.array([_point(m, cost_key) for m in [*members, *uniform]])
    on_front = set(pareto.non_dominated(points).tolist())
    kept = [m for i, m in enumerate(members) if i in on_front or m["key"] == recommended]
    reference = np.array([baseline[cost_key], 2 * baseline["quality"]])
    ordered = sorted(kept, key=lambda m: _point(m, cost_key))
    return {
        "format": FORMAT,
        **facts,
        "baseline": baseline,
        "uniform": list(uniform),
        "members": [
            {**m, "savings_uniform": savings_uniform(m, uniform, cost_key)} for m in ordered
        ],
        "recommended": recommended,
        "hypervolume": pareto.hypervolume(
            np.array([_point(m, cost_key) for m in kept]), reference
        ),
        "hypervolume_uniform": pareto.hypervolume(
            np.array([_point(m, cost_key) for m in uniform]), reference
        ),
        "reference_point": reference.tolist(),
    }


def savings_uniform(
    member: Member, uniform: Sequence[Member], cost_key: str = "macs"
) -> float | None:
    """What is saved against the cheapest uniform schedule that is at least as good, if any is.

    A share of that schedule's cost, as `savings` is of the baseline's; `cost_key` is that of the
    unit of the costs.
    """
    rivals = [u[cost_key] for u in uniform if u["quality"] <= member["quality"]]
    return 1 - member[cost_key] / min(rivals) if rivals else None


def _point(member: Member, cost_key: str) -> tuple[float, float]:
    return member[cost_key], member["quality"]
