"""Errors of a GPU, faked: which of them end the process, and which are told."""

import pytest
import torch

from orchestration import gpu_faults
from orchestration.errors import MachineError
from orchestration.gpu_faults import guarded
from orchestration.scoring_actors import OF_MEMORY, ScorerActor

ILLEGAL = torch.AcceleratorError(
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."
)
OF_CUBLAS = RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasSgemm")


class Ended(BaseException):
    """In the place of the process's end."""


@pytest.fixture
def ending(monkeypatch):
    """The process's end is an exception, which carries its code."""

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(gpu_faults.os, "_exit", end)


def failing(error):
    def fail():
        raise error

    return fail


def gpu(monkeypatch, answer):
    """A GPU that this process is at work on."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", answer)


def test_what_goes_well_is_handed_on():
    assert guarded("", divmod, 7, 2) == (3, 1)


def test_a_fault_ends_the_process_with_a_line(ending, caplog):
    with pytest.raises(Ended, match="^1$"):
        guarded("", failing(ILLEGAL))
    (record,) = caplog.records
    line = record.getMessage()
    assert "a fault of the GPU (CUDA error: an illegal memory access was encountered)" in line
    assert "\n" not in line


def test_an_error_of_a_library_is_a_fault_where_the_gpu_answers_no_more(ending, monkeypatch):
    gpu(monkeypatch, failing(ILLEGAL))
    with pytest.raises(Ended):
        guarded("", failing(OF_CUBLAS))
    gpu(monkeypatch, lambda: None)
    with pytest.raises(RuntimeError, match="CUBLAS_STATUS"):
        guarded("", failing(OF_CUBLAS))


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ValueError("a"), MachineError("b")])
def test_other_errors_are_let_through_and_no_gpu_is_asked_for(ending, monkeypatch, error):
    monkeypatch.setattr(torch.cuda, "synchronize", failing(AssertionError("there is none")))
    with pytest.raises(type(error)) as caught:
        guarded("", failing(error))
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ..."),
    ],
)
def test_a_full_gpu_is_one_line_with_the_remedy_and_no_fault(ending, error):
    actor = ScorerActor(1)
    actor.scorers["it"] = type("Full", (), {"score": lambda self: failing(error)()})()
    with pytest.raises(MachineError) as caught:
        actor.call(["it"], "score")
    line = str(caught.value)
    assert "out of memory (CUDA" in line and line.endswith(OF_MEMORY)
    assert "\n" not in line and "score.batch_size" in line and "score.actors_per_gpu" in line
    assert caught.value.__suppress_context__  # what holds the tensors is not handed on
