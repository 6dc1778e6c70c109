"""A search for latency as a command, on the stub, whose latencies are in closed form."""

import json

import numpy as np
import pytest
from commands import CONFIGS, run

from orchestration import stub
from search_spaces.pareto import hypervolume


def latency_of(steps):
    """`stub.step_times`, by hand."""
    return 0.05 + sum(0.5 + 0.5 * step["width"] + 0.02 for step in steps)


@pytest.mark.proof
def test_a_search_for_latency_ends_with_a_front_of_it_and_belongs_to_its_plan(tmp_path):
    argv = ("search", "--config", CONFIGS / "golden-stub.yaml", "--out", tmp_path / "run")
    options = ("--set", "search.cost=latency", "--set", "search.budget=48")
    found = run(*argv, *options)
    assert (found.returncode, found.stderr) == (0, "")
    assert "of latency at no loss" in found.stdout
    assert "Savings are of the predicted latency." in " ".join(found.stdout.split())
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    assert front["cost"] == "latency"
    most = latency_of(front["baseline"]["schedule"]["steps"])
    assert front["reference_point"] == pytest.approx([most, 2 * front["baseline"]["quality"]])
    members = [front["baseline"], *front["uniform"], *front["members"]]
    for member in members:
        steps = member["schedule"]["steps"]
        assert member["latency_predicted_ms"] == pytest.approx(latency_of(steps))
        assert member["savings"] == pytest.approx(1 - latency_of(steps) / most)
        assert member["macs"] == sum(stub.MACS * step["width"] ** 2 for step in steps)
    points = [[latency_of(m["schedule"]["steps"]), m["quality"]] for m in front["members"]]
    expected = hypervolume(np.array(points), np.array(front["reference_point"]))
    assert front["hypervolume"] == pytest.approx(expected)

    plan = tmp_path / "run" / "plan.json"
    content = json.loads(plan.read_text())
    content["latency_ms"]["0.5"] *= 1.01
    plan.write_text(json.dumps(content))
    found = run(*argv, *options)
    assert found.returncode == 2 and "is the journal of another search" in found.stderr
    plan.unlink()
    found = run(*argv, *options)
    assert found.returncode == 3 and "plan.json is missing" in found.stderr
