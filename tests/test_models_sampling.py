"""Moves against the closed form, against exact solutions, and in the papers' words."""

from dataclasses import replace
from itertools import pairwise
from math import exp, log, log2, sqrt

import pytest
import torch
from toy_moves import DDIM, DDPM, DPM, RESCALED, SHAPE, T, network, run, sample

from models.noise import INIT, normal
from models.sampling import KINDS, History, Sampler
from search_spaces.schedule import even_grid


@pytest.mark.parametrize(
    ("r", "t", "s"), [(999, 640, 3), (641, 640, 639), (700, 7, 0), (None, 640, 3), (9, 8, None)]
)
def test_dpm_solver_in_the_papers_words(r, t, s):
    """Algorithm 2: h_i = lambda_i - lambda_(i-1), D = (1 + 1 / 2r) x_0 - 1 / 2r x_0 before."""
    x_t, eps, before = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)).double()
    alpha, sigma = DPM.alphas_cumprod.sqrt(), (1 - DPM.alphas_cumprod).sqrt()
    x_0 = D = ((x_t - sigma[t] * eps) / alpha[t]).clamp(-1, 1)
    assert (x_0.abs() == 1).any() and (x_0.abs() < 1).any()
    if s is not None:
        h = log(alpha[s] / sigma[s]) - log(alpha[t] / sigma[t])
        if r is not None:
            ratio = (log(alpha[t] / sigma[t]) - log(alpha[r] / sigma[r])) / h
            D = (1 + 1 / (2 * ratio)) * x_0 - 1 / (2 * ratio) * before
        D = sigma[s] / sigma[t] * x_t - alpha[s] * (exp(-h) - 1) * D
    moved = DPM.move(x_t, eps, t, s, previous=None if r is None else History(before, r))
    torch.testing.assert_close(moved, D)
    remembered = DPM.remember(x_t, eps, t)
    assert remembered.t == t
    torch.testing.assert_close(remembered.x_0, x_0)


def test_first_and_last_moves_of_dpm_solver_are_ddims():
    x_t, eps = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).double()
    first, last = (replace(DPM, clip_sample=False), (640, 3)), (DPM, (640, None))
    for sampler, (t, s) in (first, last):
        expected = replace(sampler, kind="ddim").move(x_t, eps, t, s)
        torch.testing.assert_close(sampler.move(x_t, eps, t, s), expected)
    assert DDIM.remember(x_t, eps, 640) is None and DDPM.remember(x_t, eps, 640) is None


@pytest.mark.parametrize("kind", KINDS)
def test_one_network_in_the_words_of_both_predictions_gives_the_same_samples(kind):
    sampler = replace(DDIM, kind=kind)

    def as_velocity(x, t):
        """v = (sqrt(a) x - x_0) / sqrt(1 - a) of the network's eps."""
        a_t = sampler.alphas_cumprod[t].item()
        x_0 = (x - sqrt(1 - a_t) * network(x, t)) / sqrt(a_t)
        return (sqrt(a_t) * x - x_0) / sqrt(1 - a_t)

    x = normal(0, range(16), INIT, SHAPE).double()
    timesteps = even_grid(T, 20)
    velocities = run(replace(sampler, prediction="v_prediction"), timesteps, as_velocity, x)
    torch.testing.assert_close(velocities, run(sampler, timesteps, network, x))


@pytest.mark.parametrize("kind", ["ddim", "dpmsolver++2m"])
def test_where_nothing_of_x_0_is_left_the_velocity_is_its_negative(kind):
    x_t, v = torch.rand(2, 64, generator=torch.Generator().manual_seed(0)).double() - 0.5
    sampler = replace(RESCALED, kind=kind)
    a_s = sampler.alphas_cumprod[700].item()
    moved = sampler.move(x_t, v, T - 1, 700)
    torch.testing.assert_close(moved, sqrt(a_s) * -v + sqrt(1 - a_s) * x_t)
    # lambda comes from minus infinity, so that the step before tells nothing of the slope
    after = sampler.move(x_t, v, 700, 300, None, sampler.remember(100 * x_t, v, T - 1))
    assert torch.equal(after, sampler.move(x_t, v, 700, 300))


@pytest.mark.parametrize("kind", KINDS)
def test_epsilon_is_refused_where_nothing_of_x_0_is_left(kind):
    sampler = replace(RESCALED, kind=kind, prediction="epsilon")
    x = torch.zeros(1)
    with pytest.raises(ValueError, match="no x_0 from a predicted epsilon"):
        sampler.move(x, x, T - 1, 5, x)
    assert sampler.move(x, x, T - 2, 5, x).isfinite().all()


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


@pytest.mark.parametrize(("kind", "order"), [("ddim", 1), ("dpmsolver++2m", 2)])
def test_order_of_convergence_on_the_exact_flow(kind, order):
    """The probability flow of a Gaussian is linear, so its end is known for every start."""
    snr = torch.linspace(4, -3, 161, dtype=torch.float64).mul(2).exp()  # lambda falls evenly
    sampler = Sampler(kind, snr / (1 + snr), clip_sample=False)
    x_start = normal(0, range(16), INIT, SHAPE).double()
    means, stds = [], []
    for a in (sampler.alphas_cumprod[-1].item(), sampler.alphas_cumprod[0].item()):
        means.append(sqrt(a) * MEAN)
        stds.append(sqrt(a * STD**2 + 1 - a))
    exact = means[1] + stds[1] / stds[0] * (x_start - means[0])
    errors = []
    for num_steps in (40, 80, 160):
        timesteps = range(160, -1, -160 // num_steps)
        x = run(sampler, timesteps, exact_eps(sampler), x_start, end=False)
        errors.append((x - exact).abs().mean())
    orders = [log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert orders == pytest.approx([order, order], abs=0.15)


@pytest.mark.parametrize("sampler", [DDIM, replace(DDIM, eta=1.0), DDPM, DPM])
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


def test_the_step_before_must_lie_before():
    x = torch.zeros(1)
    with pytest.raises(ValueError, match="from t = 5 to 2, after 5; expected falling"):
        DPM.move(x, x, 5, 2, None, History(x, 5))


def test_missing_noise_is_refused_but_the_last_move_needs_none():
    for sampler in (DDPM, replace(DDIM, eta=0.5)):
        assert sampler.adds_noise
        with pytest.raises(ValueError, match="adds noise"):
            sampler.move(torch.zeros(1), torch.zeros(1), 5, 2)
        sampler.move(torch.zeros(1), torch.zeros(1), 5, None)
    assert not DDIM.adds_noise
    assert not replace(DPM, eta=0.5).adds_noise


@pytest.mark.parametrize("change", [{"kind": "heun"}, {"eta": 1.5}, {"prediction": "sample"}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match="expected"):
        replace(DDIM, **change)
