"""What processes that compute read when they start."""

import os
import sys

import pytest

from orchestration import environment


@pytest.mark.parametrize("known", [{}, {"MALLOC_TOP_PAD_": "1"}])
def test_a_command_begins_again_once_with_what_the_user_has_set_left_alone(monkeypatch, known):
    began = []
    for name in environment.MALLOC:
        monkeypatch.delenv(name, raising=False)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "jobs.benchmark", "scale"])
    monkeypatch.setattr(os, "execv", lambda *call: began.append(call))
    environment.begin_again_with_malloc()
    argv = [sys.executable, "-m", "jobs.benchmark", "scale"]
    assert began == [(sys.executable, argv)]
    assert {name: os.environ[name] for name in environment.MALLOC} == environment.MALLOC | known
    environment.begin_again_with_malloc()  # as the new process does
    assert len(began) == 1
