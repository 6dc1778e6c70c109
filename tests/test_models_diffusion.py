import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers.scheduling_ddpm import betas_for_alpha_bar

from models.diffusion import (
    add_noise,
    alphas_cumprod,
    cosine_betas,
    linear_betas,
    noise_levels,
    quadratic_betas,
    timestep_at,
    velocity,
    zero_terminal,
)


def test_levels_equal_diffusers():
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    levels = alphas_cumprod(linear_betas(1000))
    assert levels.dtype == torch.float64
    torch.testing.assert_close(levels, scheduler.alphas_cumprod.double(), rtol=2e-5, atol=0)


@pytest.mark.parametrize("num_train_timesteps", [1, 10, 1000])
def test_cosine_betas_equal_diffusers(num_train_timesteps):
    betas = cosine_betas(num_train_timesteps)
    assert betas.dtype == torch.float64
    expected = betas_for_alpha_bar(num_train_timesteps).double()
    torch.testing.assert_close(betas, expected, rtol=0, atol=1e-6)


def test_quadratic_betas_are_csdis():
    betas = quadratic_betas(50)
    roots = [1e-4**0.5 + i / 49 * (0.5**0.5 - 1e-4**0.5) for i in range(50)]
    assert betas.tolist() == pytest.approx([root**2 for root in roots])
    scheduler = DDPMScheduler(50, beta_start=1e-4, beta_end=0.5, beta_schedule="scaled_linear")
    torch.testing.assert_close(betas, scheduler.betas.double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(noise_levels(50, "quadratic"), alphas_cumprod(betas))
    assert noise_levels(50, "quadratic")[-1] ** 0.5 < 0.03  # nothing of the signal is left


@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_zero_terminal_levels_equal_diffusers(betas):
    scheduler = DDIMScheduler(1000, beta_schedule=betas, rescale_betas_zero_snr=True)
    levels = noise_levels(1000, betas, True)
    assert levels[-1] == 0 and (levels.diff() < 0).all()
    torch.testing.assert_close(
        levels, scheduler.alphas_cumprod.double(), rtol=3e-5, atol=1e-6
    )
    assert levels[0] == pytest.approx(noise_levels(1000, betas)[0].item())


def test_zero_terminal_levels_on_paper():
    found = zero_terminal(torch.tensor([0.81, 0.36, 0.09]).double())
    roots = torch.tensor([0.9, 0.9 * (0.6 - 0.3) / (0.9 - 0.3), 0]).double()
    torch.testing.assert_close(found, roots**2)


def test_levels_by_the_name_of_their_betas():
    torch.testing.assert_close(noise_levels(9, "linear"), alphas_cumprod(linear_betas(9)))
    cosine = noise_levels(9, "squaredcos_cap_v2")
    torch.testing.assert_close(cosine, alphas_cumprod(cosine_betas(9)))
    for arguments in ((9, "cosine"), (1, "linear", True), (0, "squaredcos_cap_v2")):
        with pytest.raises(ValueError, match="expected"):
            noise_levels(*arguments)


def test_levels_on_paper():
    levels = alphas_cumprod(linear_betas(3, 0.1, 0.3))
    torch.testing.assert_close(levels, torch.tensor([0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.7]).double())


def test_add_noise_equals_diffusers_row_by_row():
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02)
    x_0, eps = torch.randn(2, 5, 3, 4, 4).unbind()
    t = torch.tensor([0, 1, 500, 998, 999])
    x_t = add_noise(x_0, eps, alphas_cumprod(linear_betas(1000))[t])
    assert x_t.dtype == torch.float32
    torch.testing.assert_close(x_t, scheduler.add_noise(x_0, eps, t), rtol=1e-5, atol=1e-5)


def test_velocity_equals_diffusers_row_by_row():
    scheduler = DDPMScheduler(num_train_timesteps=1000, prediction_type="v_prediction")
    x_0, eps = torch.randn(2, 5, 3, 4, 4).unbind()
    t = torch.tensor([0, 1, 500, 998, 999])
    v = velocity(x_0, eps, noise_levels(1000, "linear")[t])
    torch.testing.assert_close(v, scheduler.get_velocity(x_0, eps, t), rtol=1e-5, atol=1e-5)


def test_steps_of_the_chain_compose_to_one():
    """Equation 2 step by step has the mean and the variance of equation 4."""
    betas = linear_betas(50, 1e-3, 0.2)
    mean, variance = 1.0, 0.0
    for beta in betas.tolist():
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
    last = alphas_cumprod(betas)[-1:]
    one, zero = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    assert add_noise(one, zero, last).item() == pytest.approx(mean)
    assert add_noise(zero, one, last).item() == pytest.approx(math.sqrt(variance))


@pytest.mark.parametrize("bad", [(0, 0.1, 0.2), (5, 0.0, 0.2), (5, 0.3, 0.2), (5, 0.1, 1.0)])
def test_bad_betas(bad):
    with pytest.raises(ValueError, match="expected"):
        linear_betas(*bad)


def test_the_timestep_of_a_level_is_the_chains_own_and_between_two_of_them():
    levels = noise_levels(1000, "linear")
    found = timestep_at(levels, levels)
    torch.testing.assert_close(found, torch.arange(1000.0, dtype=torch.float64))
    between = timestep_at((levels[500:501] + levels[501:502]) / 2, levels)
    assert 500.4 < between.item() < 500.6
    ends = timestep_at(torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64), levels)
    assert ends.tolist() == [999, 0]
