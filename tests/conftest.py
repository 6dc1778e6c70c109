"""What test files share: one small Ray cluster for all of those that run actors themselves."""

import logging
import os
from pathlib import Path

import pytest

from orchestration.cluster import ENVIRONMENT, QUIET

TESTS = Path(__file__).parent

os.environ.update({**QUIET, **ENVIRONMENT})


@pytest.fixture(scope="session")
def ray_cluster():
    """A cluster of four CPUs, in name, of its own; commands under test start theirs."""
    import ray

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {**ENVIRONMENT, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}},
    )
    yield
    ray.shutdown()
