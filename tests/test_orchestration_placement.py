"""Where scoring actors and training workers go, decided from what a cluster has; no cluster is."""

from pathlib import Path

import pytest

from orchestration import config as configs
from orchestration.errors import MachineError
from orchestration.placement import (
    ACTOR_CPUS,
    UNKNOWN,
    Node,
    Placement,
    cpus_of_actor,
    node_of,
    place,
    share_of_gpu,
)
from orchestration.training_places import Workers, num_at_once, places, tied

HEAD = Node(8.0)
A100S, T4S = Node(32.0, 4, "A100"), Node(8.0, 2, "T4")


def load(*overrides):
    return configs.load(None, ["search.budget=1", *overrides])


def test_all_actors_find_room_however_many_there_are():
    for num_cpus in range(1, 9):
        for num_actors in range(1, 40):
            each = cpus_of_actor(num_actors, num_cpus)
            assert num_cpus * int(1 / each) >= num_actors
            # the searches that feed them need a little too
            assert num_cpus - num_actors * each >= 0.099


def test_as_many_share_a_gpu_as_may_and_not_one_more():
    for number in range(1, 100):
        units = round(share_of_gpu(number) * 10_000)  # Ray's
        assert share_of_gpu(number) * 10_000 == pytest.approx(units)
        assert number * units <= 10_000 < (number + 1) * units


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"CPU": 4.0, "memory": 1e9}, Node(4.0)),
        ({"CPU": 4.0, "GPU": 2.0, "accelerator_type:T4": 1.0}, Node(4.0, 2, "T4")),
        ({"CPU": 4.0, "GPU": 2.0}, Node(4.0, 2, UNKNOWN)),
        # one name is Ray's, the other was given to tell boards apart
        ({"CPU": 4.0, "GPU": 2.0, "accelerator_type:H100": 1.0, "accelerator_type:H100-PCIe": 1.0},
         Node(4.0, 2, "H100-PCIe")),
        ({"CPU": 4.0, "accelerator_type:T4": 1.0}, Node(4.0)),  # started with --num-gpus 0
    ],
)
def test_a_node_is_read_from_rays_resources(resources, expected):
    assert node_of(resources) == expected


@pytest.mark.parametrize(
    ("keys", "nodes", "expected"),
    [
        ((), [HEAD], Placement(8, ACTOR_CPUS)),
        (("score.actors=20",), [HEAD], Placement(20, ACTOR_CPUS / 3)),
        ((), [HEAD, A100S], Placement(4, ACTOR_CPUS, 1.0)),  # a head without any
        (("score.actors_per_gpu=3",), [HEAD, A100S], Placement(12, ACTOR_CPUS, 0.3333)),
        (("score.actors_per_gpu=3", "score.actors=2"), [A100S], Placement(2, ACTOR_CPUS, 0.3333)),
        (("score.device=cpu",), [HEAD, A100S], Placement(40, ACTOR_CPUS)),
        (("score.scorer=stub",), [HEAD, A100S], Placement(40, ACTOR_CPUS)),
        ((), [HEAD, T4S, A100S], Placement(4, ACTOR_CPUS, 1.0, "A100")),
        (("ray.accelerator_type=T4",), [T4S, A100S], Placement(2, ACTOR_CPUS, 1.0, "T4")),
        (("ray.accelerator_type=T4",), [T4S], Placement(2, ACTOR_CPUS, 1.0, "T4")),
        ((), [Node(4.0, 1, UNKNOWN)], Placement(1, ACTOR_CPUS, 1.0)),
        # Four actors of a GPU, of two CPUs that are beside it
        (("score.actors_per_gpu=4",), [Node(2.0, 1, "T4")], Placement(4, ACTOR_CPUS / 2, 0.25)),
    ],
)
def test_actors_go_where_the_cluster_has_room(keys, nodes, expected):
    assert place(load(*keys), nodes) == expected


def test_searches_with_actors_of_their_own_share_the_gpus():
    assert place(load("score.actors_per_gpu=2"), [A100S], searches=3).num_actors == 2
    assert place(load(), [A100S], searches=9).num_actors == 1
    assert place(load(), [HEAD], searches=3).num_actors == 2


@pytest.mark.parametrize(
    ("keys", "nodes", "line"),
    [
        (("score.device=cuda",), [HEAD], "score.device: got cuda, but the cluster has no GPU"),
        (("score.actors=9",), [A100S], "score.actors: got 9, expected at most 4: the cluster has"),
        (("ray.accelerator_type=H100",), [HEAD], r"got H100, expected .* GPUs \(none\)"),
        (("ray.accelerator_type=H100",), [A100S, T4S],
         r"ray.accelerator_type: got H100, expected .* \(4 x A100, 2 x T4\)"),
    ],
)  # fmt: skip
def test_what_the_cluster_lacks_is_said_in_one_line(keys, nodes, line):
    with pytest.raises(MachineError, match=line):
        place(load(*keys), nodes)


