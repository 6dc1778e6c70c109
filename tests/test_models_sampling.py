"""Moves against diffusers' schedulers, against the closed form, and against exact solutions."""

from dataclasses import replace
from math import log2, sqrt

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from diffusers.schedulers import scheduling_ddpm

from models.diffusion import alphas_cumprod, linear_betas
from models.noise import INIT, normal
from models.sampling import Sampler

T = 1000
DDIM = Sampler("ddim", alphas_cumprod(linear_betas(T)))
DDPM = replace(DDIM, kind="ddpm")
SHAPE = (2, 3, 3)


def network(x, t):
    """Any function of x and t whose x_0 leaves [-1, 1] here and there."""
    return torch.tanh(1.3 * x + 0.1) - 0.2 * (t / T)


def sample(sampler, timesteps, denoiser, num_images=16, shape=SHAPE, seed=0):
    """A chain from unit noise, move by move: x_0."""
    x = normal(seed, range(num_images), INIT, shape)
    for t, s in zip(timesteps, (*timesteps[1:], None), strict=True):
        noise = normal(seed, range(num_images), t + 1, shape) if sampler.adds_noise else None
        x = sampler.move(x, denoiser(x, t), t, s, noise)
    return x


@pytest.mark.parametrize("clip_sample", [True, False])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [1, 10, 50])
def test_ddim_equals_diffusers(eta, clip_sample, num_steps):
    scheduler = DDIMScheduler(T, clip_sample=clip_sample, set_alpha_to_one=True, beta_end=0.02)
    scheduler.set_timesteps(num_steps)
    x = normal(0, range(16), INIT, SHAPE)
    for t in scheduler.timesteps.tolist():
        noise = normal(0, range(16), t + 1, SHAPE)
        x = scheduler.step(network(x, t), t, x, eta=eta, variance_noise=noise).prev_sample
    sampler = replace(DDIM, eta=eta, clip_sample=clip_sample)
    ours = sample(sampler, scheduler.timesteps.tolist(), network)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("clip_sample", [True, False])
@pytest.mark.parametrize("num_steps", [1, 10, 50])
def test_ddpm_equals_diffusers(clip_sample, num_steps, monkeypatch):
    scheduler = DDPMScheduler(T, clip_sample=clip_sample, variance_type="fixed_small")
    scheduler.set_timesteps(num_steps)
    x = normal(0, range(16), INIT, SHAPE)
    for t in scheduler.timesteps.tolist():
        noise = normal(0, range(16), t + 1, SHAPE)
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, noise=noise, **__: noise)
        x = scheduler.step(network(x, t), t, x).prev_sample
    sampler = replace(DDPM, clip_sample=clip_sample)
    ours = sample(sampler, scheduler.timesteps.tolist(), network)
    torch.testing.assert_close(ours, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("t", "s"), [(999, 3), (640, 639), (7, 0)])
