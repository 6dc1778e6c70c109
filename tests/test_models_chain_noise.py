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


def taken(sampler, moves, seed=SEED, images=range(3), shape=SHAPE):
    """The noise of moves, in their order."""
    noise = ChainNoise(sampler, seed, images, shape, "cpu", moves)
    return [noise.take(*move) for move in moves]


def moves_of(steps):
    return list(pairwise([None, *steps]))


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
    sampler = replace(DDPM, alphas_cumprod=noise_levels(1000, "linear"))
    steps = range(1000 - 1000 // num_steps, -1, -1000 // num_steps)
    noise = taken(sampler, moves_of(steps), images=range(1), shape=(1, 1, 1))
    assert all(of_move.isfinite().all() for of_move in noise)
    assert len(steps) == num_steps <= len(drawn) <= most


@pytest.mark.parametrize("steps", [(19, 13, 12, 4, 0), (17, 16, 2), (11, 10, 9, 8, 1, 0)])
def test_moves_draw_independent_standard_noise_whatever_the_steps(steps):
    noise = taken(DDPM, moves_of(steps), images=range(60))
    drawn = torch.stack([of_move.flatten() for of_move in noise]).double()
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

    def states(steps):
        start, *added = taken(sampler, moves_of(steps))
        level, found = sampler.alphas_cumprod[steps[0]].item(), {}
        x = level**0.5 * x_0 + (1 - level) ** 0.5 * start
        for (t, s), noise in zip(pairwise([*steps, None]), [*added, None], strict=True):
            found[t] = x
            level = sampler.alphas_cumprod[t].item()
            x = sampler.move(x, (x - level**0.5 * x_0) / (1 - level) ** 0.5, t, s, noise)
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

    def made(steps, noise):
        x, *added = noise
        for (t, s), of_move in zip(pairwise([*steps, None]), [*added, None], strict=True):
            a = sampler.alphas_cumprod[t].item()
            x = sampler.move(x, (1 - a) ** 0.5 / (0.25 * a + 1 - a) * x, t, s, of_move)
        return x

    def on_path(steps, seed=SEED):
        return made(steps, taken(sampler, moves_of(steps), seed, range(50)))

    def by_departure(steps):
        streams = [INIT, *(t + 1 for t in steps[:-1])]
        return made(steps, [normal(SEED, range(50), stream, SHAPE) for stream in streams])

    def apart(first, second):
        return (first - second).square().mean().item() / 0.25

    even, quadratic = range(45, -1, -5), (49, 40, 31, 23, 17, 11, 7, 4, 1, 0)
    found = apart(on_path(even), on_path(quadratic))
    assert found < 0.1
    assert apart(by_departure(even), by_departure(quadratic)) > 5 * found
    assert apart(on_path(even), on_path(quadratic, SEED + 1)) > 15 * found


def test_an_image_has_its_noise_in_any_company():
    moves = [(None, 15), (15, 9), (9, 0)]
    whole, part = (taken(DDPM, moves, images=images) for images in (range(4, 12), range(7, 9)))
    other = taken(DDPM, moves, SEED + 1, range(7, 9))
    for of_whole, of_part, of_other in zip(whole, part, other, strict=True):
        assert torch.equal(of_whole[3:5], of_part)
        assert not torch.isclose(of_part, of_other).any()


@pytest.mark.parametrize("kind", ["ddim", "dpmsolver++2m"])
def test_chains_that_add_no_noise_start_from_the_same(kind):
    first, later, move = taken(replace(DDPM, kind=kind), [(None, 19), (None, 4), (19, 4)])
    start = normal(SEED, range(3), INIT, SHAPE)
    assert torch.equal(first, start) and torch.equal(later, start) and move is None


def test_with_less_noise_than_the_chain_has_starts_are_the_same_and_moves_on_the_path():
    some = replace(DDPM, kind="ddim", eta=0.5)
    start, last, *moves = taken(some, [(None, 9), (None, 19), (9, 2), (2, 0)])
    whole, *others = taken(DDPM, [(None, 19), (9, 2), (2, 0)])
    assert torch.equal(start, normal(SEED, range(3), INIT, SHAPE))
    assert torch.equal(last, start) and torch.equal(whole, start)  # the path begins there
    for move, other in zip(moves, others, strict=True):
        assert torch.equal(move, other)
        assert (start * move).double().mean().abs() < 4 / 384**0.5


@pytest.mark.parametrize(
    ("levels", "least"),
    [
        (noise_levels(50, "squaredcos_cap_v2", rescale_zero_terminal_snr=True), 0),
        (noise_levels(4000, "linear"), 1e-17),  # hundreds of timesteps where x_0 is all but gone
    ],
)
def test_where_nothing_of_x_0_is_left_there_is_noise_nevertheless(levels, least):
    assert levels[-1] <= least
    last = len(levels) - 1
    moves = [(None, last), (last, last - 1), (last - 1, last - 9), (last - 9, 0), (last, 0)]
    for noise in taken(replace(DDPM, alphas_cumprod=levels), moves, images=range(40)):
        assert noise.std() == pytest.approx(1, abs=0.05)


def test_what_later_moves_need_is_kept_and_nothing_else(monkeypatch):
    made, at = [], Path.at
    monkeypatch.setattr(Path, "at", lambda path, t: made.append(t) or at(path, t))
    moves = [(None, 15), (15, 9), (9, 4), (15, 6), (9, 0)]
    noise = ChainNoise(DDPM, SEED, range(3), SHAPE, "cpu", moves)
    kept = []
    for move in moves:
        noise.take(*move)
        kept.append(set(noise._known))
    assert kept == [{15}, {15, 9}, {15, 9}, {9}, set()]
    assert made == [15, 9, 4, 6, 0] and not noise._path._met


def test_a_chain_of_one_timestep():
    sampler = replace(DDPM, alphas_cumprod=DDPM.alphas_cumprod[:1])
    (start,) = taken(sampler, [(None, 0)])
    assert torch.equal(start, normal(SEED, range(3), INIT, SHAPE))


@pytest.mark.parametrize("move", [(None, 20), (None, -1), (20, 3), (9, 9), (3, 9), (3, -1)])
def test_moves_that_do_not_fall_within_the_chain_are_refused(move):
    with pytest.raises(ValueError, match=r"expected falling timesteps in 0 \.\. 19"):
        ChainNoise(DDPM, SEED, range(3), SHAPE, "cpu", [(None, 9), move])
