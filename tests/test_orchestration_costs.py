"""What a schedule costs."""

import random

import pytest

from orchestration.costs import UNITS, Cost, unit_of
from orchestration.journal import Record

STEPS = ((900, 0.5), (500, 1.0), (3, 0.5))


def test_a_cost_is_a_sum_over_the_steps():
    assert Cost("macs", {1.0: 100, 0.5: 30}).of(STEPS) == 160
    assert Cost("latency", {1.0: 2.0, 0.5: 1.25}, 0.5).of(STEPS) == 5.0
    with pytest.raises(KeyError):
        Cost("macs", {1.0: 100}).of(STEPS)


def test_schedules_of_the_same_widths_cost_the_same_to_the_bit():
    cost = Cost("latency", {1.0: 0.1, 0.5: 0.07, 0.25: 1 / 3}, 1e-3)
    widths = [0.5] * 7 + [1.0] * 9 + [0.25] * 5
    costs = set()
    for seed in range(50):
        random.Random(seed).shuffle(widths)
        costs.add(cost.of([(1000 - i, width) for i, width in enumerate(widths)]))
    assert len(costs) == 1


def test_the_cost_of_a_record_is_that_of_its_steps():
    record = Record(
        index=0, generation=0, key="", steps=STEPS, quality=1.0, quality_se=0.1, delta=0.0,
        delta_se=0.0, macs=160, calls=3,
    )  # fmt: skip
    for cost in (Cost("macs", {1.0: 100, 0.5: 30}), Cost("latency", {1.0: 2.0, 0.5: 1.0}, 0.5)):
        assert cost.of_record(record) == cost.of(STEPS)


def test_a_front_that_names_no_cost_is_one_of_macs():
    assert unit_of({}) is UNITS["macs"] and unit_of({"cost": "latency"}) is UNITS["latency"]
    assert Cost("latency", {}).unit.key == "latency_predicted_ms"
