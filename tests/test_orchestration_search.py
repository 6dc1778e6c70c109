import hashlib
import json
from dataclasses import asdict, replace
from itertools import count

import numpy as np
import pytest
from stub_search import BLOCK_SIZE, InProcessPool, generations, records_of, stub_problem

from models.intervals import estimate, jackknife, paired
from orchestration.costs import Cost
from orchestration.journal import Record
from orchestration.search import no_loss, relative, search
from orchestration.stub import MACS
from search_spaces import pareto
from search_spaces.optimizers import OPTIMIZERS, REFERENCE_POINT, Candidate, make_optimizer
from search_spaces.prefixes import charge, count_calls
from search_spaces.spaces import SPACES

CHOICES = [(optimizer, space) for space in SPACES for optimizer in OPTIMIZERS]
MACS_COST = Cost("macs", {})


def record(quality=1.0, macs=100, delta=0.0, delta_se=0.0, index=0):
    return Record(
        index=index, generation=0, key="", steps=((0, 1.0),), quality=quality, quality_se=0.1,
        delta=delta, delta_se=delta_se, macs=macs, calls=1,
    )  # fmt: skip


def random_schedules(rng, number):
    grid = (900, 600, 300, 0)
    schedules = []
    while len(schedules) < number:
        widths = rng.choice([0.0, 0.5, 1.0], len(grid))
        steps = tuple((t, w) for t, w in zip(grid, widths.tolist(), strict=True) if w)
        schedules += [steps] if steps else []
    return schedules


def test_each_schedule_is_charged_what_it_adds_to_those_before_it():
    rng = np.random.default_rng(0)
    for _ in range(100):
        schedules = random_schedules(rng, rng.integers(1, 9))
        kept = random_schedules(rng, rng.integers(0, 5))
        totals = [count_calls(schedules[:i], kept) for i in range(len(schedules) + 1)]
        assert charge(schedules, kept) == np.diff(totals).tolist()


@pytest.mark.parametrize(("delta", "expected"), [(-1e-9, True), (0.0, True), (1e-9, False)])
def test_no_loss_is_believed_where_the_paired_difference_is_not_above_zero(delta, expected):
    assert no_loss(record(delta=delta, delta_se=1.0)) is expected


def test_relative_values_have_the_baseline_at_one():
    records = [record(4.0, 200), record(6.0, 50), record(2.0, 300)]
    assert relative(records, records[0], MACS_COST).tolist() == [[1, 1], [1.5, 0.25], [0.5, 1.5]]
    assert relative([], records[0], MACS_COST).shape == (0, 2)


@pytest.mark.parametrize(("optimizer", "space"), CHOICES)
def test_the_first_candidate_is_the_baseline_and_none_comes_twice(optimizer, space):
    problem = stub_problem(budget=60, optimizer=optimizer, space=space)
    records = records_of(list(generations(problem, InProcessPool())))
    assert records[0].steps == problem.chain.steps
    assert problem.uniform_keys <= {r.key for r in records[: len(problem.uniform_keys)]}
    assert (records[0].delta, records[0].delta_se) == (0, 0)
    assert len({r.steps for r in records}) == len({r.key for r in records}) == 60


