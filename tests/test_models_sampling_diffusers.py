"""Moves against diffusers' schedulers."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from diffusers.schedulers import scheduling_ddpm
from toy_moves import DDIM, DDPM, DPM, RESCALED, SHAPE, T, network, sample

from models.diffusion import noise_levels
from models.noise import INIT, normal
from models.sampling import PREDICTIONS
from search_spaces.schedule import even_grid


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip_sample", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 10, 50])
def test_ddim_equals_diffusers(eta, clip_sample, num_steps, prediction):
    scheduler = DDIMScheduler(
        T, clip_sample=clip_sample, set_alpha_to_one=True, prediction_type=prediction
    )
    scheduler.set_timesteps(num_steps)
    x = normal(0, range(16), INIT, SHAPE)
    for t in scheduler.timesteps.tolist():
        noise = normal(0, range(16), t + 1, SHAPE)
        x = scheduler.step(network(x, t), t, x, eta=eta, variance_noise=noise).prev_sample
    sampler = replace(DDIM, eta=eta, clip_sample=clip_sample, prediction=prediction)
    ours = sample(sampler, scheduler.timesteps.tolist(), network)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip_sample", [True, False])
@pytest.mark.parametrize("num_steps", [1, 10, 50])
def test_ddpm_equals_diffusers(clip_sample, num_steps, prediction, monkeypatch):
    scheduler = DDPMScheduler(
        T, clip_sample=clip_sample, variance_type="fixed_small", prediction_type=prediction
    )
    scheduler.set_timesteps(num_steps)
    x = normal(0, range(16), INIT, SHAPE)
    for t in scheduler.timesteps.tolist():
        noise = normal(0, range(16), t + 1, SHAPE)
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, noise=noise, **__: noise)
        x = scheduler.step(network(x, t), t, x).prev_sample
    sampler = replace(DDPM, clip_sample=clip_sample, prediction=prediction)
    ours = sample(sampler, scheduler.timesteps.tolist(), network)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


def dpm_scheduler(clip_sample, prediction="epsilon", **settings):
    """diffusers', which clips by a threshold that can't leave 1."""
    return DPMSolverMultistepScheduler(
        T,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
        thresholding=clip_sample,
        sample_max_value=1.0,
        prediction_type=prediction,
        **settings,
    )


def assert_dpm_equals(scheduler, sampler):
    x = normal(0, range(16), INIT, SHAPE)
    for t in scheduler.timesteps.tolist():
        x = scheduler.step(network(x, t), t, x).prev_sample
    ours = sample(sampler, scheduler.timesteps.tolist(), network)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("clip_sample", [True, False])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("num_steps", [1, 2, 10, 50])
def test_dpm_solver_equals_diffusers_on_its_own_grids(num_steps, spacing, clip_sample, prediction):
    scheduler = dpm_scheduler(clip_sample, prediction, timestep_spacing=spacing)
    scheduler.set_timesteps(num_steps)
    assert_dpm_equals(scheduler, replace(DPM, clip_sample=clip_sample, prediction=prediction))


IRREGULAR = (999, 997, 600, 590, 300, 40, 7, 0)


@pytest.mark.parametrize("lower_order_final", [True, False])
@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("timesteps", [even_grid(T, 10), even_grid(T, 50), IRREGULAR])
def test_dpm_solver_equals_diffusers_on_other_timesteps(timesteps, betas, lower_order_final):
    scheduler = dpm_scheduler(True, beta_schedule=betas, lower_order_final=lower_order_final)
    scheduler.set_timesteps(timesteps=list(timesteps))
    assert_dpm_equals(scheduler, replace(DPM, alphas_cumprod=noise_levels(T, betas)))


@pytest.mark.parametrize("eta", [0.0, 0.9])  # at 1 rounding makes NaN of a root in diffusers
@pytest.mark.parametrize("clip_sample", [True, False])
@pytest.mark.parametrize("num_steps", [1, 10, 50])
def test_ddim_from_zero_terminal_snr_equals_diffusers(num_steps, clip_sample, eta):
    scheduler = DDIMScheduler(
        T,
        clip_sample=clip_sample,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )
    scheduler.set_timesteps(num_steps)
    assert scheduler.timesteps[0] == T - 1 and scheduler.alphas_cumprod[-1] == 0
    x = normal(0, range(16), INIT, SHAPE)
    for t in scheduler.timesteps.tolist():
        noise = normal(0, range(16), t + 1, SHAPE)
        x = scheduler.step(network(x, t), t, x, eta=eta, variance_noise=noise).prev_sample
    sampler = replace(RESCALED, clip_sample=clip_sample, eta=eta)
    ours = sample(sampler, even_grid(T, num_steps, "trailing"), network)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)
