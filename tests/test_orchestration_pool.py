import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from models.energy import energy_score
from models.frechet import Reference
from orchestration import actors
from orchestration import pool as module
from orchestration.batches import batches
from orchestration.errors import DataError, MachineError
from orchestration.fidelity import fidelity
from orchestration.placement import ACTOR_CPUS, Placement
from orchestration.pool import Pool, start_pool
from orchestration.scorer import Scorer
from orchestration.stub import NUM_FEATURES, StubSource

SCHEDULES = [
    ((900, 1.0), (500, 1.0), (100, 1.0)),
    ((900, 1.0), (500, 0.5)),
    ((300, 0.25),),
    ((900, 1.0), (500, 1.0), (100, 0.5)),
    ((300, 0.25),),
]
SEED, BATCH_SIZE, BLOCK_SIZE = 3, 10, 5


class ScriptedSource(StubSource):
    """The stub, with accidents as files of a folder ask for them; keeps a diary of its work."""

    def __init__(self, folder: Path) -> None:
        super().__init__(1000)
        self.folder = folder

    def features(self, schedules, seed, images):
        line = f"{images.start} {len(images)} {[SCHEDULES.index(steps) for steps in schedules]}\n"
        with open(self.folder / f"diary-{os.getpid()}", "a") as file:
            file.write(line)
        if (self.folder / "slow").exists():
            time.sleep(float((self.folder / "slow").read_text()))
        for index, features in super().features(schedules, seed, images):
            self._accident(features, images)
            yield index, features

    def _accident(self, features, images):
        if (self.folder / "error").exists():
            raise DataError("a is damaged")
        if (self.folder / "nan").exists():
            features[1, 0] = np.nan
        lives = sorted(self.folder.glob("life-*"))
        if lives and images.start > 0:
            lives[0].unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        faults = sorted(self.folder.glob("fault-*"))
        if faults and images.start > 0:
            faults[0].unlink()
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def make(folder):
    """What `start_pool` calls in an actor."""
    return Scorer(ScriptedSource(folder), unit_normal(), BLOCK_SIZE)


def make_shifted(folder):
    """What `remake` has the actors call."""
    return Scorer(ScriptedSource(folder), shifted(), BLOCK_SIZE)


def refuse():
    raise ValueError("a scorer of this kind can't be built")


def unit_normal():
    return Reference(np.zeros(NUM_FEATURES), np.eye(NUM_FEATURES))


def shifted():
    return Reference(np.ones(NUM_FEATURES), np.eye(NUM_FEATURES))


def in_process(schedules, num_images, reference=None):
    """What the pool must come to: one scorer, one schedule after another."""
    scorer = Scorer(StubSource(1000), reference or unit_normal(), BLOCK_SIZE)
    return [
        scorer.judge(*(scorer.score([s], SEED, run)[0] for run in batches(num_images, BATCH_SIZE)))
        for s in schedules
    ]


@pytest.mark.parametrize("num_actors", [1, 3])
def test_an_appraisal_is_the_distances_and_what_kid_and_its_companions_say(
    pools, script, monkeypatch, num_actors
):
    monkeypatch.setattr(module, "MAX_IMAGES", 20)  # of the driver: actors look at all they get
    real = np.random.default_rng(0).standard_normal((30, NUM_FEATURES)).astype("f4")
    told = []
    scores, opinions = pools(num_actors).appraise(
        SCHEDULES, SEED, 47, real, lambda *done: told.append(done)
    )
    assert_same(scores, in_process(SCHEDULES, 47))
    assert told == [(done, 5) for done in range(1, 5)]
    scorer = Scorer(StubSource(1000), unit_normal(), BLOCK_SIZE)
    for steps, opinion in zip(SCHEDULES, opinions, strict=True):
        (whole,) = scorer.score([steps], SEED, range(20), whole=True)
        assert [block.shape for block in whole] == [(BLOCK_SIZE, NUM_FEATURES)] * 4
        assert opinion == fidelity(whole, real)
    assert opinions[1] != opinions[0] and opinions[2] == opinions[4]


