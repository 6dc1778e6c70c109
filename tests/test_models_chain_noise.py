"""The noise of chains: its law, and that chains of other steps meet on one path."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from models import chain_noise
from models.chain_noise import ChainNoise, Path
from models.diffusion import noise_levels
from models.noise import INIT, normal
from models.sampling import Sampler

SHAPE, SEED = (2, 8, 8), 11
DDPM = Sampler("ddpm", noise_levels(20, "linear"), clip_sample=False)
RATIOS = DDPM.alphas_cumprod / (1 - DDPM.alphas_cumprod)


@pytest.mark.parametrize("order", [range(20), range(19, -1, -1), (7, 19, 0, 3, 12)])
def test_the_path_is_brownian_motion_in_the_signal_to_noise_ratio(order):
    """In units of standard deviations: the correlation is sqrt(c / c') at all c < c'."""
    path = Path(RATIOS, SEED, range(60), SHAPE)
    values = torch.stack([path.at(t).flatten() for t in order]).double()
    count = values.shape[1]
    assert count == 7680
    c = RATIOS[list(order)]
    expected = (torch.minimum(c[:, None], c) / torch.maximum(c[:, None], c)).sqrt()
    assert (values @ values.T / count - expected).abs().max() < 5 * 2**0.5 / count**0.5
    assert values.mean(1).abs().max() < 4 / count**0.5
    assert ((values**4).mean(1) - 3).abs().max() < 5 * 96**0.5 / count**0.5


def test_a_path_does_not_hang_on_what_was_asked_before():
    asked = [Path(RATIOS, SEED, range(3), SHAPE) for _ in range(2)]
    falling = {t: asked[0].at(t) for t in range(19, -1, -1)}
    for t in (4, 19, 5, 0, 13, 4):
        assert torch.equal(asked[1].at(t), falling[t])


@pytest.mark.parametrize("num_steps, most", [(1000, 1000), (50, 220), (10, 70)])
def test_a_chain_takes_few_draws(num_steps, most, monkeypatch):
    drawn = []
    monkeypatch.setattr(chain_noise, "normal", lambda *a: drawn.append(a[2]) or normal(*a))
    levels = noise_levels(1000, "linear")
    noise = ChainNoise(replace(DDPM, alphas_cumprod=levels), 1, range(1), (1, 1, 1), "cpu")
    steps = range(1000 - 1000 // num_steps, -1, -1000 // num_steps)
    for t, s in pairwise([None, *steps]):
        assert noise.of(t, s).isfinite().all()
    assert len(steps) == num_steps <= len(drawn) <= most


def test_moves_draw_independent_standard_noise_whatever_the_steps():
    noise = ChainNoise(DDPM, SEED, range(60), SHAPE, "cpu")
    for steps in ([19, 13, 12, 4, 0], [17, 16, 2], [11, 10, 9, 8, 1, 0]):
        chain = [noise.of(t, s).flatten() for t, s in pairwise([None, *steps])]
        drawn = torch.stack(chain).double()
        found = drawn @ drawn.T / drawn.shape[1]
        assert (found - torch.eye(len(steps))).abs().max() < 5 * 2**0.5 / drawn.shape[1] ** 0.5


@pytest.mark.parametrize("sampler", [DDPM, replace(DDPM, kind="ddim", eta=1.0)], ids=["ddpm", "1"])
@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_chains_of_one_x_0_meet_wherever_both_have_a_step(sampler, betas):
    """Begun with x_0 and its noise, their states are the same at each timestep that they share.

    (Schedules start from the noise alone.)
    """
    sampler = replace(sampler, alphas_cumprod=noise_levels(50, betas))
    x_0 = normal(1, range(3), INIT, SHAPE)
    noise = ChainNoise(sampler, SEED, range(3), SHAPE, "cpu")

    def states(steps):
        start, found = sampler.alphas_cumprod[steps[0]].item(), {}
        x = start**0.5 * x_0 + (1 - start) ** 0.5 * noise.of(None, steps[0])
        for t, s in pairwise([*steps, None]):
            found[t] = x
            level = sampler.alphas_cumprod[t].item()
            eps = (x - level**0.5 * x_0) / (1 - level) ** 0.5
            x = sampler.move(x, eps, t, s, None if s is None else noise.of(t, s))
        return found

    whole = states(range(49, -1, -1))
    for steps in ([49, 30, 20, 3, 0], [41, 20, 5], [25, 24, 0], [7]):
        for t, x in states(steps).items():
            torch.testing.assert_close(x, whole[t], rtol=2e-3, atol=2e-3)
    assert (whole[7] - whole[20]).abs().max() > 0.1


def test_of_gaussian_data_chains_of_other_steps_make_nearly_the_same():
    """By the best denoiser, of variance .25: what even and quadratic steps make of one path.

    On other paths they have nothing in common. Were the noise of a move that of the timestep it
    departs from, the few timesteps that both depart from would be all they share.
    """
    sampler = replace(DDPM, alphas_cumprod=noise_levels(50, "linear"))

    def made(steps, of):
        x = of(None, steps[0])
        for t, s in pairwise([*steps, None]):
            a = sampler.alphas_cumprod[t].item()
            eps = (1 - a) ** 0.5 / (0.25 * a + 1 - a) * x
            x = sampler.move(x, eps, t, s, None if s is None else of(t, s))
        return x

    even, quadratic = range(45, -1, -5), (49, 40, 31, 23, 17, 11, 7, 4, 1, 0)
    noise, other = (ChainNoise(sampler, k, range(50), SHAPE, "cpu") for k in (SEED, SEED + 1))

    def apart(first, second):
        return (first - second).square().mean().item() / 0.25

    by_departure = [made(steps, lambda t, s: normal(SEED, range(50), (t or -1) + 1, SHAPE))
                    for steps in (even, quadratic)]  # fmt: skip
    found = apart(made(even, noise.of), made(quadratic, noise.of))
    assert found < 0.1
    assert apart(*by_departure) > 5 * found
    assert apart(made(even, noise.of), made(even, other.of)) > 15 * found


def test_an_image_has_its_noise_in_any_company():
    whole = ChainNoise(DDPM, SEED, range(4, 12), SHAPE, "cpu")
    part = ChainNoise(DDPM, SEED, range(7, 9), SHAPE, "cpu")
    other = ChainNoise(DDPM, SEED + 1, range(7, 9), SHAPE, "cpu")
    for move in ((None, 15), (15, 9), (9, 0)):
        assert torch.equal(whole.of(*move)[3:5], part.of(*move))
        assert not torch.isclose(part.of(*move), other.of(*move)).any()


@pytest.mark.parametrize("kind", ["ddim", "dpmsolver++2m"])
def test_chains_that_add_no_noise_start_from_the_same(kind):
    noise = ChainNoise(replace(DDPM, kind=kind), SEED, range(3), SHAPE, "cpu")
    start = normal(SEED, range(3), INIT, SHAPE)
    assert torch.equal(noise.of(None, 19), start) and torch.equal(noise.of(None, 4), start)
    assert noise.of(19, 4) is None
    assert (noise.needed(None, 4), noise.needed(19, 4)) == ((19,), ())


def test_with_less_noise_than_the_chain_has_starts_are_the_same_and_moves_on_the_path():
    some = ChainNoise(replace(DDPM, kind="ddim", eta=0.5), SEED, range(3), SHAPE, "cpu")
    all_of_it = ChainNoise(DDPM, SEED, range(3), SHAPE, "cpu")
    assert torch.equal(some.of(None, 9), normal(SEED, range(3), INIT, SHAPE))
    assert torch.equal(some.of(9, 2), all_of_it.of(9, 2))
    assert torch.equal(all_of_it.of(None, 19), some.of(None, 19))  # the path begins there
    start, *moves = (some.of(*move).flatten().double() for move in ((None, 9), (9, 2), (2, 0)))
    assert all(abs((start * move).mean()) < 4 / 384**0.5 for move in moves)


@pytest.mark.parametrize(
    ("levels", "least"),
    [
        (noise_levels(50, "squaredcos_cap_v2", rescale_zero_terminal_snr=True), 0),
        (noise_levels(4000, "linear"), 1e-17),  # hundreds of timesteps where x_0 is all but gone
    ],
)
def test_where_nothing_of_x_0_is_left_there_is_noise_nevertheless(levels, least):
    assert levels[-1] <= least
    noise = ChainNoise(replace(DDPM, alphas_cumprod=levels), SEED, range(40), SHAPE, "cpu")
    last = len(levels) - 1
    for move in ((None, last), (last, last - 1), (last - 1, last - 9), (last - 9, 0), (last, 0)):
        assert noise.of(*move).std() == pytest.approx(1, abs=0.05)


def test_what_is_forgotten_is_made_again():
    noise = ChainNoise(DDPM, SEED, range(3), SHAPE, "cpu")
    before = noise.of(15, 9)
    for key in noise.needed(15, 9):
        noise.forget(key)
    assert not noise._path._met
    assert torch.equal(noise.of(15, 9), before)
    with pytest.raises(KeyError):
        noise.forget(3)


def test_a_chain_of_one_timestep():
    noise = ChainNoise(
        replace(DDPM, alphas_cumprod=DDPM.alphas_cumprod[:1]), 1, range(3), SHAPE, "cpu"
    )
    torch.testing.assert_close(noise.of(None, 0), normal(1, range(3), INIT, SHAPE))


@pytest.mark.parametrize("move", [(None, 20), (None, -1), (20, 3), (9, 9), (3, 9), (3, -1)])
def test_moves_that_do_not_fall_within_the_chain_are_refused(move):
    noise = ChainNoise(DDPM, 1, range(3), SHAPE, "cpu")
    with pytest.raises(ValueError, match="expected falling timesteps in 0 .. 19"):
        noise.of(*move)
