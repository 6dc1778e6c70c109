import pytest

from orchestration.errors import ConfigError, DataError, MachineError
from orchestration.sweep_failures import Failures
from orchestration.training_iterations import Diverged


@pytest.fixture
def failures(tmp_path):
    return Failures({name: tmp_path / name for name in "abc"})


def test_a_failure_is_that_of_its_searches_and_the_first_reason_counts(failures, tmp_path):
    with failures.of(["a", "b"]):
        raise DataError("no such\nfolder")
    with failures.of(["b"]):
        raise MachineError("later")
    with failures.of(["c"]):
        pass
    assert [failures.line(name) for name in "abc"] == ["no such folder", "no such folder", None]
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_our_own_leaves_its_traceback(failures, tmp_path):
    with failures.of(["b"]):
        raise KeyError("x")
    assert failures.line("b") == "internal error: KeyError: 'x'"
    assert "KeyError: 'x'" in (tmp_path / "b" / "error.log").read_text()


def test_a_training_that_diverges_is_no_fault_of_our_own(failures, tmp_path):
    failures.add(["a"], Diverged("iteration 7: the loss is nan"))
    assert failures.line("a") == "iteration 7: the loss is nan"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="^1 of 3 searches not done"):
        failures.check(3)


def test_an_interruption_is_nobodys_failure(failures):
    with pytest.raises(KeyboardInterrupt), failures.of(["a"]):
        raise KeyboardInterrupt
    failures.check(3)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([DataError("x")], DataError),
        ([ConfigError("x")], DataError),  # of one data set: not of the command
        ([DataError("x"), MachineError("y")], MachineError),
        ([MachineError("x"), ValueError("y")], RuntimeError),
    ],
)
def test_the_gravest_failure_decides_how_the_command_ends(failures, errors, expected):
    for name, error in zip("abc", errors, strict=False):
        failures.add([name], error)
    with pytest.raises(expected, match=f"^{len(errors)} of 7 searches not done") as caught:
        failures.check(7)
    assert type(caught.value) is expected
