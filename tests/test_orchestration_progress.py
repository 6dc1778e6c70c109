import dataclasses

import pytest

from orchestration.durations import clock
from orchestration.progress import generation_line, seconds_left, training_line
from orchestration.search import Generation
from orchestration.search_sections import Search
from orchestration.training_state import Row

GENERATION = Generation(
    records=(),
    num_scored=60,
    calls=3_000,
    calls_alone=8_000,
    hypervolume=0.9,
    hypervolume_uniform=0.75,
    best_savings=0.416,
    stop=None,
)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (9.4, "0:09"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00"),
     (3 * 3600 + 61, "3:01:01"), (100 * 3600, "100:00:00")],
)  # fmt: skip
def test_a_clock(seconds, expected):
    assert clock(seconds) == expected


# 60 candidates and 3,000 calls in 120 s
@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"budget": 240}, 360),
        ({"budget_calls": 4_000}, 40),
        ({"budget_minutes": 10.0}, 480),
        ({"patience": 3}, None),
        ({"budget": 240, "budget_calls": 4_000, "budget_minutes": 10.0, "patience": 3}, 40),
        ({"budget": 240, "budget_minutes": 3.0}, 60),
        ({"budget": 50}, 0),
        ({"budget_minutes": 1.0}, 0),
    ],
)
def test_the_rule_that_is_nearest_says_how_long_it_takes(rules, expected):
    found = seconds_left(GENERATION, Search(**rules), 120, (0, 0))
    assert found == (expected if expected is None else pytest.approx(expected))


def test_what_was_replayed_took_no_time():
    # 20 candidates and 1,000 calls since it went on
    assert seconds_left(GENERATION, Search(budget=240), 120, (40, 2_000)) == pytest.approx(1080)
    assert seconds_left(GENERATION, Search(budget_calls=4_000), 120, (40, 2_000)) == 120
    assert seconds_left(GENERATION, Search(budget=240), 120, (60, 3_000)) is None


def test_a_search_that_has_stopped_is_done():
    stopped = dataclasses.replace(GENERATION, stop="hypervolume flat for 3 generations")
    assert seconds_left(stopped, Search(patience=3), 120, (0, 0)) == 0


def test_a_generation_in_a_line():
    assert generation_line(GENERATION, Search(budget=240), elapsed_s=120) == (
        "search  60 scored   hypervolume 1.20 x uniform   saves 42% at no loss"
        "   calls shared 62%   6:00 left"
    )


def test_a_generation_of_a_search_for_latency_says_what_is_saved():
    line = generation_line(GENERATION, Search(budget=240, cost="latency"), elapsed_s=120)
    assert "   saves 42% of latency at no loss   " in line


def test_a_race_tells_the_images_saved():
    line = generation_line(
        dataclasses.replace(GENERATION, images_saved=0.428), Search(budget=240), 120
    )
    assert "   calls shared 62%   images saved 43%   6:00 left" in line


def test_where_only_patience_ends_it_the_time_so_far_is_told():
    line = generation_line(GENERATION, Search(patience=3), elapsed_s=120)
    assert line.endswith("   2:00 so far")


def test_without_uniform_schedules_the_hypervolume_stands_alone():
    early = dataclasses.replace(GENERATION, hypervolume_uniform=0.0)
    assert "   hypervolume 0.900   " in generation_line(early, Search(budget=240), elapsed_s=120)


def test_a_training_in_a_line():
    row = Row(50, 1500, {0.25: 0.21234, 1.0: 0.1, 0.5: 0.15}, 1234.5, 75.0)
    assert training_line(row) == (
        "train   50/1500   loss at width 1: 0.1000  0.5: 0.1500  0.25: 0.2123"
        "   1234 images/s   1:15 left"
    )
