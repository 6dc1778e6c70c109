"""The baseline that one schedule is held against."""

import pytest

from orchestration import config as configs
from orchestration.errors import ConfigError
from orchestration.scoring import _baseline_of
from search_spaces.schedule import StepSchedule


def schedule(**changes):
    chain = {
        "num_train_timesteps": 10, "betas": "linear", "prediction": "epsilon", "sampler": "ddim",
        "eta": 0.0, "clip_sample": True, "steps": ((4, 0.5), (0, 1.0)),
    }  # fmt: skip
    return StepSchedule(**{**chain, **changes})


def search(**changes):
    values = [f"search.{key}={value}" for key, value in changes.items()]
    return configs.load(None, ["search.budget=1", *values]).search


def test_the_baseline_is_every_step_at_full_width_on_the_schedules_chain():
    found = _baseline_of(schedule(sampler="ddpm"), search(steps=5))
    assert found.steps == ((8, 1.0), (6, 1.0), (4, 1.0), (2, 1.0), (0, 1.0))
    assert found.sampler == "ddpm" and found.num_train_timesteps == 10
    assert _baseline_of(schedule(), search(steps=10)).steps[0] == (9, 1.0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"steps": 10}, "search.steps: got 10, expected at most 9: the baseline would start at 9"),
        ({"steps": 5, "spacing": "trailing"}, "search.spacing: got trailing, expected leading"),
        ({"steps": 11}, "search.steps: got 11, expected at most the schedule's num_train_times"),
    ],
)
def test_a_baseline_that_cannot_start_on_a_rescaled_chain_is_refused(changes, line):
    with pytest.raises(ConfigError, match=line):
        _baseline_of(schedule(rescale_zero_terminal_snr=True), search(**changes))


def test_on_a_rescaled_chain_others_are_as_they_were():
    rescaled = schedule(rescale_zero_terminal_snr=True)
    assert _baseline_of(rescaled, search(steps=9)).steps[0][0] == 8
    velocity = schedule(rescale_zero_terminal_snr=True, prediction="v_prediction")
    for changes in ({"steps": 10}, {"steps": 5, "spacing": "trailing"}):
        assert _baseline_of(velocity, search(**changes)).steps[0] == (9, 1.0)
