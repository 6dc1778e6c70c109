"""The steps that would be best of Gaussian data, and what a learning begins with."""

from itertools import combinations

import pytest
import torch

from models.gaussian_chain import GaussianChain
from models.spectrum import error, spectrum_of
from orchestration import chains
from orchestration import config as configs
from orchestration.mask_fit import Learned
from orchestration.mask_gaussian import first_masks, gaussian_masks
from orchestration.mask_plan import known_masks, make_chain

VARIANCES = torch.tensor([1e-3, 0.03, 0.3, 3.0], dtype=torch.float64)  # each of a quarter


def asked(*overrides, variances=VARIANCES):
    """The configuration, its chain, what was learned of such data, and the loss of their masks."""
    config = configs.load(None, ["search.budget=1", "mask.steps=[4]", *overrides])
    chain = make_chain(config)
    errors = error(chain.grid[:, None], variances).mean(dim=1)
    learned = Learned([], [(0, 1, 2, 3)], errors, variances.mean().item() + 0.3, [], 0, [])
    sampler = chains.sampler_of(chains.baseline(config))
    data = spectrum_of(chain.grid, learned.errors, learned.second_moment)
    gaussian = GaussianChain(sampler, data)
    return config, chain, learned, lambda mask: gaussian.loss(chain.steps(mask))


@pytest.mark.parametrize("form", ["respaced", "literal"])
@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmsolver++2m"])
@pytest.mark.parametrize("num_steps", [1, 3, 12])
def test_it_is_about_the_best_of_all(num_steps, name, form):
    """By brute force over 12 candidates; the spacings after it, the best first."""
    config, chain, learned, loss = asked(
        f"sampler.name={name}", f"mask.form={form}", "mask.candidates=12", "mask.steps=[1]"
    )
    found, *known = gaussian_masks(config, chain, learned, num_steps)
    best = min(combinations(range(12), num_steps), key=loss)
    assert loss(found) <= 1.03 * loss(best)
    losses = [loss(mask) for mask in known]
    assert losses == sorted(losses)
    assert {found, *known} == {found, *known_masks(chain, num_steps)}


def test_it_is_better_than_all_known_spacings():
    config, chain, learned, loss = asked()
    found, *known = gaussian_masks(config, chain, learned, 4)
    assert loss(found) < 0.95 * min(map(loss, known))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_chain_that_ends_in_noise_alone_has_one(prediction):
    config, chain, learned, loss = asked(
        f"diffusion.prediction={prediction}", "diffusion.rescale_zero_terminal_snr=true"
    )
    assert 0 < loss(gaussian_masks(config, chain, learned, 4)[0]) < 1


def test_of_less_variance_it_minds_cleaner_steps():
    """What noise hides is decided later in the chain."""
    times = []
    for variances in (VARIANCES, VARIANCES / 100):
        config, chain, learned, _ = asked(variances=variances)
        found, *_ = gaussian_masks(config, chain, learned, 4)
        times.append(sum(chain.timesteps[i] for i in found))
    assert times[1] < times[0]


def test_a_learning_begins_with_the_elbos_steps_and_the_gaussian_ones():
    config, chain, learned, _ = asked()
    masks = gaussian_masks(config, chain, learned, 4)
    assert first_masks([4], chain, learned, {4: masks}) == {4: [(0, 1, 2, 3), *masks]}
    plain = first_masks([4], chain, learned, {})
    assert plain == {4: [(0, 1, 2, 3), *known_masks(chain, 4)]}
