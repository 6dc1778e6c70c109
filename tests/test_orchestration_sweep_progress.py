from dataclasses import replace

import pytest

from orchestration.search import Generation
from orchestration.search_sections import Search
from orchestration.sweep_progress import SweepProgress, share_done

FIRST = Generation((), 10, 500, 600, 0.6, 0.5, 0.25, None)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"budget": 40}, 0.25),
        ({"budget": 40, "budget_calls": 1000}, 0.5),
        ({"budget": 5}, 1.0),
        ({"patience": 3}, 0.0),
    ],
)
def test_the_budget_that_is_nearest_to_its_end_says_how_much_is_done(rules, expected):
    assert share_done(FIRST, Search(**rules)) == expected
    assert share_done(replace(FIRST, stop="enough"), Search(**rules)) == 1


def test_the_time_left_is_that_of_all_searches_without_what_was_replayed():
    now = [100.0]
    searches = {"a": (Search(budget=40), 10), "bb": (Search(budget=40), 0)}
    progress = SweepProgress(searches, lambda: now[0])
    assert progress.line("a", FIRST) is None  # it was there before
    now[0] = 160.0
    line = progress.line("bb", FIRST)
    # an eighth of all is done in a minute, a quarter of it being there; three quarters are left
    assert line == (
        "bb  10 scored   hypervolume 1.20 x uniform   saves 25% at no loss"
        "   [25% of all, 6:00 left]"
    )
    stopped = replace(FIRST, num_scored=40, stop="40 candidates scored", hypervolume_uniform=0.0)
    line = progress.line("a", stopped)
    assert line.startswith("a   done: 40 candidates scored   hypervolume 0.600   saves 25%")


def test_a_search_that_stops_at_what_is_replayed_says_so():
    progress = SweepProgress({"a": (Search(budget=10), 10)}, lambda: 0.0)
    assert "done: enough" in progress.line("a", replace(FIRST, stop="enough"))
