from types import SimpleNamespace

import pytest
import torch

from models.diffusion import noise_levels
from orchestration import chains, pipeline
from orchestration import config as configs


def load(*overrides):
    few = ("search.budget=1", "search.steps=5", "diffusion.num_train_timesteps=500")
    return configs.load(None, [*few, "supernet.widths=[1, .5]", *overrides])


def test_a_configured_chain_is_the_samplers():
    config = load(
        "diffusion.betas=cosine",
        "diffusion.prediction=v_prediction",
        "diffusion.rescale_zero_terminal_snr=true",
        "search.spacing=trailing",
        "sampler.name=dpmsolver++2m",
    )
    chain = chains.baseline(config)
    assert chain.steps == tuple((t, 1.0) for t in (499, 399, 299, 199, 99))
    assert chain.to_json()["betas"] == "squaredcos_cap_v2"
    moves = chains.sampler_of(chain)
    assert (moves.kind, moves.prediction) == ("dpmsolver++2m", "v_prediction")
    expected = noise_levels(500, "squaredcos_cap_v2", True)
    assert torch.equal(moves.alphas_cumprod, expected) and expected[-1] == 0
    uniform = [chains.space(config).decode(g) for g in chains.space(config).uniform()]
    assert all(steps[0][0] == 499 for steps in uniform)


def test_the_baseline_runs_every_grid_timestep_at_full_width_on_the_configured_chain():
    config = load("sampler.eta=.5", "sampler.clip_sample=false")
    chain = chains.baseline(config)
    assert chain.steps == ((400, 1.0), (300, 1.0), (200, 1.0), (100, 1.0), (0, 1.0))
    assert (chain.sampler, chain.eta, chain.clip_sample) == ("ddim", 0.5, False)
    assert chain.num_train_timesteps == 500
    space = chains.space(config)
    assert space.decode(space.uniform()[0]) == chain.steps and space.widths == (1.0, 0.5)
    moves = chains.sampler_of(chain)
    assert (moves.kind, moves.eta, moves.clip_sample) == ("ddim", 0.5, False)
    assert len(moves.alphas_cumprod) == 500
    assert moves.alphas_cumprod[0].item() == pytest.approx(1 - 1e-4)


def test_results_of_samplers_that_add_noise_are_known_by_how_it_is_made(monkeypatch):
    """A search is not gone on with on noise of another kind; one without noise minds nothing."""
    cost, chosen = SimpleNamespace(name="macs"), SimpleNamespace(supernet="a", extractor="b")

    def named():
        return [
            pipeline.search_fingerprint(
                configs.load(None, ["search.budget=1", *sampler]), chosen, cost
            )
            for sampler in ([], ["sampler.eta=0.5"], ["sampler.name=ddpm"])
        ]

    before = named()
    monkeypatch.setattr(chains, "NOISE", "other")
    assert [old == new for old, new in zip(before, named(), strict=True)] == [True, False, False]
