"""The steps that would be best of Gaussian data."""

import pytest

from models.gaussian_chain import GaussianChain
from models.spectrum import error, spectrum_of
from orchestration import config as configs
from orchestration import setting
from orchestration.mask_fit import Learned
from orchestration.mask_gaussian import gaussian_masks, known_masks
from orchestration.mask_plan import make_chain

VARIANCE = 0.3


def asked(*overrides, variance=VARIANCE):
    """The configuration, its chain, what was learned of such data, and the loss of their masks."""
    config = configs.load(None, ["search.budget=1", "mask.steps=[4]", *overrides])
    chain = make_chain(config)
    learned = Learned([], [], error(chain.grid, variance), variance, [], 0, [])
    sampler = setting.sampler_of(setting.baseline(config))
    data = spectrum_of(chain.grid, learned.errors, learned.second_moment)
    gaussian = GaussianChain(sampler, data)
    return config, chain, learned, lambda mask: gaussian.loss(chain.steps(mask))


@pytest.mark.parametrize("form", ["respaced", "literal"])
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmsolver++2m"])
def test_it_is_better_than_all_known_spacings(name, form):
    config, chain, learned, loss = asked(f"sampler.name={name}", f"mask.form={form}")
    found, *known = gaussian_masks(config, chain, learned, 4)
    assert len(found) == 4 and tuple(sorted(found)) == found
    losses = [loss(mask) for mask in known]
    assert losses == sorted(losses) and loss(found) < losses[0]
    assert set(known) == set(known_masks(chain, 4))


def test_of_less_variance_it_minds_cleaner_steps():
    """What noise hides is decided later in the chain."""
    times = []
    for variance in (0.3, 0.003):
        config, chain, learned, _ = asked(variance=variance)
        found, *_ = gaussian_masks(config, chain, learned, 4)
        times.append(sum(chain.timesteps[i] for i in found))
    assert times[1] < times[0]
