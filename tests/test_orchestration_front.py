from dataclasses import replace

import numpy as np
import pytest
from stub_search import InProcessPool, generations, records_of, stub_problem

from models.intervals import Replicates
from orchestration.costs import Cost
from orchestration.front import (
    assemble,
    choose_members,
    choose_rivals,
    member,
    recommend,
    savings_uniform,
)
from orchestration.journal import Record
from search_spaces.schedule import StepSchedule

FACTS = {"dataset": "stub", "supernet": "5e", "quality": "fd_stub_400", "num_images": 400,
         "noise_floor": 0.5, "noise_floor_num_images": 400}  # fmt: skip
MACS = Cost("macs", {})


def records(*rows):
    """Candidates of (quality, macs, delta); the first is the baseline."""
    return [
        Record(
            index=i, generation=0, key=f"k{i}", steps=((i, 1.0),), quality=quality, quality_se=0.1,
            delta=delta, delta_se=0.0, macs=macs, calls=1,
        )
        for i, (quality, macs, delta) in enumerate(rows)
    ]  # fmt: skip


def scored(key, macs, quality):
    return {
        "key": key, "schedule": {"steps": []}, "quality": quality, "quality_ci": [quality] * 2,
        "delta_ci": [0.0, 0.0], "macs": macs, "savings": 1 - macs / 100, "savings_uniform": None,
    }  # fmt: skip


BASELINE = scored("base", 100, 4.0)
UNIFORM = [BASELINE, scored("u60", 60, 6.0), scored("u30", 30, 7.0), scored("u50", 50, 9.0)]


def chosen(rows, limit=9):
    return [record.key for record in choose_members(records(*rows), limit, MACS)]


def test_the_searchs_front_goes_on_cheapest_first():
    rows = [(4, 100, 0), (5, 60, 1), (6, 60, 2), (7, 30, 3), (3, 100, -1), (7, 31, 3)]
    assert chosen(rows) == ["k3", "k1", "k4"]


def test_what_lies_outside_the_box_stays_behind():
    # twice the baseline's quality is inside, more is not; nor is what costs more than the baseline
    rows = [(4, 100, 0), (8, 20, 4), (8.1, 10, 4.1), (1, 101, -3)]
    assert chosen(rows) == ["k1", "k0"]


def test_the_recommended_one_goes_on_even_if_it_is_dominated():
    # k1 is cheaper and better than k2, but the search does not believe it to be no worse
    rows = [(4, 100, 0), (3.8, 50, 0.2), (3.9, 60, -0.1)]
    assert recommend(records(*rows), MACS).key == "k2"
    assert chosen(rows) == ["k1", "k2"]


def test_rivals_are_the_uniform_schedules_that_no_other_one_surely_beats():
    problem = stub_problem(budget=1)
    uniform = [problem.space.decode(genome) for genome in problem.space.uniform()]
    # As many as the baseline has, quality falling with cost but for two
    values = [(4 + i, 100 - i, 0) for i in range(len(uniform))]
    values = [(quality, macs, quality - 4) for quality, macs, _ in values]
    values[3] = (99, 97, 95)  # dearer than the next, and worse
    values[5] = (3, 100, -1)  # better than the baseline, which stays
    values[8] = (13.4, 92, 9.4)  # dearer than the next, and worse by .4, within two errors
    values[11] = (16.6, 89, 12.6)  # the same by .6, beyond them
    scored = [
        replace(r, steps=s, delta_se=0.2) for r, s in zip(records(*values), uniform, strict=True)
    ]
    searched = replace(records((0, 0, 0))[0], steps=((7, 1.0),))  # no uniform one: dominates none
    expected = [s for i, s in enumerate(uniform) if i not in (3, 11)]
    assert choose_rivals([*scored, searched], problem) == expected
    # one that the search did not come to is scored too
    assert choose_rivals([*scored[:4], searched], problem) == uniform


def test_without_a_believed_one_the_baseline_is_recommended():
    rows = [(4, 100, 0), (3.9, 50, 0.1)]
    assert recommend(records(*rows), MACS).key == "k0"
    assert chosen(rows) == ["k1", "k0"]


def test_the_cheapest_believed_one_is_recommended_and_of_equals_the_best_and_oldest():
    rows = [(4, 100, 0), (3.5, 70, -1), (3.4, 70, -1), (3.4, 70, -1), (3, 80, -1), (4.1, 60, 0.1)]
    assert recommend(records(*rows), MACS).key == "k2"


def test_above_the_limit_those_that_carry_the_front_stay():
    # relative points (quality, cost): contributions by hand within the box below (2, 1)
    #   k1 (1.9, .1): (2 - 1.9) (1 - .1)                     ... up to its neighbour (1.5, .3)
    rows = [(10, 100, 0), (19, 10, 1), (15, 30, 1), (14, 31, 1), (12, 50, 1), (11, 90, -1)]
    # widths to the right neighbour in quality x heights to the left neighbour in cost:
    #   k1: (2 - 1.9) * (.3 - .1) = .02     k2: (1.9 - 1.5) * (.31 - .3) = .004
    #   k3: (1.5 - 1.4) * (.5 - .31) = .019 k4: (1.4 - 1.2) * (.9 - .5) = .08
    #   k5: recommended                     k0: (1.1 - 1.0) * (1 - 1) = 0
    assert chosen(rows, 6) == ["k1", "k2", "k3", "k4", "k5", "k0"]
    assert chosen(rows, 5) == ["k1", "k2", "k3", "k4", "k5"]
    assert chosen(rows, 4) == ["k1", "k3", "k4", "k5"]
    assert chosen(rows, 3) == ["k1", "k4", "k5"]
    assert chosen(rows, 2) == ["k4", "k5"]
    assert chosen(rows, 1) == ["k5"]


