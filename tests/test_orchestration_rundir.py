import subprocess
import sys
from pathlib import Path

import pytest

from orchestration import config as configs
from orchestration.errors import ConfigError, MachineError
from orchestration.rundir import RunDirectory, open_run

ROOT = Path(__file__).parent.parent


def load(*overrides):
    return configs.load(None, ["search.budget=5", *overrides])


def test_every_thing_has_its_place():
    run = RunDirectory(Path("/runs/one"))
    places = {
        run.config: "config.yaml",
        run.plan: "plan.json",
        run.supernet: "supernet",
        run.journal: "journal.jsonl",
        run.candidates: "candidates.parquet",
        run.front: "front.json",
        run.latency: "latency.json",
        run.schedules: "schedules",
    }
    assert places == {Path("/runs/one", name): name for name in places.values()}
    assert run.cache == Path("/runs/cache")


def test_a_new_run_keeps_the_effective_configuration(tmp_path):
    with open_run(tmp_path / "a" / "run", load("search.seed=7")) as run:
        assert run.path == tmp_path / "a" / "run"
        assert configs.load(run.config) == load("search.seed=7")


def test_the_same_configuration_opens_it_again_wherever_it_runs(tmp_path):
    with open_run(tmp_path / "run", load("search.seed=7")):
        pass
    elsewhere = ("score.actors=7", "tracking.experiment=other")
    config = load("search.seed=7", *elsewhere)
    with open_run(tmp_path / "run", config) as run:
        assert configs.load(run.config) == config


def test_other_values_are_refused_by_name_and_change_nothing(tmp_path):
    with open_run(tmp_path / "run", load()) as run:
        before = run.config.read_bytes()
    expected = "other values of train.seed, search.budget: give the same ones to resume it"
    with (
        pytest.raises(ConfigError, match=expected),
        open_run(tmp_path / "run", load("train.seed=2", "search.budget=6")),
    ):
        raise AssertionError("it was opened")
    assert run.config.read_bytes() == before
    with open_run(tmp_path / "run", load()):
        pass  # and the lock was let go of


def test_a_mask_and_a_search_never_share_one(tmp_path):
    """Or the mask's network and schedules would take the place of the search's, and back."""
    with open_run(tmp_path / "a", load(), kind="mask"), open_run(tmp_path / "b", load()):
        pass
    mask, search = "a run of jobs.mask", "a training or a search"
    for name, kind, held in (("a", "search", mask), ("b", "mask", search)):
        with (
            pytest.raises(ConfigError, match=f"holds {held}: expected another --out"),
            open_run(tmp_path / name, load(), kind=kind),
        ):
            raise AssertionError("it was opened")
    with open_run(tmp_path / "a", load(), kind="mask"):
        pass


def test_one_at_a_time(tmp_path):
    with open_run(tmp_path / "run", load()):
        for _ in range(2):
            with pytest.raises(MachineError, match="is held by pid"), open_run(
                tmp_path / "run", load()
            ):
                raise AssertionError("it was opened")
    with open_run(tmp_path / "run", load()):
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from orchestration.config import load;"
        "from orchestration.rundir import open_run\n"
        f"with open_run(Path({str(tmp_path / 'run')!r}), load(None, ['search.budget=5'])):"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == -9
    with open_run(tmp_path / "run", load()) as run:
        assert run.config.exists()


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MachineError, match="cannot write"),
        open_run(tmp_path / "file" / "run", load()),
    ):
        raise AssertionError("it was opened")
