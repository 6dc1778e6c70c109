"""The chain of a network from elsewhere, by the scheduler's config that lies beside it."""

import json

import pytest
import torch
from diffusers import DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from test_orchestration_foreign import HEADER, saved

from models.diffusion import noise_levels
from orchestration import config as configs
from orchestration.errors import ConfigError, DataError
from orchestration.foreign import check_foreign, ensure_known
from orchestration.foreign_chain import check_chain, expected_scheduler
from orchestration.training_sections import Diffusion


def load(*overrides):
    return configs.load(None, ["search.budget=1", *overrides])


@pytest.mark.parametrize("betas", ["linear", "quadratic", "squaredcos_cap_v2"])
@pytest.mark.parametrize("rescale", [False, True])
def test_diffusers_scheduler_of_a_chain_has_its_levels(betas, rescale):
    diffusion = Diffusion(
        num_train_timesteps=50, betas=betas, rescale_zero_terminal_snr=rescale
    )
    scheduler = DDPMScheduler(**expected_scheduler(diffusion))
    levels = noise_levels(50, betas, rescale).float()
    torch.testing.assert_close(scheduler.alphas_cumprod, levels, rtol=1e-4, atol=2e-8)


PLACES = ("pipeline/unet", "pipeline/unet/scheduler", "pipeline/scheduler")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("trained", "expected"),
    [
        ({"num_train_timesteps": 500}, "num_train_timesteps is 500, expected 1000 as diffusion"),
        ({"beta_schedule": "scaled_linear"}, 'beta_schedule is "scaled_linear", expected "lin'),
        ({"beta_start": 1e-3}, "beta_start is 0.001, expected 0.0001"),
        ({"beta_end": 0.012}, "beta_end is 0.012, expected 0.02"),
        ({"prediction_type": "v_prediction"}, 'prediction_type is "v_prediction", expected "eps'),
        ({"prediction_type": "sample"}, 'prediction_type is "sample", expected "epsilon"'),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is true, expected false"),
        ({"trained_betas": [0.1] * 1000}, r"trained_betas is \[0.1, .*\.\.\., expected null"),
    ],
)
def test_another_chain_than_the_configured_one_is_refused(tmp_path, place, trained, expected):
    saved(tmp_path / "pipeline" / "unet", 0)
    DDPMScheduler(**trained).save_pretrained(tmp_path / place)
    path = tmp_path / place / "scheduler_config.json"
    with pytest.raises(ConfigError, match=f"^{path}: {expected}") as raised:
        check_foreign(tmp_path / "pipeline" / "unet", load(), HEADER)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    with pytest.raises(ConfigError, match=expected):
        ensure_known(tmp_path / "pipeline" / "unet", tmp_path / "known", load(), HEADER)
    assert not (tmp_path / "known").exists()


@pytest.mark.parametrize("place", PLACES)
def test_the_configured_chain_is_taken(tmp_path, place):
    folder = tmp_path / "pipeline" / "unet"
    saved(folder, 0)
    EulerDiscreteScheduler().save_pretrained(tmp_path / place)  # which clips and spaces otherwise
    check_foreign(folder, load(), HEADER)
    trained = {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2"}
    DDPMScheduler(500, 0.3, 0.4, **trained).save_pretrained(tmp_path / place)  # ends mean nothing
    values = (
        "diffusion.num_train_timesteps=500", "diffusion.prediction=v_prediction",
        "diffusion.betas=squaredcos_cap_v2",
    )  # fmt: skip
    check_foreign(folder, load(*values), HEADER)


def test_a_scheduler_that_tells_little_is_held_against_that(tmp_path):
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({"beta_start": 0.00010000000474974513, "prediction_type": None}))
    check_chain(tmp_path, {}, load().diffusion)
    path.write_text("[]")
    with pytest.raises(DataError, match="scheduler_config.json: expected an object"):
        check_chain(tmp_path, {}, load().diffusion)


def test_what_is_no_chain_of_betas_is_refused(tmp_path):
    FlowMatchEulerDiscreteScheduler().save_pretrained(tmp_path)
    with pytest.raises(DataError, match="got FlowMatchEulerDiscreteScheduler without a beta_sch"):
        check_chain(tmp_path, {}, load().diffusion)


def test_a_network_with_an_embedding_of_each_timestep_knows_their_number(tmp_path):
    check_chain(tmp_path, {"num_train_timesteps": None}, load().diffusion)
    with pytest.raises(ConfigError, match="/config.json: num_train_timesteps is 200, exp"):
        check_chain(tmp_path, {"num_train_timesteps": 200}, load().diffusion)
