import pickle

import pytest

from orchestration.errors import ConfigError, DataError, MachineError, StepwiseError


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(StepwiseError, 1), (ConfigError, 2), (DataError, 3), (MachineError, 4)],
)
def test_an_error_keeps_kind_code_and_message_across_processes(kind, exit_code):
    error = pickle.loads(pickle.dumps(kind("journal.jsonl, line 3: damaged")))
    assert type(error) is kind
    assert isinstance(error, StepwiseError)
    assert error.exit_code == exit_code
    assert str(error) == "journal.jsonl, line 3: damaged"
