"""A cluster that is full, and one whose nodes don't share storage, as far as one node can show."""

import pytest
import ray
from stub_search import InProcessPool, stub_problem, stub_scorer

from orchestration import actors as actors_module
from orchestration import patience, training_nodes
from orchestration.actors import await_actors
from orchestration.errors import MachineError
from orchestration.journal import Journal
from orchestration.placement import Node, Placement
from orchestration.pool import start_pool
from orchestration.scoring_actors import start_actors
from orchestration.training_nodes import observe_nodes, this_node, without
from orchestration.trial import run_search


@pytest.fixture
def hasty(monkeypatch):
    """Nothing is waited for long before it is said."""
    monkeypatch.setattr(patience, "SAY_AFTER_S", 0.0)
    monkeypatch.setattr(actors_module, "POLL_S", 0.2)


def kill(actors):
    for actor in actors:
        ray.kill(actor)


def test_actors_that_find_no_room_are_named_and_not_waited_for_for_ever(ray_cluster, hasty):
    """Of two that want three of four CPUs each."""
    placement, said = Placement(2, 3.0), []
    actors = start_actors(placement)
    with pytest.raises(MachineError, match=r"waited \d+ s for . of 2 scoring actors, each with 3"):
        await_actors(actors, placement, said.append, patience_s=3.0)
    kill(actors)
    assert said[0].startswith("ray     waits for ") and said[0].endswith(" CPU free")


def test_actors_that_find_room_are_waited_for_in_silence(ray_cluster):
    placement, said = Placement(2, 0.4), []
    actors = start_actors(placement)
    await_actors(actors, placement, said.append, patience_s=600.0)
    assert {ray.get(actor.hardware.remote())["machine"] for actor in actors}
    kill(actors)
    assert said == []


def test_a_search_that_finds_no_room_says_so_and_ends(ray_cluster, hasty, tmp_path):
    """While somebody holds all four CPUs."""
    placement, said = Placement(1, 4.0), []
    held = start_pool(stub_scorer, (), placement, 10)
    await_actors(held.actors, placement, said.append, patience_s=600.0)
    journal = Journal(tmp_path / "journal.jsonl", "abc")
    with pytest.raises(MachineError, match=r"waited \d+ s for a search's trial, with 0.05 CPU"):
        run_search(
            stub_problem(budget=30), InProcessPool(), journal, lambda generation: None,
            said.append, 2.0,
        )  # fmt: skip
    held.close()
    assert any("waits for a search's trial" in line for line in said)
    assert journal.records == [] and journal.stopped is None


def test_nodes_are_asked_whether_they_see_what_is_written(ray_cluster, monkeypatch, tmp_path):
    """This node under another address sees it; one that is gone does not."""
    here = this_node()
    assert observe_nodes()[here].cpus == 4
    assert without(tmp_path / "a", observe_nodes(), here) == []  # there is none to ask
    (mine,) = (node for node in ray.nodes() if node["NodeManagerAddress"] == here)
    twin = {**mine, "NodeManagerAddress": "twin"}
    gone = {**mine, "NodeManagerAddress": "gone", "NodeID": "ab" * 28}
    monkeypatch.setattr(training_nodes.ray, "nodes", lambda: [mine, twin, gone])
    monkeypatch.setattr(training_nodes, "ANSWER_S", 20.0)
    nodes = dict.fromkeys((here, "twin", "gone"), Node(4.0))
    assert without(tmp_path / "a", nodes, here) == ["gone"]
    assert list((tmp_path / "a").iterdir()) == []


def test_a_process_that_has_looked_at_a_gpu_ends():
    """What Ray makes of a task that is declared with a GPU; else it would hold memory of it."""
    assert training_nodes._usable._default_options["max_calls"] == 1