def test_posterior_of_any_move(t, s):
    """DDPM's move is Bayes' rule: q(x_t | x_s) q(x_s | x_0) / q(x_t | x_0), for any t > s."""
    a_t, a_s = DDPM.alphas_cumprod[[t, s]].tolist()
    x_t, x_0, noise = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    eps = (x_t - sqrt(a_t) * x_0) / sqrt(1 - a_t)
    alpha = a_t / a_s
    precision = alpha / (1 - alpha) + 1 / (1 - a_s)
    mean = (sqrt(alpha) / (1 - alpha) * x_t + sqrt(a_s) / (1 - a_s) * x_0) / precision
    expected = mean + noise / sqrt(precision)
    for sampler in (DDPM, replace(DDIM, eta=1.0)):
        moved = replace(sampler, clip_sample=False).move(x_t, eps, t, s, noise)
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("t", "s"), [(999, 3), (640, 639), (7, None)])
def test_ddim_moves_along_the_line(t, s):
    """With the true x_0 and eps, the deterministic move meets the forward chain at s."""
    x_0 = torch.rand(64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    eps = torch.randn(64, generator=torch.Generator().manual_seed(1))
    a_t = DDIM.alphas_cumprod[t].item()
    a_s = 1.0 if s is None else DDIM.alphas_cumprod[s].item()
    moved = DDIM.move(sqrt(a_t) * x_0 + sqrt(1 - a_t) * eps, eps, t, s)
    torch.testing.assert_close(
        moved, sqrt(a_s) * x_0 + sqrt(1 - a_s) * eps, rtol=1e-4, atol=1e-4
    )


MEAN, STD = 0.3, 0.4


def exact_eps(sampler):
    """The best prediction of the noise where the data are N(MEAN, STD^2)."""

    def predict(x, t):
        a_t = sampler.alphas_cumprod[t].item()
        return sqrt(1 - a_t) * (x - sqrt(a_t) * MEAN) / (a_t * STD**2 + 1 - a_t)

    return predict


def test_ddim_converges_in_the_first_order_on_the_exact_flow():
    """The probability flow of a Gaussian is linear, so its end is known for every start."""
    angles = torch.linspace(0, 1.5, 161, dtype=torch.float64)  # where the flow is smooth
    sampler = replace(DDIM, alphas_cumprod=angles.cos() ** 2, clip_sample=False)
    a_start = sampler.alphas_cumprod[-1].item()
    x_start = normal(0, range(16), INIT, SHAPE)
    scale = STD / sqrt(a_start * STD**2 + 1 - a_start)
    exact = MEAN + scale * (x_start - sqrt(a_start) * MEAN)
    errors = []
    for num_steps in (40, 80, 160):
        x_0 = sample(sampler, range(160, 0, -160 // num_steps), exact_eps(sampler))
        errors.append((x_0 - exact).abs().mean())
    orders = [log2(coarse / fine) for coarse, fine in zip(errors, errors[1:], strict=False)]
    assert orders == pytest.approx([1, 1], abs=0.15)


@pytest.mark.parametrize("sampler", [DDIM, replace(DDIM, eta=1.0), DDPM])
def test_samples_of_a_gaussian_have_its_mean_and_variance(sampler):
    sampler = replace(sampler, clip_sample=False)
    timesteps = range(T - 1, -1, -3)
    x_0 = sample(sampler, timesteps, exact_eps(sampler), num_images=500, shape=(40,)).double()
    standard_error = STD / sqrt(x_0.numel())
    assert x_0.mean().item() == pytest.approx(MEAN, abs=4 * standard_error + 0.002)
    assert x_0.std().item() == pytest.approx(STD, abs=4 * standard_error + 0.01 * STD)


def test_clipping_bounds_the_last_move():
    x_t, eps = normal(0, range(2), INIT, SHAPE), torch.zeros(2, *SHAPE)
    assert DDIM.move(x_t, eps, 900, None).abs().max() == 1
    assert replace(DDIM, clip_sample=False).move(x_t, eps, 900, None).abs().max() > 1


@pytest.mark.parametrize(("t", "s"), [(3, 3), (3, 4), (-1, None), (T, 5), (5, -1)])
def test_timesteps_must_fall_within_the_chain(t, s):
    with pytest.raises(ValueError, match="falling timesteps in 0 .. 999"):
        DDIM.move(torch.zeros(1), torch.zeros(1), t, s)


def test_missing_noise_is_refused_but_the_last_move_needs_none():
    for sampler in (DDPM, replace(DDIM, eta=0.5)):
        assert sampler.adds_noise
        with pytest.raises(ValueError, match="adds noise"):
            sampler.move(torch.zeros(1), torch.zeros(1), 5, 2)
        sampler.move(torch.zeros(1), torch.zeros(1), 5, None)
    assert not DDIM.adds_noise


@pytest.mark.parametrize("change", [{"kind": "heun"}, {"eta": 1.5}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match="expected"):
        replace(DDIM, **change)
