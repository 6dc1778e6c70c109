"""Schedules: the JSON contract word by word, every bad value by name, keys, MACs, grids."""

import hashlib
import json

import numpy as np
import pytest
from diffusers import DDIMScheduler

from models import sampling
from models.diffusion import noise_levels
from search_spaces.schedule import BETAS, PREDICTIONS, SAMPLERS, StepSchedule, even_grid

CONTRACT = {
    "format": "step-schedule/1",
    "num_train_timesteps": 1000,
    "betas": "linear",
    "prediction": "epsilon",
    "sampler": "ddim",
    "eta": 0.0,
    "clip_sample": True,
    "steps": [{"t": 999, "width": 0.5}, {"t": 40, "width": 1.0}],
}


@pytest.mark.parametrize("num_steps", [1, 2, 10, 50, 1000])
def test_even_grid_is_diffusers_leading_spacing(num_steps):
    scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="leading")
    scheduler.set_timesteps(num_steps)
    assert even_grid(1000, num_steps) == tuple(scheduler.timesteps.tolist())


def test_even_grid_where_steps_do_not_divide():
    assert even_grid(10, 4) == (7, 5, 2, 0)
    for num_steps in (0, 11):
        with pytest.raises(ValueError, match="num_steps"):
            even_grid(10, num_steps)


@pytest.mark.parametrize("num_steps", [1, 2, 7, 10, 30, 50, 600, 999, 1000])
def test_trailing_grid_is_diffusers(num_steps):
    scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing")
    scheduler.set_timesteps(num_steps)
    grid = even_grid(1000, num_steps, "trailing")
    assert grid == tuple(scheduler.timesteps.tolist()) and grid[0] == 999
    assert len(set(grid)) == num_steps


def test_grids_have_one_of_two_spacings():
    assert even_grid(10, 4, "trailing") == (9, 7, 4, 1)  # halves to even: 10, 7.5, 5, 2.5
    with pytest.raises(ValueError, match="spacing is 'linspace', expected one of leading, tr"):
        even_grid(10, 4, "linspace")


def test_samplers_are_those_of_the_models():
    assert (SAMPLERS, PREDICTIONS) == (sampling.KINDS, sampling.PREDICTIONS)
    for betas in BETAS:
        noise_levels(10, betas)


def test_json_is_the_contract_and_returns():
    schedule = StepSchedule.from_json(CONTRACT)
    assert schedule.steps == ((999, 0.5), (40, 1.0))
    assert schedule.to_json() == CONTRACT
    assert StepSchedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


def test_what_came_later_is_only_written_where_it_changes_something():
    plain = StepSchedule.from_json(CONTRACT)
    said = StepSchedule.from_json({**CONTRACT, "rescale_zero_terminal_snr": False})
    assert said == plain and said.key == plain.key and said.to_json() == CONTRACT
    change = {"rescale_zero_terminal_snr": True, "prediction": "v_prediction"}
    changed = StepSchedule.from_json({**CONTRACT, **change})
    assert changed.to_json() == {**CONTRACT, **change}
    assert StepSchedule.from_json(changed.to_json()) == changed


def test_guidance_is_two_calls_a_step():
    plain = StepSchedule.from_json(CONTRACT)
    guided = StepSchedule.from_json({**CONTRACT, "guidance": 3})
    assert guided.to_json() == {**CONTRACT, "guidance": 3.0} and guided.key != plain.key
    assert StepSchedule.from_json({**CONTRACT, "guidance": 1}).to_json() == CONTRACT
    table = {1.0: 100, 0.5: 19}
    assert (plain.calls_per_step, guided.calls_per_step) == (1, 2)
    assert guided.macs(table) == 2 * plain.macs(table) == 238


def test_epsilon_cannot_start_where_nothing_of_the_image_is_left():
    rescaled = {**CONTRACT, "rescale_zero_terminal_snr": True}
    with pytest.raises(ValueError, match=r"steps\[0\]\.t is 999, expected less than 999 or pred"):
        StepSchedule.from_json(rescaled)
    StepSchedule.from_json({**rescaled, "steps": [{"t": 998, "width": 1.0}]})
    StepSchedule.from_json({**rescaled, "prediction": "v_prediction"})
    with pytest.raises(ValueError, match="num_train_timesteps is 1, expected at least 2"):
        StepSchedule(1, "linear", "v_prediction", "ddim", 0.0, True, ((0, 1.0),), True)


def test_key_is_the_hash_of_canonical_json():
    schedule = StepSchedule.from_json(CONTRACT)
    text = json.dumps(CONTRACT, sort_keys=True, separators=(",", ":"))
    assert schedule.key == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_key_of_a_known_schedule_stays():
    assert StepSchedule.from_json(CONTRACT).key == "a8b40689ca96"


