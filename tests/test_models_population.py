"""A population through shared prefixes against every schedule sampled alone, to the bit."""

import weakref
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from toy_population import (
    BATCH,
    DDIM,
    DPM,
    SAMPLERS,
    SCHEDULES,
    SEED,
    SHAPE,
    alone,
    count_calls,
    prefixes,
    sample,
    together,
)

from models import chain_noise
from models.conditioning import Conditioning
from models.diffusion import noise_levels
from models.noise import INIT
from models.population import sample_population
from models.sampling import Sampler
from models.states import StateCache


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("images", [range(8), range(3, 8)])
def test_together_is_one_by_one(sampler, images):
    expected = torch.stack([alone(sampler, steps, images) for steps in SCHEDULES])
    assert torch.equal(together(sampler, SCHEDULES, images), expected)
    assert len(expected.flatten(1).unique(dim=0)) > len(SCHEDULES) // 2


@pytest.mark.parametrize("sampler", [DDIM, DPM])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_together_is_one_by_one_where_images_have_labels(sampler, guidance):
    told, states = Conditioning(3, guidance), StateCache(1 << 20)
    for images in (range(8), range(3, 8), range(10, 14)):
        expected = torch.stack([alone(sampler, s, images, guidance) for s in SCHEDULES])
        assert torch.equal(together(sampler, SCHEDULES, images, states, told), expected)
    calls = count_calls(lambda: together(sampler, SCHEDULES, images, None, told))
    assert calls == len(prefixes(SCHEDULES)) * (1 if guidance == 1 else 2)
    assert states.calls == 3 * len(prefixes(SCHEDULES))  # each kept, none found again


