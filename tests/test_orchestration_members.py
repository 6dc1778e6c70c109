"""The front's format, and its members' names: the fake is what a search writes."""

import copy
import json

import numpy as np
import pytest

from orchestration.front import assemble
from orchestration.members import (
    all_schedules,
    front_members,
    percent,
    rounded,
    strip_text,
    widths_of,
    with_interval,
)
from search_spaces.pareto import non_dominated
from search_spaces.schedule import StepSchedule
from tests.fakes import GENOMES, MACS, RECOMMENDED, fake_front


@pytest.fixture
def front():
    return fake_front()


def test_fake_is_what_a_search_writes(front):
    written = assemble(
        baseline=front["baseline"],
        uniform=front["uniform"],
        members=[{**member, "savings_uniform": None} for member in front["members"]],
        recommended=front["recommended"],
        facts={
            key: front[key]
            for key in (
                "dataset",
                "supernet",
                "quality",
                "num_images",
                "noise_floor",
                "noise_floor_num_images",
            )
        },
    )
    in_order = sorted(front["members"], key=lambda member: member["macs"])
    assert written == {**front, "members": in_order}
    assert json.loads(json.dumps(front)) == front


def test_fake_is_closed(front):
    assert (len(front["members"]), len(front["uniform"])) == (10, 24)
    for member in [front["baseline"], *front["uniform"], *front["members"]]:
        schedule = StepSchedule.from_json(member["schedule"])
        assert schedule.key == member["key"]
        assert schedule.macs(MACS) == member["macs"]
        assert member["savings"] == 1 - member["macs"] / front["baseline"]["macs"]
        assert member["quality_ci"][0] < member["quality"] < member["quality_ci"][1]
    points = np.array([[member["macs"], member["quality"]] for member in front["members"]])
    assert len(non_dominated(points)) == 10


def test_members_are_named_by_rising_savings(front):
    named = front_members(front)
    assert [entry.name for entry in named] == [f"m{i:02d}" for i in range(1, 11)]
    savings = [entry.member["savings"] for entry in named]
    assert savings == sorted(savings)
    roles = ["member"] * len(GENOMES)
    roles[RECOMMENDED] = "recommended"
    assert [entry.role for entry in named] == roles
    assert named[RECOMMENDED].title == "m05 saves 52 %"


def test_names_do_not_depend_on_the_order_in_the_file(front):
    shuffled = copy.deepcopy(front)
    shuffled["members"].reverse()
    shuffled["uniform"].reverse()
    assert all_schedules(shuffled) == all_schedules(front)


def test_every_schedule_comes_once(front):
    front["members"].append(front["baseline"])  # the baseline is on the front
    front["members"].append(front["uniform"][7])  # and a uniform schedule
    named = all_schedules(front)
    keys = [entry.member["key"] for entry in named]
    assert len(keys) == len(set(keys)) == 24 + 10
    assert [entry.role for entry in named].count("baseline") == 1
    on_front = next(e for e in named if e.member["key"] == front["uniform"][7]["key"])
    assert on_front.role == "member"
    assert named[0].title == "baseline"


def test_uniform_schedules_are_named_by_steps_and_width(front):
    names = {e.name: e.member for e in all_schedules(front) if e.role == "uniform"}
    assert len(names) == 23
    steps = names["uniform 25 x 0.5"]["schedule"]["steps"]
    assert len(steps) == 25
    assert {step["width"] for step in steps} == {0.5}


def test_names_of_more_than_99_members_still_sort(front):
    front["members"] = [
        {**front["members"][0], "key": f"{i:012x}", "savings": i / 200} for i in range(120)
    ]
    assert [front_members(front)[i].name for i in (0, 119)] == ["m001", "m120"]


def test_widths_fall(front):
    assert widths_of(front) == [1.0, 0.75, 0.5, 0.25]


def test_strip_shows_each_timestep_of_the_grid():
    schedule = {"steps": [{"t": 30, "width": 0.25}, {"t": 10, "width": 0.5}, {"t": 0, "width": 1}]}
    assert strip_text(schedule, [40, 30, 20, 10, 0]) == "▁▂▁▄█"
    assert strip_text({"steps": [{"t": 0, "width": 0.05}]}, [20, 0]) == "▁▂"


def test_strip_of_a_long_grid_shows_the_widest_of_each_cell():
    grid = list(range(999, -1, -1))
    schedule = {"steps": [{"t": 985, "width": 0.5}, {"t": 980, "width": 0.25}]}
    assert strip_text(schedule, grid) == "▁▄" + "▁" * 98


def test_numbers_are_short():
    assert percent(0.5249) == "52 %"
    assert with_interval(7.4321, [7.2149, 7.6501]) == "7.43 [7.21, 7.65]"
    assert with_interval(1946.1, [999.4, 12345.6]) == "1,946 [999, 12,346]"
    assert rounded(0.01234) == "0.0123"
    assert [rounded(value, 2) for value in (36.82, 149.9)] == ["37", "150"]
