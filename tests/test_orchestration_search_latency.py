"""A search for latency, on the stub: everything that compares schedules goes by it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from stub_search import LATENCY, InProcessPool, generations, records_of, stub_problem

from orchestration.costs import Cost
from orchestration.front import assemble, choose_members, choose_rivals, member, recommend
from orchestration.search import relative, search
from orchestration.stub import MACS
from search_spaces import pareto
from search_spaces.optimizers import REFERENCE_POINT, Candidate

OPTIMIZERS = ("nsga2", "random")
MACS_COST = Cost("macs", {})


class AllAtOnce:
    """An optimizer that asks for the schedules of a list, and remembers what it is told."""

    def __init__(self, genomes):
        self.candidates = [Candidate(genome, None) for genome in genomes]
        self.losses = None

    def ask_generation(self, size):
        return self.candidates

    def tell_generation(self, candidates, losses):
        self.losses = losses

    def survivors(self):
        return np.zeros((0, 1), dtype=np.int64)


def test_a_search_that_knows_no_latency_cannot_go_by_it():
    problem = stub_problem(budget=1, cost="latency")
    with pytest.raises(ValueError, match=r"search\.cost is latency"):
        replace(problem, latency=None)


def latency_of(steps):
    return 0.25 + sum(0.5 + 0.5 * width for _, width in steps)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_search_for_latency_goes_by_it_alone(optimizer):
    problem = stub_problem(budget=60, cost="latency", optimizer=optimizer)
    found = list(generations(problem, InProcessPool()))
    records = records_of(found)
    base = records[0]
    points = np.array([(r.quality / base.quality, latency_of(r.steps) / 8.25) for r in records])
    assert relative(records, base, problem.cost) == pytest.approx(points, abs=1e-12)
    assert found[-1].hypervolume == pytest.approx(pareto.hypervolume(points, REFERENCE_POINT))
    lossless = [1 - latency_of(r.steps) / 8.25 for r in records if r.delta <= 0]
    assert found[-1].best_savings == pytest.approx(max(lossless))
    # by MACs, which the journal keeps, all of that is something else
    assert [r.macs for r in records] == [sum(MACS * w**2 for _, w in r.steps) for r in records]
    by_macs = pareto.hypervolume(relative(records, base, MACS_COST), REFERENCE_POINT)
    assert abs(found[-1].hypervolume - by_macs) > 0.01


def test_where_latency_orders_schedules_otherwise_the_front_follows_it():
    """The whole of a small space: two narrow steps have an eighth of a wide one's MACs."""
    problem = stub_problem(steps=4, budget=300, cost="latency")
    genomes = [np.array(genes) for genes in product(range(4), repeat=4) if any(genes)]
    baseline_first = sorted(genomes, key=lambda genome: -genome.sum())
    optimizer = AllAtOnce(baseline_first)
    generation = next(search(problem, optimizer, InProcessPool(), (), lambda: 0.0))
    records = generation.records
    assert len(records) == 255 and records[0].steps == problem.chain.steps

    def front_by(cost_of):
        return {
            a.key for a in records
            if a.quality <= 2 * records[0].quality and not any(
                b.quality <= a.quality and cost_of(b) <= cost_of(a)
                and (b.quality < a.quality or cost_of(b) < cost_of(a)) for b in records
            )
        }  # fmt: skip

    expected = front_by(lambda r: round(latency_of(r.steps), 9))
    assert {r.key for r in choose_members(records, 255, LATENCY)} == expected
    assert expected != front_by(lambda r: r.macs)
    lossless = [r for r in records if r.delta <= 0]
    assert recommend(records, LATENCY) == min(
        lossless, key=lambda r: (round(latency_of(r.steps), 9), r.quality)
    )
    costs = [latency_of(r.steps) / 4.25 for r in records]
    assert optimizer.losses[:, 1] == pytest.approx(costs)


def test_members_rivals_and_savings_go_by_latency():
    problem = stub_problem(budget=60, cost="latency")
    records, pool = records_of(list(generations(problem, InProcessPool()))), InProcessPool()
    uniform = choose_rivals(records, problem)
    kinds = {problem.space.decode(genome) for genome in problem.space.uniform()}
    scored = [(r, latency_of(r.steps)) for r in records if r.steps in kinds]
    assert uniform[0] == problem.chain.steps and set(uniform[1:]) == {
        b.steps for b, ms in scored[1:]
        if not any(
            a.delta + 2 * np.hypot(a.delta_se, b.delta_se) < b.delta and other <= ms + 1e-9
            for a, other in scored
        )
    }  # fmt: skip
    assert set(uniform) != set(choose_rivals(records, stub_problem(budget=60)))
    schedules = [*uniform, *(r.steps for r in choose_members(records, 9, LATENCY))]
    scores = pool.distances(schedules, 9, 40)
    scored = [member(problem, s, d, scores[0]) for s, d in zip(schedules, scores, strict=True)]
    rivals, members = scored[: len(uniform)], scored[len(uniform) :]
    key = recommend(records, LATENCY).key
    found = assemble(scored[0], rivals, members, key, {"cost": "latency"})
    assert found["cost"] == "latency"
    assert found["reference_point"] == [8.25, 2 * scored[0]["quality"]]
    points = []
    for m, steps in zip(scored, schedules, strict=True):
        ms = latency_of(steps)
        assert m["latency_predicted_ms"] == pytest.approx(ms)
        assert m["savings"] == pytest.approx(1 - ms / 8.25)
        assert m["macs"] == sum(MACS * width**2 for _, width in steps)
        points.append((ms, m["quality"]))
    reference = np.array(found["reference_point"])
    assert found["hypervolume"] == pytest.approx(
        pareto.hypervolume(np.array(points[len(uniform) :]), reference)
    )
    assert found["hypervolume_uniform"] == pytest.approx(
        pareto.hypervolume(np.array(points[: len(uniform)]), reference)
    )
    costs = [m["latency_predicted_ms"] for m in found["members"]]
    assert costs == sorted(costs)
    for m in found["members"]:
        as_good = [ms for ms, quality in points[: len(uniform)] if quality <= m["quality"]]
        expected = 1 - m["latency_predicted_ms"] / min(as_good) if as_good else None
        assert m["savings_uniform"] == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_cost_in_macs_is_the_schedules_own(guidance):
    problem = stub_problem(budget=1)
    guided = replace(problem, chain=replace(problem.chain, guidance=guidance))
    for genome in problem.space.uniform():
        steps = problem.space.decode(genome)
        assert guided.cost.of(steps) == guided.schedule(steps).macs(problem.macs)
