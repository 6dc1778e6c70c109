"""What MLflow and the terminal are told of a mask."""

import numpy as np
import pytest

from orchestration.mask_records import HEAT, KEPT, MASK, lines, track_results
from orchestration.rundir import RunDirectory


class Track:
    """Keeps what it is told."""

    def __init__(self):
        self.metrics, self.files = {}, []

    def log(self, metrics, step):
        for name, value in metrics.items():
            self.metrics[name, step] = value

    def write(self, *files):
        self.files += files


def result(timesteps):
    scored = {
        "learned": {"quality": 2.0, "timesteps": timesteps, "delta": 0.0},
        "even, literal": {"quality": 3.0, "timesteps": [800, 500, 0], "delta": 1.0},
    }
    for member in scored.values():
        member["quality_ci"] = [member["quality"] - 0.1, member["quality"] + 0.1]
        member["delta_ci"] = [member["delta"] - 0.1, member["delta"] + 0.1]
    entry = {"num_steps": 3, "calls": 1200, "scored": scored}
    return {"quality": "fd_digits_2k", "results": [entry]}


def test_s_and_its_pictures_are_tracked_over_the_learning(tmp_path):
    run, track = RunDirectory(tmp_path), Track()
    history = {3: [(0, [1.0] * 8), (7, [1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0])]}
    track_results(run, track, history, result([700, 400, 0]))
    assert track.metrics["mass/3 steps", 0] == 8 and track.metrics["mass/3 steps", 7] == 3
    assert track.metrics["undecided/3 steps", 0] == 0
    assert track.metrics["undecided/3 steps", 7] == pytest.approx(2 / 8)
    assert track.metrics["quality/learned", 3] == 2
    assert track.metrics["quality/even literal", 3] == 3  # MLflow takes no comma
    assert track.files == [tmp_path / name for name in (MASK, HEAT, KEPT)]
    assert np.isfinite(list(track.metrics.values())).all()


@pytest.mark.parametrize(
    ("timesteps", "line"),
    [
        ([700, 400, 0], "3 steps (1,200 calls for quality)"),
        ([700, 0], "3 steps, of which 2 are kept (1,200 calls for quality)"),
    ],
)
def test_the_terminal_is_told_how_many_steps_are_kept(timesteps, line):
    said = lines(result(timesteps))
    assert said[0] == line and len(said) == 3
    assert "fd_digits_2k 3" in said[2] and "against learned 1" in said[2]