@pytest.mark.parametrize(("num_actors", "num_images"), [(1, 47), (3, 10)])
def test_rewards_are_energy_scores_of_all_samples(pools, script, num_actors, num_images):
    real = np.random.default_rng(0).standard_normal((30, NUM_FEATURES)).astype("f4")
    found, distances = pools(num_actors).rewards(SCHEDULES, SEED, num_images, real)
    assert distances == []
    scorer = Scorer(StubSource(1000), unit_normal(), BLOCK_SIZE)
    for steps, reward in zip(SCHEDULES, found, strict=True):
        (whole,) = scorer.score([steps], SEED, range(num_images), whole=True)
        assert reward == pytest.approx(energy_score(np.concatenate(whole), real), rel=1e-6)
    assert len(set(found)) > 2
    # Whole, whatever the number of actors: a population that is cut makes shared calls again
    lines = [line for diary in script.glob("diary-*") for line in diary.read_text().splitlines()]
    assert {line.split(" ", 2)[2] for line in lines} == {"[2, 2, 1, 3, 0]"}


def test_rewards_of_later_images(pools):
    real = np.random.default_rng(0).standard_normal((30, NUM_FEATURES)).astype("f4")
    found, _ = pools(2).rewards(SCHEDULES[:1], SEED, 20, real, 7)
    scorer = Scorer(StubSource(1000), unit_normal(), BLOCK_SIZE)
    (whole,) = scorer.score(SCHEDULES[:1], SEED, range(7, 27), whole=True)
    assert found == pytest.approx([energy_score(np.concatenate(whole), real)], rel=1e-6)


@pytest.mark.parametrize(("num_actors", "num_images"), [(1, 47), (3, 10)])
def test_distances_are_from_what_the_finer_schedule_makes_of_the_same_noise(
    pools, script, num_actors, num_images
):
    *others, finer = SCHEDULES
    real = np.random.default_rng(0).standard_normal((30, NUM_FEATURES)).astype("f4")
    pool = pools(num_actors)
    qualities, distances = pool.rewards(others, SEED, num_images, real, 3, finer)
    assert qualities == pool.rewards(others, SEED, num_images, real, 3)[0]
    scorer = Scorer(StubSource(1000), unit_normal(), BLOCK_SIZE)
    features = [
        np.concatenate(whole)
        for whole in scorer.score(SCHEDULES, SEED, range(3, 3 + num_images), whole=True)
    ]
    expected = [np.linalg.norm(one - features[-1], axis=1).mean() for one in features[:-1]]
    assert distances == pytest.approx(expected, rel=1e-5)
    assert len(set(distances)) > 2


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.full == other.full
        np.testing.assert_array_equal(one.without, other.without)
        np.testing.assert_array_equal(one.counts, other.counts)


@pytest.fixture(scope="module")
def started(ray_cluster, tmp_path_factory):
    """Three actors that read the same script, and its folder."""
    folder = tmp_path_factory.mktemp("script")
    pool = start_pool(make, (folder,), Placement(3, 0.9), BATCH_SIZE)
    yield pool, folder
    pool.close()


@pytest.fixture
def script(started):
    """The folder of the script, emptied before and after."""
    _, folder = started
    yield folder
    for path in folder.iterdir():
        path.unlink()


@pytest.fixture
def pools(started, script):
    """Makes pools of the first one, two or three actors."""
    pool, _ = started
    return lambda num_actors: Pool(pool.actors[:num_actors], BATCH_SIZE, pool.shared)


# More batches than actors; fewer, so that the population is cut; more actors than schedules.
@pytest.mark.parametrize(("num_schedules", "num_images"), [(5, 47), (5, 10), (1, 10), (2, 20)])
def test_the_number_of_actors_changes_no_bit(pools, script, num_schedules, num_images):
    schedules = SCHEDULES[:num_schedules]
    expected = in_process(schedules, num_images)
    for num_actors in (1, 2, 3):
        assert_same(pools(num_actors).distances(schedules, SEED, num_images), expected)


