import time

import pytest
import ray
from stub_search import InProcessPool, generations, records_of, stub_problem, stub_scorer

from orchestration import pool as pool_module
from orchestration import trial
from orchestration.errors import DataError, MachineError
from orchestration.journal import Journal
from orchestration.placement import Placement
from orchestration.pool import start_pool
from orchestration.trial import OwnActors, run_search


class FailingPool(InProcessPool):
    """Loses heart at its third population."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def distances(self, schedules, seed, num_images, tell=None):
        if len(self.asked) == 2:
            raise self.error
        return super().distances(schedules, seed, num_images)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.jsonl", "abc")


def whole(problem):
    return list(generations(problem, InProcessPool()))


RACE = {"num_images": 80, "racing": True, "max_images": 160}


@pytest.mark.parametrize(
    "settings", [{}, pytest.param(RACE, marks=pytest.mark.proof)], ids=["", "racing"]
)
def test_a_trial_on_actors_journals_what_a_loop_in_this_process_finds(
    ray_cluster, journal, settings, monkeypatch
):
    problem = stub_problem(budget=30, **settings)
    say = print  # what the commands give; Ray puts its own in its place when it tells of workers
    monkeypatch.setattr("builtins.print", lambda *args, **options: say(*args, **options))
    expected = whole(problem)
    # of an earlier run, that was killed in the middle of a generation
    journal.append(records_of(expected)[:11])
    told = []
    pool = start_pool(stub_scorer, (), Placement(2, 0.9), 10)
    run_search(problem, pool, journal, told.append, say)
    pool.close()
    assert told == expected
    again = Journal(journal.path, "abc")
    assert again.records == journal.records == records_of(expected)
    assert again.stopped == "30 candidates scored"


GPU = {"device": "cuda", "processor": "NVIDIA A100", "capability": "8.0"}


def test_a_trials_own_actors_are_held_to_the_device_of_its_plan(ray_cluster, journal):
    """As the shared ones are; else a search would go on to other bits."""
    problem, free = stub_problem(budget=30), ray.available_resources()["CPU"]
    like = tuple({**GPU, "multiprocessors": number} for number in ("98", "108"))
    own = OwnActors(Placement(1, 0.4), 10, ray.put((stub_scorer, ())), like, 600.0)
    with pytest.raises(MachineError, match="on GPUs that give other bits"):
        run_search(problem, own, journal, lambda generation: None)
    assert journal.records == []
    deadline = time.monotonic() + 60
    while ray.available_resources()["CPU"] < free:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_own_actors_that_cannot_start_are_told(ray_cluster, monkeypatch):
    """Such as for the lack of a GPU that torch can use; they do not stay either."""
    killed = []

    def refuse(actors, *args):
        raise MachineError("cannot use")

    monkeypatch.setattr(trial, "start_actors", lambda placement: ["one", "two"])
    monkeypatch.setattr(trial, "await_actors", refuse)
    monkeypatch.setattr(pool_module.ray, "kill", killed.append)
    with pytest.raises(MachineError, match="cannot use"):
        OwnActors(Placement(2, 0.4), 10, "shared", (), 600.0).start()
    assert killed == ["one", "two"]


@pytest.mark.parametrize("error", [DataError("a is damaged"), KeyError("our own fault")])
def test_an_error_in_the_trial_arrives_as_itself_and_what_was_scored_stays(
    ray_cluster, journal, error
):
    problem = stub_problem(budget=30)
    with pytest.raises(type(error)) as caught:
        run_search(problem, FailingPool(error), journal, lambda generation: None)
    assert type(caught.value) is type(error) and str(caught.value) == str(error)
    assert journal.records == records_of(whole(problem)[:2])
    assert Journal(journal.path, "abc").stopped is None


def test_a_journal_that_cannot_be_written_ends_the_search_as_what_it_is(ray_cluster, journal):
    journal.path.unlink()
    journal.path.mkdir()
    with pytest.raises(MachineError, match="cannot append to the journal"):
        run_search(stub_problem(budget=30), InProcessPool(), journal, lambda generation: None)


def test_an_interruption_while_a_generation_is_told_ends_the_search(ray_cluster, journal):
    def interrupt(generation):
        raise KeyboardInterrupt

    problem = stub_problem(budget=30)
    with pytest.raises(KeyboardInterrupt):
        run_search(problem, InProcessPool(), journal, interrupt)
    # the trial waited for the journal: no more than the generation that was told
    assert journal.records == records_of(whole(problem)[:1])
