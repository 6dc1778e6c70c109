import pytest

from orchestration import ways
from orchestration.search_sections import Score
from orchestration.ways import Way

PLAIN, LAST = Way(), Way(memory_format="channels_last")


def test_what_the_configuration_names_is_not_measured():
    named = Score(memory_format="channels_last", dtype="float32")
    assert ways.eager_ways(named, has_bfloat16=True) == [LAST]
    assert ways.eager_ways(Score(dtype="bfloat16", memory_format="contiguous"), False) == [
        Way(dtype="bfloat16")
    ]


def test_bfloat16_is_measured_where_the_hardware_has_it():
    assert ways.eager_ways(Score(), has_bfloat16=False) == [PLAIN, LAST]
    found = ways.eager_ways(Score(), has_bfloat16=True)
    assert found[:2] == [PLAIN, LAST] and {way.dtype for way in found[2:]} == {"bfloat16"}


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ({PLAIN: 1.0, LAST: 0.5}, LAST),
        ({PLAIN: 1.0, LAST: 0.96}, PLAIN),  # not clearly
        ({PLAIN: 1.0, LAST: 2.0}, PLAIN),
        ({PLAIN: 1.0, LAST: 0.9, Way(dtype="bfloat16"): 0.87}, LAST),
        ({PLAIN: 1.0, LAST: 0.9, Way(dtype="bfloat16"): 0.8}, Way(dtype="bfloat16")),
    ],
)
def test_the_plainest_way_is_kept_unless_another_is_clearly_faster(milliseconds, expected):
    assert ways.fastest(milliseconds) == expected


def test_compiling_must_pay_for_itself():
    """45 s are won by 15 % of 300 s: a million calls of .3 ms at each width."""
    milliseconds = {1.0: 0.3, 0.5: 0.1}
    assert ways.worth_compiling(milliseconds, 2 * 0.99e6) == []
    assert ways.worth_compiling(milliseconds, 2 * 1.01e6) == [1.0]
    assert ways.worth_compiling(milliseconds, 2 * 3.1e6) == [1.0, 0.5]
    assert ways.worth_compiling(milliseconds, float("inf")) == [1.0, 0.5]


def test_planned_calls_are_bounded_by_each_budget():
    assert ways.planned_calls(100, None, 50, 200) == 100 * 200 * 25
    assert ways.planned_calls(100, 1000, 50, 200) == 1000
    assert ways.planned_calls(None, None, 50, 200) == 0  # it may end at any moment


def test_ways_survive_json():
    chosen = {1.0: Way(True, "bfloat16", "channels_last"), 2 / 3: LAST, 0.25: PLAIN}
    content = ways.to_json(chosen)
    assert list(content) == ["1", "0.6666666666666666", "0.25"]
    assert ways.from_json(content) == chosen
    with pytest.raises(TypeError):
        ways.from_json({"1": {"compiled": False, "layout": "contiguous"}})