def test_of_equal_candidates_the_older_ones_go_first():
    rows = [(4, 100, 0), (5, 50, 1), (5, 50, 1), (3, 90, -1)]
    assert chosen(rows) == ["k1", "k2", "k3"]
    assert chosen(rows, 2) == ["k1", "k3"]


@pytest.mark.parametrize(
    ("macs", "quality", "expected"),
    [
        (45, 6.5, 1 - 45 / 60),  # u60 is the cheapest as good; the baseline is dearer
        (45, 6.0, 1 - 45 / 60),  # as good is good enough
        (45, 5.9, 1 - 45 / 100),
        (45, 4.0, 1 - 45 / 100),
        (45, 3.9, None),  # better than all
        (28, 9.5, 1 - 28 / 30),  # u50 is as good as well, but dearer than u30
        (60, 7.5, 1 - 60 / 30),  # worse than uniform: negative
    ],
)
def test_savings_against_the_cheapest_uniform_schedule_that_is_as_good(macs, quality, expected):
    assert savings_uniform(scored("m", macs, quality), UNIFORM) == expected


def front(members, recommended):
    return assemble(BASELINE, UNIFORM, members, recommended, FACTS)


def test_dominated_members_are_dropped_the_recommended_one_never():
    good, worse, rec = scored("a", 50, 5.0), scored("b", 55, 5.5), scored("r", 52, 5.1)
    kept = front([worse, rec, good, BASELINE], "r")["members"]
    assert [m["key"] for m in kept] == ["a", "r", "base"]
    assert [m["key"] for m in front([worse, rec, good], "b")["members"]] == ["a", "b"]
    # u60 is cheaper and better; one that is u60 itself stays
    beaten, same = scored("c", 61, 6.1), scored("u60", 60, 6.0)
    kept = front([beaten, same, BASELINE], "base")["members"]
    assert [m["key"] for m in kept] == ["u60", "base"]


def test_members_come_cheapest_first_with_their_savings_against_uniform():
    members = [BASELINE, scored("a", 50, 5.0), scored("b", 20, 7.0)]
    found = front(members, "a")["members"]
    assert [(m["key"], m["savings_uniform"]) for m in found] == [
        ("b", 1 - 20 / 30),
        ("a", 1 - 50 / 100),
        ("base", 0),
    ]
    assert members[1]["savings_uniform"] is None  # what came in is left as it was


def test_hypervolumes_lie_below_twice_the_baselines_quality_and_its_macs():
    found = front([BASELINE, scored("a", 50, 5.0), scored("b", 20, 7.0)], "a")
    assert found["reference_point"] == [100, 8]
    assert found["hypervolume"] == 50 * 3 + 30 * 1  # a: (100 - 50)(8 - 5), b: (50 - 20)(8 - 7)
    assert found["hypervolume_uniform"] == 40 * 2 + 30 * 1  # u60, u30
    outside = front([BASELINE, scored("c", 10, 8.0)], "base")
    assert outside["hypervolume"] == 0 and len(outside["members"]) == 2


def test_the_front_says_what_it_is_of():
    found = front([BASELINE], "base")
    assert found["format"] == "step-front/1" and found["recommended"] == "base"
    assert {key: found[key] for key in FACTS} == FACTS
    assert found["baseline"] == BASELINE and found["uniform"] == UNIFORM


def test_a_member_is_its_schedule_with_intervals_from_its_replicates():
    problem = stub_problem(budget=1)
    counts = np.full(4, 5)
    base = Replicates(4.0, np.array([4.0, 4.1, 3.9, 4.0]), counts)
    scores = Replicates(5.0, np.array([5.1, 5.1, 4.8, 5.0]), counts)
    found = member(problem, ((500, 0.5), (100, 1.0)), scores, base)
    schedule = StepSchedule.from_json(found["schedule"])
    assert schedule.steps == ((500, 0.5), (100, 1.0)) and found["key"] == schedule.key
    assert found["macs"] == 1_250_000 and found["savings"] == 1 - 1.25 / 8
    assert found["quality"] == 5 and found["savings_uniform"] is None
    # Tukey: variance (g - 1) / g sum (without - mean)^2, times Student's t of 3 degrees at 97.5 %
    t = 3.182446305284263
    for key, center, without in (
        ("quality_ci", 5.0, scores.without),
        ("delta_ci", 1.0, scores.without - base.without),
    ):
        reach = t * np.sqrt(0.75 * ((without - without.mean()) ** 2).sum())
        assert found[key] == pytest.approx([center - reach, center + reach], rel=1e-9)


def test_the_baseline_against_itself_has_no_difference():
    problem, pool = stub_problem(budget=1), InProcessPool()
    (scores,) = pool.distances([problem.chain.steps], 1, 40)
    found = member(problem, problem.chain.steps, scores, scores)
    assert found["delta_ci"] == [0, 0] and found["savings"] == 0


def test_a_whole_search_leaves_a_front_that_contains_what_it_recommends():
    found = records_of(list(generations(stub_problem(budget=60), InProcessPool())))
    members = choose_members(found, 5, MACS)
    assert len(members) == 5 and recommend(found, MACS) in members
    assert [m.macs for m in members] == sorted(m.macs for m in members)
