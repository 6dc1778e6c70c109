"""Racing on the stub and on Gaussian features: who is dropped, who goes on, what it costs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student
from stub_search import BLOCK_SIZE, InProcessPool, T, generations, records_of, stub_problem

from models.frechet import Reference
from models.intervals import estimate, jackknife, paired
from orchestration import racing
from orchestration.batches import batches
from orchestration.costs import Cost
from orchestration.front import choose_members, recommend
from orchestration.racing import FALSE_REJECTIONS, barriers, level
from orchestration.scorer import Scorer
from orchestration.search import relative
from orchestration.stub import NUM_FEATURES
from search_spaces import pareto

RACE = {"racing": True, "num_images": 80}
LONG_RACE = {**RACE, "max_images": 160}

MACS = Cost("macs", {})


@pytest.mark.parametrize(
    ("num_images", "max_images", "batch_size", "expected"),
    [
        (1000, 1000, 250, (250, 500, 1000)),
        (1000, 4000, 250, (250, 500, 1000, 2000, 4000)),
        (1000, 3000, 250, (250, 500, 1000, 2000, 3000)),
        (1000, 1500, 200, (400, 600, 1000, 1500)),  # whole batches, rounded up
        (400, 400, 200, (200, 400)),
        (400, 900, 400, (400, 800, 900)),
        (130, 130, 250, (130,)),
    ],
)
def test_barriers(num_images, max_images, batch_size, expected):
    assert barriers(num_images, max_images, batch_size) == expected


def test_the_levels_of_a_search_add_up_to_less_than_its_false_rejections():
    for num_candidates in (10, 100, 50_000):
        total = sum(7 * level(index, 16, 7) for index in range(num_candidates))
        generations_done = num_candidates // 16
        assert total < FALSE_REJECTIONS
        assert total >= FALSE_REJECTIONS * (1 - 1 / (generations_done + 1)) * (1 - 1e-9)


@pytest.mark.parametrize("optimizer", ["nsga2", "random"])
def test_where_no_one_can_be_dropped_it_is_the_search_without_racing(optimizer, monkeypatch):
    monkeypatch.setattr(racing, "FALSE_REJECTIONS", 0.0)
    settings = {"budget": 44, "num_images": 80, "optimizer": optimizer}
    plain = list(generations(stub_problem(**settings), InProcessPool()))
    raced = list(generations(stub_problem(**settings, racing=True), InProcessPool()))
    assert {r.num_images for r in records_of(raced)} == {80}
    for one, other in zip(raced, plain, strict=True):
        records = tuple(replace(record, num_images=None) for record in one.records)
        assert one.images_saved == 0
        assert replace(one, records=records, images_saved=None) == other


@pytest.fixture(scope="module")
def raced():
    """A race on the stub with several ends: its problem, pool and generations."""
    problem, pool = stub_problem(budget=72, optimizer="random", **LONG_RACE), EventfulPool()
    return problem, pool, list(generations(problem, pool))


class EventfulPool(InProcessPool):
    """Counts the calls x images that it makes: what is not at hand of what is asked for."""

    def __init__(self):
        super().__init__()
        self.prefixes, self.calls = {}, 0

    def keep(self, schedules):
        super().keep(schedules)
        kept = {tuple(steps[:n]) for steps in schedules for n in range(1, len(steps) + 1)}
        self.prefixes = {images: known & kept for images, known in self.prefixes.items()}

    def blocks(self, schedules, seed, runs):
        for images in runs:
            known = self.prefixes.setdefault(images, set())
            before = len(known)
            known |= {tuple(s[:n]) for s in schedules for n in range(1, len(s) + 1)}
            self.calls += (len(known) - before) * len(images)
        return super().blocks(schedules, seed, runs)


def scores(steps, num_images):
    """Distances of one schedule, straight from its features."""
    pool = InProcessPool()
    ((_, features),) = pool.scorer.source.features([steps], 3, range(num_images))
    return jackknife(np.split(features, num_images // BLOCK_SIZE), pool.scorer.reference)


def test_candidates_end_at_all_kinds_of_places(raced):
    problem, _, found = raced
    ends = [r.num_images for r in records_of(found)]
    assert {40, 80, 160} <= set(ends) <= {20, 40, 80, 160}
    saved = sum(max(0, 80 - end) for end in ends) / (80 * len(ends))
    assert found[-1].images_saved == saved > 0
    assert found[0].images_saved == 0  # no one was there to be dropped by


def test_all_that_is_complete_and_nothing_else_has_all_images(raced):
    _, _, found = raced
    assert all(r.complete == (r.num_images == 160) for r in records_of(found))
    assert records_of(found)[0].complete


def test_uniform_schedules_are_never_dropped(raced):
    problem, _, found = raced
    uniform = [r for r in records_of(found) if r.key in problem.uniform_keys]
    assert len(uniform) > 10 and all(r.num_images >= 80 for r in uniform)


def test_the_dropped_are_those_that_the_best_cheaper_member_beats_beyond_doubt(raced):
    """The rule again, from features, one candidate after another."""
    problem, _, found = raced
    records, num_dropped = records_of(found), 0
    for generation in found[1:]:
        earlier = records[: generation.records[0].index]
        complete = [r for r in earlier if r.complete]
        for r in generation.records:
            cheaper = [o for o in complete if o.macs <= r.macs]
            if r.key in problem.uniform_keys or not cheaper:
                assert r.num_images >= 80
                continue
            best = min(cheaper, key=lambda o: (o.quality, o.index))
            tests = 2 * sum(o.macs <= r.macs for o in earlier)
            for barrier in (20, 40):
                apart = scores(r.steps, barrier) - scores(best.steps, barrier)
                g = len(apart.counts)
                bias = (g - 1) * (apart.without.mean() - apart.full)
                se = estimate(apart).se
                chance = student.sf((apart.full - bias * (1 - barrier / 80)) / se, g - 1)
                assert (r.num_images == barrier) == (chance < level(r.index, 8, tests))
                if r.num_images == barrier:
                    num_dropped += 1
                    break
    assert num_dropped > 5


def test_who_goes_beyond_is_who_no_cheaper_one_beats_on_the_same_images(raced):
    problem, _, found = raced
    records = records_of(found)
    for generation in found:
        earlier = [r for r in records[: generation.records[0].index] if r.complete]
        points = np.array([(r.quality, r.macs) for r in earlier]).reshape(-1, 2)
        rivals = [earlier[i] for i in pareto.non_dominated(points)] if earlier else []
        rivals += [r for r in generation.records if r.num_images >= 80]
        base = scores(problem.chain.steps, 80).full
        for r in generation.records:
            if r.num_images < 80 or r.index == 0:
                continue
            own = scores(r.steps, 80).full
            beaten = any(o.macs <= r.macs and scores(o.steps, 80).full < own for o in rivals)
            assert r.complete == (not beaten and own <= 2 * base)


def test_a_record_says_the_paired_difference_on_equal_images_on_top_of_the_baseline(raced):
    problem, _, found = raced
    chain = problem.chain.steps
    whole = estimate(scores(chain, 160))
    for r in records_of(found):
        own = scores(r.steps, r.num_images)
        delta = paired(own, scores(chain, r.num_images))
        assert (r.delta, r.delta_se) == (delta.value, delta.se)
        assert np.isfinite(r.quality)
        if r.complete:
            assert (r.quality, r.quality_se) == (estimate(own).value, estimate(own).se)
        else:
            assert r.quality == whole.value + delta.value
            assert r.quality_se == pytest.approx((whole.se**2 + delta.se**2) ** 0.5)


@pytest.mark.parametrize("optimizer", ["nsga2", "random"])
def test_calls_are_what_was_really_sampled(optimizer):
    problem, pool = stub_problem(budget=72, optimizer=optimizer, **LONG_RACE), EventfulPool()
    found = list(generations(problem, pool))
    assert found[-1].calls == sum(r.calls for r in records_of(found)) == pool.calls
    alone = sum(len(r.steps) * r.num_images for r in records_of(found))
    assert found[-1].calls_alone == alone


def test_hypervolume_and_savings_are_those_of_complete_candidates(raced):
    _, _, found = raced
    records = records_of(found)
    complete = [r for r in records if r.complete]
    points = relative(complete, records[0], MACS)
    assert found[-1].hypervolume == pareto.hypervolume(points, np.array([2.0, 1.0]))
    lossless = [r for r in complete if r.delta <= 0]
    assert found[-1].best_savings == 1 - min(r.macs for r in lossless) / records[0].macs


@pytest.mark.parametrize("optimizer", ["nsga2", "random"])
def test_a_race_goes_on_from_any_number_of_its_records_as_if_nothing_had_happened(optimizer):
    problem = stub_problem(budget=40, optimizer=optimizer, **LONG_RACE)
    whole = list(generations(problem, InProcessPool()))
    records = records_of(whole)
    for k in (1, 8, 9, 24, 27, 39):
        assert list(generations(problem, InProcessPool(), records[:k])) == whole


def test_members_and_the_recommended_one_are_complete(raced):
    """Even where others look better and cheaper."""
    _, _, found = raced
    records = records_of(found)
    flattered = [
        r if r.complete else replace(r, quality=0.5, delta=-1.0, macs=1) for r in records
    ]
    members = choose_members(flattered, 16, MACS)
    assert members == choose_members(records, 16, MACS) and all(m.complete for m in members)
    assert recommend(flattered, MACS) == recommend(records, MACS)
    assert recommend(records, MACS).complete


# False rejections: features are Gaussian, and all schedules are equally good in truth, so that
# whoever is dropped is dropped wrongly.


class EqualSource:
    """Means equally far from the reference's, each schedule's in a direction of its own.

    The noise is half common to all schedules, half their own.
    """

    def features(self, schedules, seed, images):
        common = np.random.default_rng((seed, images.start)).standard_normal((len(images), 4))
        for index, steps in enumerate(schedules):
            key = [seed, *(int(1000 * t + 100 * w) for t, w in steps)]
            rng = np.random.default_rng(key)
            direction = rng.standard_normal(NUM_FEATURES)
            direction *= 1.5 / np.linalg.norm(direction)
            own = np.random.default_rng([*key, images.start]).standard_normal(common.shape)
            yield index, ((common + own) / 2**0.5 + direction).astype("f4")

    def keep(self, schedules):
        pass


class EqualPool(InProcessPool):
    def __init__(self):
        super().__init__()
        reference = Reference(np.zeros(NUM_FEATURES), np.eye(NUM_FEATURES))
        self.scorer = Scorer(EqualSource(), reference, BLOCK_SIZE)


def share_with_a_wrong_drop(num_searches):
    """Of searches that dropped any candidate."""
    wrong = 0
    for seed in range(num_searches):
        problem = stub_problem(
            budget=48, optimizer="random", seed=seed, noise_seed=seed, steps=6, **RACE
        )
        records = records_of(list(generations(problem, EqualPool())))
        wrong += any(not r.complete for r in records)
    return wrong / num_searches


def test_equally_good_candidates_are_hardly_ever_dropped():
    assert share_with_a_wrong_drop(5) <= 0.2  # more than one at 5 % each: once in 44 times


def test_without_the_levels_nearly_every_search_would_drop_one(monkeypatch):
    monkeypatch.setattr(racing, "level", lambda index, population, num_tests: 0.05)
    assert share_with_a_wrong_drop(2) == 1


@pytest.mark.proof
def test_the_share_of_searches_that_drop_wrongly_is_at_most_nominal():
    assert share_with_a_wrong_drop(300) <= FALSE_REJECTIONS


def test_one_test_at_one_level_rejects_as_often_as_it_says():
    source, chances = EqualSource(), []
    reference = Reference(np.zeros(NUM_FEATURES), np.eye(NUM_FEATURES))
    scorer = Scorer(source, reference, BLOCK_SIZE)
    pair = [((T - 1, 1.0),), ((T - 2, 1.0),)]
    for seed in range(400):
        of_runs = [scorer.score(pair, seed, run) for run in batches(40, 20)]
        one, other = (scorer.judge(*blocks) for blocks in zip(*of_runs, strict=True))
        chances.append(racing.expected_at(one - other, 80).tail())
    shares = [np.mean(np.array(chances) < alpha) for alpha in (0.5, 0.1, 0.02)]
    assert shares[0] == pytest.approx(0.5, abs=0.1)
    assert shares[1] == pytest.approx(0.1, abs=0.05)
    assert shares[2] == pytest.approx(0.02, abs=0.025)
