"""What test files share: a small Ray cluster for those that run actors, and a finished search."""

import logging
import os
from pathlib import Path

import pytest
from commands import CONFIGS, run

from orchestration.cluster import OF_RAY
from orchestration.environment import ENVIRONMENT

TESTS = Path(__file__).parent

# Workers inherit what the driver has
os.environ.update({**OF_RAY, **ENVIRONMENT, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"})


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
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def golden_stub(tmp_path_factory):
    """The run directory of a search on the stub that nothing has interrupted, and its process."""
    path = tmp_path_factory.mktemp("golden") / "stub"
    return path, run("search", "--config", CONFIGS / "golden-stub.yaml", "--out", path)