def test_samples_differ_by_label_and_by_guidance():
    def labelled(*arguments):
        return together(DDIM, SCHEDULES[:1], range(8), None, Conditioning(3, *arguments))[0]

    in_turn, zeros, ones = labelled(), labelled(1.0, 0), labelled(1.0, 1)
    is_zero = torch.tensor([k % 3 == 0 for k in range(8)])
    assert torch.equal(in_turn[is_zero], zeros[is_zero])
    assert ((zeros - ones).abs().flatten(1).amax(1) > 1e-3).all()
    assert ((zeros - labelled(2.0, 0)).abs().flatten(1).amax(1) > 1e-4).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_order_of_schedules_changes_no_bit(sampler):
    order = torch.randperm(len(SCHEDULES), generator=torch.Generator().manual_seed(0))
    shuffled = [SCHEDULES[index] for index in order]
    expected = together(sampler, SCHEDULES, range(8))[order]
    assert torch.equal(together(sampler, shuffled, range(8)), expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_division_into_blocks_changes_no_bit(sampler):
    def in_blocks(bounds):
        blocks = [together(sampler, SCHEDULES[:6], range(a, b)) for a, b in pairwise(bounds)]
        return torch.cat(blocks, dim=1)

    assert torch.equal(in_blocks((0, 8, 16, 19)), in_blocks((0, 5, 12, 13, 19)))


def test_every_prefix_is_one_call():
    calls = count_calls(lambda: together(DDIM, SCHEDULES, range(8)))
    assert calls == len(prefixes(SCHEDULES)) < sum(map(len, SCHEDULES))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_noise_is_made_once_a_timestep_and_only_where_it_is_added(sampler, monkeypatch):
    drawn, made = [], []
    drawing, leading = chain_noise.normal, chain_noise.Path.at

    def noting_streams(seed, images, stream, shape):
        drawn.append(stream)
        return drawing(seed, images, stream, shape)

    def noting_timesteps(path, t):
        made.append(t)
        return leading(path, t)

    monkeypatch.setattr(chain_noise, "normal", noting_streams)
    monkeypatch.setattr(chain_noise.Path, "at", noting_timesteps)
    together(sampler, SCHEDULES, range(8))
    met = {t for steps in SCHEDULES for t, _ in steps if sampler.is_ancestral or len(steps) > 1}
    if not sampler.adds_noise:
        assert (drawn, made) == ([INIT], [99])
    else:
        assert sorted(made) == sorted(met | {99} if not sampler.is_ancestral else met)
        assert len(drawn) <= 6 * len(made)


@pytest.mark.parametrize("sampler", [DDIM, replace(DDIM, kind="ddpm"), DPM])
def test_memory_is_bounded_by_the_open_branches(sampler, monkeypatch):
    """Where the chain of one schedule has no branches ahead, nothing of its past is kept."""
    made, most = weakref.WeakSet(), 0

    class Noting(Sampler):
        def move(self, *arguments):
            x = super().move(*arguments)
            made.add(x)
            return x

        def remember(self, *arguments):
            history = super().remember(*arguments)
            if history is not None:
                made.add(history.x_0)
            return history

    def noting(*arguments):
        noise = drawing(*arguments)
        made.add(noise)
        return noise

    def network(x, t):
        nonlocal most
        most = max(most, len(made))
        return 0.5 * x

    drawing = chain_noise.copied
    monkeypatch.setattr(chain_noise, "copied", noting)
    noting_sampler = Noting(sampler.kind, sampler.alphas_cumprod)
    trunk = [(t, 1.0) for t in range(99, 0, -1)]

    def most_alive(schedules):
        nonlocal most
        most = 0
        for _ in sample({1.0: network}, noting_sampler, schedules, range(8)):
            pass
        return most

    past = sampler.kind == "dpmsolver++2m"  # remembered beside a state
    led = 8 if sampler.adds_noise else 0
    assert most_alive([trunk]) <= 2 + past + led
    ends = [[*trunk[:2], (t, 1.0)] for t in range(50)]
    # Two states, the noise between them, an x_0 that was handed out; and what leads to that noise
    assert most_alive(ends) <= 4 + past + led
    branches = [trunk[:at] + trunk[at + 1 :] for at in range(10, 90, 5)]
    # Where noise is added, also one for each timestep that is still to come
    assert most_alive([trunk, *branches]) <= 4 + 2 * past + led + (
        len(trunk) if sampler.adds_noise else 0
    )
    assert not made


def test_schedules_of_a_thousand_steps():
    schedules = [[(t, 1.0) for t in range(999, -1, -1)], [(t, 0.5) for t in range(999, -1, -1)]]
    sampler = Sampler("ddim", noise_levels(1000, "linear"))
    networks = {1.0: lambda x, t: x, 0.5: lambda x, t: x}
    samples = dict(sample(networks, sampler, schedules, range(2)))
    assert torch.equal(samples[0], samples[1]) and samples[0].isfinite().all()


def test_bad_populations_are_refused():
    with pytest.raises(ValueError, match="block of 9 images; expected at most the batch, 8"):
        together(DDIM, SCHEDULES, range(9))
    with pytest.raises(ValueError, match="a schedule without steps"):
        together(DDIM, [SCHEDULES[0], []], range(8))


@pytest.mark.parametrize("sampler", [DDIM, DPM], ids=["ddim", "dpm"])
def test_a_step_with_the_level_of_another_timestep_is_that_timestep(sampler):
    def network(x, t):
        return torch.tanh(x + t[:, None, None, None] / 100)

    levels = sampler.alphas_cumprod
    plain = [(90, 1.0), (50, 1.0), (7, 1.0)]
    moved = [(95, 1.0, levels[90].item()), (60, 1.0, levels[50].item()), (7, 1.0)]
    found = dict(
        sample_population(
            {1.0: network}, sampler, [plain, moved, plain[1:]],
            seed=SEED, images=range(5), shape=SHAPE, batch=BATCH,
        )
    )  # fmt: skip
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    with pytest.raises(ValueError, match="expected rising levels"):
        list(
            sample_population(
                {1.0: network}, sampler, [[(90, 1.0, 0.99), (50, 1.0)]],
                seed=SEED, images=range(5), shape=SHAPE, batch=BATCH,
            )
        )  # fmt: skip