def test_what_is_scored_in_parts_and_judged_on_the_way_comes_to_the_same(pools, script):
    """As a race does it: two batches, then the rest for some of them."""
    runs = batches(47, BATCH_SIZE)
    for num_actors in (1, 2, 3):
        pool = pools(num_actors)
        blocks = pool.blocks(SCHEDULES, SEED, runs[:2])
        assert_same(pool.judge(blocks), in_process(SCHEDULES, 20))
        rest = pool.blocks(SCHEDULES[1:4], SEED, runs[2:])
        whole = [first + last for first, last in zip(blocks[1:4], rest, strict=True)]
        assert_same(pool.judge(whole), in_process(SCHEDULES[1:4], 47))


def test_it_tells_of_every_batch_but_the_last(pools, script):
    told = []
    found = pools(2).distances(SCHEDULES, SEED, 47, lambda done, total: told.append((done, total)))
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5)]
    assert_same(found, in_process(SCHEDULES, 47))


def test_batches_go_to_the_same_actors_again_and_each_is_scored_once(pools, script):
    for _ in range(2):
        pools(2).distances(SCHEDULES, SEED, 47)
    work = [path.read_text().splitlines() for path in script.iterdir()]
    assert len(work) == 2
    # a population comes in lexicographic order
    expected = [f"{start} {min(10, 47 - start)} [2, 2, 1, 3, 0]" for start in range(0, 47, 10)]
    assert sorted(work[0] + work[1]) == sorted(2 * expected)
    assert all(lines[: len(lines) // 2] == lines[len(lines) // 2 :] for lines in work)


def test_with_fewer_batches_than_actors_all_of_them_work(pools, script):
    pools(3).distances(SCHEDULES, SEED, 10)
    work = [path.read_text().splitlines() for path in script.iterdir()]
    assert sorted(work) == [["0 10 [2, 1]"], ["0 10 [2]"], ["0 10 [3, 0]"]]


def test_an_error_in_an_actor_arrives_as_itself(pools, script):
    (script / "error").touch()
    with pytest.raises(DataError) as caught:
        pools(2).distances(SCHEDULES, SEED, 47)
    assert type(caught.value) is DataError and str(caught.value) == "a is damaged"
    (script / "error").unlink()
    (script / "nan").touch()
    with pytest.raises(DataError, match="samples of the supernet: 1 of 5 feature vectors"):
        pools(2).distances(SCHEDULES, SEED, 47)


def test_one_actor_answers_for_all(pools, script):
    ((block, _),) = pools(3).one("score", SCHEDULES[2:3], SEED, range(10))
    assert block.count == BLOCK_SIZE
    assert len(list(script.iterdir())) == 1


def test_an_actor_killed_at_work_costs_time_and_no_bit(pools, script):
    (script / "life-1").touch()
    assert_same(pools(2).distances(SCHEDULES, SEED, 47), in_process(SCHEDULES, 47))
    assert not list(script.glob("life-*"))
    assert len(list(script.glob("diary-*"))) == 3  # of the two actors and the one put in place


def test_a_fault_of_a_gpu_costs_its_actors_process_and_no_bit(pools, script):
    (script / "fault-1").touch()
    assert_same(pools(2).distances(SCHEDULES, SEED, 47), in_process(SCHEDULES, 47))
    assert not list(script.glob("fault-*"))
    assert len(list(script.glob("diary-*"))) == 3  # of the two actors and the one put in place


def test_scores_that_do_not_come_in_time_are_an_error_of_the_machine(pools, script):
    (script / "slow").write_text("1")
    pool = pools(1)
    pool.timeout_s = 0.5
    expected = "^scoring: got no batch for 0 s after 0 of 2, expected the next one by then$"
    with pytest.raises(MachineError, match=expected):
        pool.distances(SCHEDULES[:1], SEED, 20)
    pool.timeout_s = 1e-3
    with pytest.raises(MachineError, match="^scoring: got no answer of the actors for 0 s, expe"):
        pool.one("score", SCHEDULES[:1], SEED, range(10))


def test_the_time_limit_counts_from_the_batch_before(pools, script):
    """Each of four batches takes a second: all of them longer than the limit, none alone."""
    pool = pools(1)
    pool.one("calls")  # once what other tests have left to do is done
    (script / "slow").write_text("1")
    pool.timeout_s = 3.5
    real = np.zeros((4, NUM_FEATURES), "f4")
    for score in (
        lambda: pool.distances(SCHEDULES[:1], SEED, 40),
        lambda: pool.judge(pool.blocks(SCHEDULES[:1], SEED, batches(40, BATCH_SIZE))),
        lambda: pool.rewards(SCHEDULES[:1], SEED, 40, real),
        lambda: pool.appraise(SCHEDULES[:1], SEED, 40, real),
    ):
        started = time.monotonic()
        score()
        assert time.monotonic() - started > pool.timeout_s


def test_the_share_of_calls_that_was_saved_is_that_of_all_actors(monkeypatch):
    counts = {"a": (30, 40), "b": (20, 60)}
    pool = module.Pool(list(counts), BATCH_SIZE, "shared")
    monkeypatch.setattr(pool, "_call", lambda actor, method: (actor, method))
    monkeypatch.setattr(pool, "_get", lambda asked: [counts[a] for a, m in asked if m == "calls"])
    assert pool.share_saved() == 0.5
    counts |= dict.fromkeys(counts, (0, 0))  # the stub, which makes none
    assert pool.share_saved() is None


def test_schedules_are_named_to_all_actors_though_they_be_the_same(monkeypatch):
    """Else the states and prefixes of all others would stay: `random` never names any."""
    pool, named = module.Pool(["a", "b"], BATCH_SIZE, "shared"), []
    monkeypatch.setattr(pool, "_call", lambda *call: named.append(call))
    for elite in ([], [], SCHEDULES[:1], SCHEDULES[:1]):
        pool.keep(elite)
        assert named == [(actor, "keep", elite) for actor in "ab"]
        named.clear()


def test_actors_that_die_again_and_again_are_an_error_of_the_machine(
    started, tmp_path, monkeypatch
):
    monkeypatch.setattr(actors, "NUM_RESTARTS", 1)
    for life in range(9):
        (tmp_path / f"life-{life}").touch()
    pool = start_pool(make, (tmp_path,), Placement(1, 0.9), BATCH_SIZE)
    with pytest.raises(MachineError, match="lost too often"):
        pool.distances(SCHEDULES, SEED, 47)
    assert len(list(tmp_path.glob("life-*"))) == 7
    pool.close()


def test_a_closed_pool_gives_its_cpus_back(started, tmp_path):
    pool = start_pool(make, (tmp_path,), Placement(1, 0.9), BATCH_SIZE)
    assert_same(pool.distances(SCHEDULES, SEED, 10), in_process(SCHEDULES, 10))
    wait_until(lambda: ray.available_resources()["CPU"] < ACTOR_CPUS)
    pool.close()
    wait_until(lambda: ray.available_resources()["CPU"] >= ACTOR_CPUS)


def wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.05)


def test_why_a_scorer_cannot_be_built_arrives_as_itself(started):
    pool = start_pool(refuse, (), Placement(1, 0.9), BATCH_SIZE)
    with pytest.raises(ValueError, match="^a scorer of this kind can't be built$"):
        pool.distances(SCHEDULES, SEED, 10)
    pool.close()


def test_a_remade_scorer_takes_the_others_place_and_survives_a_lost_actor(pools, script):
    pool = pools(2)
    pool.distances(SCHEDULES, SEED, 20)
    pool.remake(make_shifted, [script])
    expected = in_process(SCHEDULES, 20, shifted())
    assert_same(pool.distances(SCHEDULES, SEED, 20), expected)
    (script / "life-0").touch()  # an actor dies at its next batch, and is built anew
    assert_same(pool.distances(SCHEDULES, SEED, 20), expected)
    assert not (script / "life-0").exists()