def test_claims_in_rays_words():
    placed = Placement(4, 0.45, 0.25, "A100")
    assert placed.device == "cuda" and Placement(1, 0.9).device == "cpu"
    assert placed.options == {"num_cpus": 0.45, "num_gpus": 0.25, "accelerator_type": "A100"}
    assert placed.bundle == {"CPU": 0.45, "GPU": 0.25, "accelerator_type:A100": 0.001}
    assert Placement(1, 0.9).options == {"num_cpus": 0.9}
    assert placed.describe() == "0.45 CPU and 0.25 GPU of type A100"


@pytest.mark.parametrize(
    ("values", "expected"),
    [("batch_size=500", 4), ("batch_size=95", 2), ("batch_size=7", 1),
     ("threads=2 batch_size=500", 2), ("num_workers=3", 3)],
)  # fmt: skip
def test_without_a_number_as_many_workers_train_as_fit(values, expected):
    """On 4 CPUs, with at least 32 images each."""
    config = load(*(f"train.{value}" for value in values.split()))
    threads = config.train.threads
    assert places(config, {"a": Node(4.0), "b": Node(4.0)}, "a") == Workers(expected, threads)


MANY = "train.batch_size=500"


@pytest.mark.parametrize(
    ("keys", "nodes", "expected"),
    [
        ((MANY,), [Node(4.0, 2, "T4"), Node(4.0, 4, "T4")], Workers(2, 1, True)),  # of this node
        ((MANY,), [Node(4.0), Node(4.0, 3, "T4")], Workers(3, 1, True)),  # a head without any
        ((MANY,), [Node(4.0, 8, "T4")], Workers(4, 1, True)),  # no more than CPUs
        ((MANY, "train.device=cpu"), [Node(4.0, 8, "T4")], Workers(4, 1)),
        ((MANY,), [Node(4.0, 1, "T4"), A100S], Workers(4, 1, True, "A100")),
        ((MANY, "ray.accelerator_type=T4"), [Node(4.0, 1, "T4"), A100S],
         Workers(1, 1, True, "T4")),
        (("train.batch_size=64",), [A100S], Workers(2, 1, True)),
    ],
)  # fmt: skip
def test_without_a_number_a_worker_trains_on_each_gpu(keys, nodes, expected):
    workers = places(load(*keys), dict(zip("ab", nodes, strict=False)), "a")
    assert workers == expected
    scaling = workers.scaling()
    assert (scaling.num_workers, scaling.use_gpu) == (expected.num_workers, expected.use_gpu)
    assert scaling.accelerator_type == expected.gpu_type


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("train.num_workers=5",), r"has 4 CPUs; expected train.num_workers \(5\)"),
        (("train.threads=9",), r"has 4 CPUs; .* train.threads \(9\)"),
        (("train.num_workers=2", "train.device=auto"), r"1 GPUs of type T4; expected train.num_w"),
    ],
)
def test_more_workers_than_there_is_room_for_are_refused(keys, line):
    node = Node(4.0, 1, "T4") if "train.device=auto" in keys else Node(4.0)
    with pytest.raises(MachineError, match=line):
        places(load(*keys), {"a": node}, "a")
    with pytest.raises(MachineError, match="train.device: got cuda, but the cluster has no GPU"):
        places(load("train.device=cuda"), {"a": Node(4.0)}, "a")


FOLDER = Path("/out/training/x")


def test_workers_are_kept_to_the_storage_that_the_driver_sees():
    nodes = {"a": Node(4.0), "b": Node(8.0), "c": Node(0.0)}
    few, many = Workers(4, 1), Workers(5, 1)
    assert tied(few, nodes, "a", [], FOLDER) == few  # all nodes share it
    assert tied(many, nodes, "a", ["c"], FOLDER) == many  # c takes no workers
    kept = tied(few, nodes, "a", ["b"], FOLDER)
    assert kept == Workers(4, 1, node="a")
    assert kept.scaling().resources_per_worker == {"CPU": 1, "node:a": 0.001}
    with pytest.raises(MachineError, match="x is not on storage that all nodes share: b don't"):
        tied(many, nodes, "a", ["b", "c"], FOLDER)


def test_a_head_without_gpus_needs_shared_storage():
    nodes = {"a": HEAD, "b": A100S, "c": T4S}
    workers = Workers(2, 1, True, "A100")
    with pytest.raises(MachineError, match="share: b don't see"):
        tied(workers, nodes, "a", ["b", "c"], FOLDER)
    assert tied(workers, nodes, "a", ["c"], FOLDER) == workers  # none goes to c


def test_trainings_beside_each_other_never_share_a_gpu():
    trains = [load("train.batch_size=64").train] * 3
    assert num_at_once(trains, {"a": Node(8.0)}, "a") == 4
    assert num_at_once(trains, {"a": Node(8.0), "b": A100S}, "a") == 1
    on_cpus = [load("train.batch_size=64", "train.device=cpu").train]
    assert num_at_once(on_cpus, {"a": Node(8.0), "b": A100S}, "a") == 4