def test_key_does_not_depend_on_number_types_but_on_every_field():
    plain = StepSchedule.from_json(CONTRACT)
    numpy = StepSchedule(
        np.int64(1000), "linear", "epsilon", "ddim", 0, True,
        [(np.int64(999), np.float32(0.5)), (40, 1)],
    )  # fmt: skip
    assert numpy == plain and numpy.key == plain.key
    changes = [
        {"num_train_timesteps": 1001},
        {"sampler": "ddpm"},
        {"sampler": "dpmsolver++2m"},
        {"betas": "squaredcos_cap_v2"},
        {"prediction": "v_prediction"},
        {"prediction": "v_prediction", "rescale_zero_terminal_snr": True},
        {"eta": 0.5},
        {"clip_sample": False},
        {"steps": CONTRACT["steps"][:1]},
    ]
    keys = {StepSchedule.from_json({**CONTRACT, **change}).key for change in changes}
    assert len(keys | {plain.key}) == len(changes) + 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"format": "step-schedule/2"}, "format"),
        ({"num_train_timesteps": 0}, "num_train_timesteps"),
        ({"num_train_timesteps": 1000.0}, "num_train_timesteps"),
        ({"num_train_timesteps": True}, "num_train_timesteps"),
        ({"betas": "cubic"}, "betas"),
        ({"prediction": ["epsilon"]}, "prediction"),
        ({"sampler": "euler"}, "sampler"),
        ({"eta": -0.1}, "eta"),
        ({"eta": 1.1}, "eta"),
        ({"eta": float("nan")}, "eta"),
        ({"eta": "0"}, "eta"),
        ({"eta": 10**400}, "eta"),
        ({"clip_sample": 1}, "clip_sample"),
        ({"rescale_zero_terminal_snr": None}, "rescale_zero_terminal_snr"),
        ({"guidance": 0}, "guidance"),
        ({"guidance": None}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"steps": []}, "steps"),
        ({"steps": None}, "steps"),
        ({"steps": {"t": 1, "width": 1}}, "steps"),
        ({"steps": [[1, 1.0]]}, r"steps\[0\]"),
        ({"steps": [{"t": 1}]}, "missing keys.*width"),
        ({"steps": [{"t": 1, "width": 1, "w": 1}]}, r"steps\[0\].*unknown keys.*w"),
        ({"steps": [{"t": 1000, "width": 1}]}, r"steps\[0\]\.t.*0 to 999"),
        ({"steps": [{"t": -1, "width": 1}]}, r"steps\[0\]\.t"),
        ({"steps": [{"t": 1.0, "width": 1}]}, r"steps\[0\]\.t"),
        ({"steps": [{"t": 5, "width": 1}, {"t": 5, "width": 1}]}, r"steps\[1\]\.t.*0 to 4"),
        ({"steps": [{"t": 5, "width": 1}, {"t": 6, "width": 1}]}, r"steps\[1\]\.t"),
        ({"steps": [{"t": 5, "width": 0}]}, r"steps\[0\]\.width"),
        ({"steps": [{"t": 5, "width": 1.01}]}, r"steps\[0\]\.width"),
        ({"steps": [{"t": 5, "width": float("inf")}]}, r"steps\[0\]\.width"),
        ({"steps": [{"t": 5, "width": True}]}, r"steps\[0\]\.width"),
        ({"extra": 1}, "unknown keys.*extra"),
    ],
)
def test_every_bad_value_is_named(change, where):
    with pytest.raises(ValueError, match=where):
        StepSchedule.from_json({**CONTRACT, **change})


@pytest.mark.parametrize("key", sorted(CONTRACT))
def test_missing_keys_are_named(key):
    with pytest.raises(ValueError, match=f"missing keys.*{key}"):
        StepSchedule.from_json({k: v for k, v in CONTRACT.items() if k != key})


def test_from_json_refuses_what_is_no_object():
    with pytest.raises(ValueError, match="expected an object"):
        StepSchedule.from_json([CONTRACT])


def test_macs_are_summed_by_width():
    schedule = StepSchedule.from_json(CONTRACT)
    assert schedule.macs({1.0: 100, 0.5: 19, 0.25: 7}) == 119
    with pytest.raises(ValueError, match=r"\[0\.5\]"):
        schedule.macs({1.0: 100})


def test_a_step_may_carry_its_own_level():
    steps = [
        {"t": 900, "width": 1.0, "alpha_cumprod": 0.1},
        {"t": 40, "width": 1.0, "alpha_cumprod": 0.9},
    ]
    schedule = StepSchedule.from_json({**CONTRACT, "steps": steps})
    assert schedule.steps == ((900, 1.0, 0.1), (40, 1.0, 0.9))
    assert schedule.to_json()["steps"] == steps
    assert schedule.macs({1.0: 3}) == 6
    bare = [{"t": step["t"], "width": 1.0} for step in steps]
    assert StepSchedule.from_json({**CONTRACT, "steps": bare}).key != schedule.key
    with pytest.raises(ValueError, match=r"steps\[1\] is .*alpha_cumprod in all steps or in none"):
        StepSchedule.from_json({**CONTRACT, "steps": [steps[0], bare[1]]})


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((0.5, 0.4), r"steps\[1\].alpha_cumprod is 0.4, expected above 0.5, below 1"),
        ((0.0, 0.4), r"steps\[0\].alpha_cumprod is 0.0, expected above 0"),
        ((0.5, 1.0), r"steps\[1\].alpha_cumprod is 1.0, expected above 0.5, below 1"),
        (("x", 0.4), r"steps\[0\].alpha_cumprod is 'x', expected a finite number"),
    ],
)
def test_levels_rise_between_0_and_1(levels, message):
    steps = [
        {"t": t, "width": 1.0, "alpha_cumprod": level}
        for t, level in zip((9, 4), levels, strict=True)
    ]
    with pytest.raises(ValueError, match=message):
        StepSchedule.from_json({**CONTRACT, "steps": steps})