def test_records_are_in_ask_order_and_say_what_the_pool_found():
    problem, pool = stub_problem(budget=30), InProcessPool()
    found = list(generations(problem, pool))
    records = records_of(found)
    assert [r.index for r in records] == list(range(30))
    assert [r.generation for r in records] == [i // 8 for i in range(30)]
    assert [r.steps for r in records] == sum((schedules for schedules, _, _ in pool.asked), [])
    assert {asked[1:] for asked in pool.asked} == {(3, 20)}  # the noise seed, the images
    base = replicates(pool, problem.chain.steps)
    for r in records:
        schedule = problem.schedule(r.steps)
        scores = replicates(pool, r.steps)
        assert (r.key, r.macs) == (schedule.key, sum(MACS * w**2 for _, w in r.steps))
        assert (r.quality, r.quality_se) == (estimate(scores).value, estimate(scores).se)
        assert (r.delta, r.delta_se) == (paired(scores, base).value, paired(scores, base).se)


def replicates(pool, steps):
    ((_, features),) = pool.scorer.source.features([steps], 3, range(20))
    return jackknife(np.split(features, 20 // BLOCK_SIZE), pool.scorer.reference)


def test_a_schedule_keeps_its_problems_chain():
    problem = stub_problem(budget=1)
    schedule = problem.schedule([(500, 0.5)])
    assert schedule.steps == ((500, 0.5),)
    assert schedule.to_json() == {
        **problem.chain.to_json(),
        "steps": [{"t": 500, "width": 0.5}],
    }


def test_each_generation_says_where_the_search_stands():
    problem = stub_problem(budget=60)
    found = list(generations(problem, InProcessPool()))
    uniform = {problem.space.decode(genome) for genome in problem.space.uniform()}
    for g, generation in enumerate(found):
        scored = records_of(found[: g + 1])
        points = np.array([(r.quality / scored[0].quality, r.macs / scored[0].macs)
                           for r in scored])  # fmt: skip
        is_uniform = [r.steps in uniform for r in scored]
        assert generation.num_scored == len(scored)
        assert generation.calls == sum(r.calls for r in scored)
        assert generation.calls_alone == 20 * sum(len(r.steps) for r in scored)
        assert generation.hypervolume == pareto.hypervolume(points, REFERENCE_POINT)
        assert generation.hypervolume_uniform == pareto.hypervolume(
            points[is_uniform], REFERENCE_POINT
        )
        lossless = [r for r in scored if r.delta <= 0]
        assert generation.best_savings == max(1 - r.macs / scored[0].macs for r in lossless)
    assert found[-1].hypervolume > found[-1].hypervolume_uniform > 0
    assert 0 < found[-1].calls < found[-1].calls_alone


def test_survivors_states_are_kept_and_their_calls_are_not_charged():
    problem, pool = stub_problem(budget=40), InProcessPool()
    found = list(generations(problem, pool))
    settings = problem.settings
    optimizer = make_optimizer("nsga2", problem.space, settings.seed, settings.population)
    for g, generation in enumerate(found):
        kept = [problem.space.decode(genome) for genome in optimizer.survivors()]
        assert len(kept) == (settings.population if g else 0)
        assert pool.kept[g] == kept
        asked = optimizer.ask_generation(settings.population)
        points = relative(records_of(found), found[0].records[0], MACS_COST)
        optimizer.tell_generation(asked, points[[r.index for r in generation.records]])
        new = [r.steps for r in generation.records]
        assert [r.calls for r in generation.records] == [20 * c for c in charge(new, kept)]


@pytest.mark.parametrize(
    ("optimizer", "expected"), [("nsga2", "139477039e44"), ("random", "02a3bb0025dc")]
)
def test_the_candidates_of_a_seed_stay_what_they_were(optimizer, expected):
    """A change of them would change what finished runs' configurations ask for."""
    problem = stub_problem(steps=20, budget=96, optimizer=optimizer, seed=5)
    keys = [r.key for r in records_of(list(generations(problem, InProcessPool())))]
    assert hashlib.sha256(" ".join(keys).encode()).hexdigest()[:12] == expected


@pytest.mark.parametrize(("optimizer", "space"), CHOICES)
def test_resumed_records_are_the_same_to_the_byte(optimizer, space):
    """Through JSON, as the journal keeps them; cut in the warm start and among the children."""
    problem = stub_problem(budget=40, optimizer=optimizer, space=space, segments=3)
    records = records_of(list(generations(problem, InProcessPool())))
    lines = [json.dumps(asdict(record)) for record in records]
    for k in (13, 36):
        kept = [Record(**json.loads(line)) for line in lines[:k]]
        kept = [replace(r, steps=tuple((t, w) for t, w in r.steps)) for r in kept]
        again = records_of(list(generations(problem, InProcessPool(), kept)))
        assert [json.dumps(asdict(record)) for record in again] == lines


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_search_goes_on_from_any_number_of_its_records_as_if_nothing_had_happened(optimizer):
    problem = stub_problem(budget=44, optimizer=optimizer)
    whole = list(generations(problem, InProcessPool()))
    records = records_of(whole)
    for k in (0, 1, 7, 8, 9, 15, 23, 30, 43, 44):
        pool = InProcessPool()
        assert list(generations(problem, pool, records[:k])) == whole
        again = sum((schedules for schedules, _, _ in pool.asked), [])
        expected = [r.steps for r in records[k:]]
        if 0 < k < len(records):  # all but the baseline's replicates are in the records
            generation = len(records_of(whole[: records[k].generation + 1]))
            expected.insert(generation - k, problem.chain.steps)
        assert again == expected


def test_the_records_of_another_search_are_refused():
    problem = stub_problem(budget=16)
    records = records_of(list(generations(problem, InProcessPool())))
    other = stub_problem(budget=16, steps=9)
    with pytest.raises(ValueError, match="not those of this search"):
        list(generations(other, InProcessPool(), records))
    with pytest.raises(ValueError, match="not those of this search"):
        list(generations(problem, InProcessPool(), [records[1], records[0]]))


@pytest.mark.parametrize("budget", [1, 5, 8, 16, 37])
def test_a_budget_in_candidates_is_met_exactly(budget):
    found = list(generations(stub_problem(budget=budget), InProcessPool()))
    assert [g.num_scored for g in found] == [*range(8, budget, 8), budget]
    assert [g.stop for g in found[:-1]] == [None] * (len(found) - 1)
    assert found[-1].stop == f"{budget} candidates scored"


@pytest.mark.parametrize("budget_calls", [1, 700, 3000])
def test_a_budget_in_calls_is_passed_by_one_generation_at_most(budget_calls):
    found = list(generations(stub_problem(budget_calls=budget_calls), InProcessPool()))
    assert found[-1].calls >= budget_calls > (found[-2].calls if len(found) > 1 else 0)
    assert found[-1].stop == f"{found[-1].calls} network calls x images made"


def test_a_budget_in_minutes_is_looked_at_after_each_generation():
    clock = count(45.0, 45.0).__next__  # .75, 1.5, 2.25, 3 minutes
    found = list(generations(stub_problem(budget_minutes=2.25), InProcessPool(), (), clock))
    assert len(found) == 3
    assert found[-1].stop == "2.25 minutes are over"


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_with_as_many_generations_without_gain(patience):
    problem = stub_problem(steps=4, patience=patience)
    found = list(generations(problem, InProcessPool()))
    volumes = [g.hypervolume for g in found]
    gains = [b > a * 1.001 for a, b in zip(volumes, volumes[patience:], strict=False)]
    assert gains[:-1] == [True] * (len(gains) - 1) and not gains[-1]
    assert found[-1].stop == f"hypervolume flat for {patience} generations"


def test_the_first_rule_to_be_met_ends_the_search():
    alone = list(generations(stub_problem(budget_calls=700), InProcessPool()))
    both = stub_problem(budget_calls=700, budget=1000, patience=50, budget_minutes=5.0)
    assert list(generations(both, InProcessPool())) == alone


def test_an_error_of_the_pool_ends_the_search_with_what_came_before():
    class Failing(InProcessPool):
        def distances(self, schedules, seed, num_images, tell=None):
            if len(self.asked) == 2:
                raise RuntimeError("lost")
            return super().distances(schedules, seed, num_images)

    problem = stub_problem(budget=40)
    failing = generations(problem, Failing())
    whole = list(generations(problem, InProcessPool()))
    assert [next(failing), next(failing)] == whole[:2]
    with pytest.raises(RuntimeError, match="lost"):
        next(failing)


class Listed:
    """An optimizer that asks for the schedules of a list, and then for no more."""

    def __init__(self, genomes):
        self.candidates = [Candidate(genome, None) for genome in genomes]
        self.told = []

    def ask_generation(self, size):
        asked, self.candidates = self.candidates[:size], self.candidates[size:]
        return asked

    def tell_generation(self, candidates, losses):
        self.told.append((len(candidates), losses.tolist()))

    def survivors(self):
        return np.zeros((0, 1), dtype=np.int64)


@pytest.mark.parametrize(("number", "sizes"), [(7, [4, 3, 0]), (8, [4, 4, 0])])
def test_a_space_that_is_used_up_ends_the_search(number, sizes):
    problem = stub_problem(budget=40, population=4)
    optimizer = Listed(problem.space.uniform()[:number])
    found = []
    for generation in search(problem, optimizer, InProcessPool(), (), lambda: 0.0):
        found.append(generation)
        if generation.stop is not None:
            break
    assert [len(generation.records) for generation in found] == sizes
    assert found[-1].stop == f"no further candidate found after {number}"
    assert found[-1].hypervolume == found[-2].hypervolume
    records = records_of(found)
    losses = relative(records, records[0], MACS_COST).tolist()
    assert sum((told for _, told in optimizer.told), []) == losses
    assert [count for count, _ in optimizer.told] == [size for size in sizes if size]
