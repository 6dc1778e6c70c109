"""Chains on Gaussian data, against what sampling them gives."""

from dataclasses import replace

import pytest
import torch

from models.diffusion import noise_levels
from models.gaussian_chain import GaussianChain
from models.sampling import Sampler
from models.spectrum import Spectrum

LEVELS = noise_levels(1000, "linear")
STEPS = ((900, 1.0), (600, 1.0), (300, 1.0), (50, 1.0))
OWN = ((900, 1.0, 0.05), (600, 1.0, 0.2), (300, 1.0, 0.6), (50, 1.0, 0.99))
DATA = Spectrum(
    torch.tensor([1e-3, 0.2, 3.0], dtype=torch.float64),
    torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64),
)


def sampled(sampler, steps, data, count):
    """x_0 (count, n) of a chain whose network is the best denoiser, from unit noise."""
    generator = torch.Generator().manual_seed(1)

    def noise():
        shape = (count, len(data.variances))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, previous = noise(), None
    for step, end in zip(steps, [*steps[1:], None], strict=True):
        a = (
            sampler.alphas_cumprod[step[0]]
            if len(step) == 2
            else torch.tensor(step[2], dtype=torch.float64)
        )
        gain = a.sqrt() * data.variances / (a * data.variances + 1 - a)
        x_0 = data.means + gain * (x - a.sqrt() * data.means)
        output = (x - a.sqrt() * x_0) / (1 - a).sqrt()
        if sampler.prediction == "v_prediction":
            output = a.sqrt() * output - (1 - a).sqrt() * x_0
        own = [None if each is None or len(each) == 2 else each[2] for each in (step, end)]
        to = None if end is None else end[0]
        state = sampler.remember(x, output, step[0], own[0])
        x = sampler.move(x, output, step[0], to, noise(), previous, tuple(own))
        previous = state
    return x


@pytest.mark.parametrize("steps", [STEPS, OWN], ids=["chain", "own"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(
    "kind, eta", [("ddim", 0), ("ddim", 0.6), ("ddpm", 0), ("dpmsolver++2m", 0)]
)
def test_the_distance_is_that_of_samples(kind, eta, prediction, steps):
    sampler = Sampler(kind, LEVELS, eta, False, prediction)
    count = 200_000
    x = sampled(sampler, steps, DATA, count)
    missed = (x.std(dim=0) - DATA.variances.sqrt()).square()
    missed = missed + (x.mean(dim=0) - DATA.means).square()
    expected = (DATA.shares * missed).sum() / (DATA.shares * DATA.variances).sum()
    found = GaussianChain(sampler, DATA).loss(steps)
    assert found == pytest.approx(expected.item(), rel=0.05)


def test_levels_of_a_step_are_its_own():
    sampler = Sampler("ddim", LEVELS, 0.0, False)
    own = tuple((t, w, LEVELS[t].item()) for t, w in STEPS)
    chain = GaussianChain(sampler, DATA)
    assert chain.loss(own) == pytest.approx(chain.loss(STEPS), rel=1e-12)
    other = (own[0], (600, 1.0, LEVELS[500].item()), *own[2:])
    assert chain.loss(other) == pytest.approx(
        chain.loss((STEPS[0], (500, 1.0), *STEPS[2:])), rel=1e-12
    )


@pytest.mark.parametrize("kind", ["ddim", "ddpm", "dpmsolver++2m"])
def test_all_steps_leave_nearly_nothing(kind):
    chain = GaussianChain(Sampler(kind, LEVELS, 0.0, True), DATA)
    losses = [chain.loss([(t, 1.0) for t in range(999, -1, -every)]) for every in (200, 50, 10, 1)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-3


def test_a_chain_that_starts_late_misses_the_mean():
    sampler = Sampler("ddim", LEVELS, 0.0, False)
    steps = [(t, 1.0) for t in range(400, -1, -10)]
    centred = replace(DATA, means=torch.zeros(3, dtype=torch.float64))
    with_mean = GaussianChain(sampler, DATA).loss(steps)
    assert with_mean > 2 * GaussianChain(sampler, centred).loss(steps)
