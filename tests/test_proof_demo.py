"""The aims of the demo, reached by a longer run of the same command (`make proof`).

The run lies in `runs/proof` and is resumed, not repeated, by the next `make proof`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from second_classifier import sure_fraction

from orchestration.sampling import sample_images
from search_spaces.schedule import StepSchedule

ROOT = Path(__file__).parents[1]
OUT = ROOT / "runs" / "proof"

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def front():
    command = [sys.executable, "-m", "jobs.demo", "--config", "jobs/configs/proof.yaml"]
    subprocess.run([*command, "--out", OUT], cwd=ROOT, check=True)
    return json.loads((OUT / "front.json").read_text())


@pytest.fixture(scope="module")
def recommended(front):
    (member,) = [m for m in front["members"] if m["key"] == front["recommended"]]
    return member


def test_the_front_has_at_least_eight_members(front):
    assert len(front["members"]) >= 8
    assert front["num_images"] >= 2000
    assert len(front["baseline"]["schedule"]["steps"]) == 50


def test_the_recommended_member_saves_half_at_no_loss(front, recommended):
    quality = front["baseline"]["quality"]
    assert recommended["savings"] >= 0.49
    assert recommended["quality"] - quality < 0.05 * quality
    assert recommended["delta_ci"][1] < 0.10 * quality


def test_it_saves_a_quarter_against_uniform_schedules(recommended):
    assert recommended["savings_uniform"] >= 0.25


def test_the_front_covers_a_fifth_more_than_uniform_schedules(front):
    assert front["hypervolume"] >= 1.2 * front["hypervolume_uniform"]


@pytest.mark.parametrize("which", ["baseline", "recommended"])
def test_samples_are_digits_to_a_classifier_of_another_kind(front, recommended, which):
    member = front["baseline"] if which == "baseline" else recommended
    schedule = StepSchedule.from_json(member["schedule"])
    images = sample_images(schedule, OUT / "supernet", seed=7, num_images=1000)
    assert sure_fraction(images) >= 0.85
