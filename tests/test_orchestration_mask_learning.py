"""Learning s where all errors are known: the chain of Gaussian data, whose best masks are too."""

import itertools

import pytest
import torch

from models.diffusion import noise_levels
from models.elbo import best_subsets
from models.masking import top_k, undecided
from orchestration.mask_learning import MaskLearner
from orchestration.mask_plan import Chain
from orchestration.search_sections import Mask
from search_spaces.schedule import even_grid
from search_spaces.spacing import known_grids, nearest

VARIANCE = 0.3  # of the data
CHAIN = Chain(tuple(reversed(even_grid(1000, 50))), noise_levels(1000, "linear"), "respaced")
NEAR = 0.008
"""Nats a dimension: 1 % of the likelihood that the ELBO bounds, the entropy of the data (.817).

The best masks themselves are .069 (20 steps), .076 (10) and .110 (5) from the entropy of the data,
and the best of the known spacings is worse than they are by 29, 1.2 and .52.
"""


def errors_of(chain):
    """Mean squared errors of eps given x_t, exact."""
    return chain.grid * VARIANCE / (chain.grid * VARIANCE + 1 - chain.grid)


def excesses(learner):
    """By how much the best mask met, and the likeliest steps of s, cost more than the optimum."""
    sizes, chain = learner.settings.steps, learner.chain
    best = best_subsets(chain.grid, errors_of(chain), VARIANCE, sizes)
    found = []
    for row, k in enumerate(sizes):
        masks = torch.stack([learner.best[row], top_k(learner.s[row], k)])
        found.append((learner.costs(masks) - best[k][1]).tolist())
    return found


def learned(num_updates, chain=CHAIN, **settings):
    """By exact errors, and in all else as `jobs.mask` does."""
    learner = MaskLearner(Mask(**settings), chain, VARIANCE, num_updates)
    errors = errors_of(chain)
    learner.curve.add(torch.stack([errors, torch.ones_like(errors)]))
    for _ in range(num_updates):
        learner.update()
    return learner


def test_known_spacings_are_far_from_the_optimum():
    """What `NEAR` is to be held against."""
    learner = learned(0)
    best = best_subsets(CHAIN.grid, errors_of(CHAIN), VARIANCE, (20, 10, 5))
    for k in (20, 10, 5):
        known = [nearest(CHAIN.timesteps, grid) for grid in known_grids(1000, k).values()]
        costs = learner.costs(torch.stack([CHAIN.mask(kept) for kept in known]))
        assert costs.min().item() - best[k][1] > 40 * NEAR


SEEDS = [0, *(pytest.param(n, marks=pytest.mark.proof) for n in (1, 2))]


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_find_the_best_steps_or_come_near(seed):
    learner = learned(1000, seed=seed)
    for row, of_k in enumerate(excesses(learner)):
        assert max(of_k) < NEAR
        assert undecided(learner.s[row]) <= 0.02


@pytest.mark.parametrize("seed", SEEDS)
def test_so_they_do_on_the_chain_of_time_series(seed):
    """CSDI's: 50 timesteps, all of them candidates."""
    chain = Chain(tuple(range(50)), noise_levels(50, "quadratic"), "respaced")
    learner = learned(1000, chain, steps=(10, 5), seed=seed)
    assert max(itertools.chain(*excesses(learner))) < NEAR


@pytest.mark.parametrize(("timesteps", "betas"), [(1000, "linear"), (50, "quadratic")])
def test_literal_masks_come_near_the_best_of_all(timesteps, betas):
    """Of so few candidates all masks can be compared."""
    grid = tuple(reversed(even_grid(timesteps, 12)))
    chain = Chain(grid, noise_levels(timesteps, betas), "literal")
    learner = learned(500, chain, steps=(6, 3), candidates=12)
    for row, k in enumerate((6, 3)):
        kept = itertools.combinations(range(12), k)
        least = learner.costs(torch.stack([chain.mask(each) for each in kept])).min()
        assert learner.best[row].sum() == k
        assert learner.costs(learner.best[row][None]).item() < least + NEAR


@pytest.mark.parametrize("draws", ["pivotal", "independent"])
def test_what_the_network_runs_under_is_drawn_as_asked(draws):
    """The ELBO's own masks cost no call, and are independent bits in both cases."""
    learner, bits = learned(300, draws=draws), learned(300, draws="independent")
    assert torch.equal(learner.s, bits.s)
    counts = learned(100, draws=draws).draw(0, 200, stream=7).sum(dim=1)
    assert (counts.max() - counts.min() <= 1) == (draws == "pivotal")


@pytest.mark.parametrize("form", ["respaced", "literal"])
def test_steps_that_were_given_up_are_taken_in_again_by_what_they_cost_least(form):
    """So that s has as much mass as steps were asked for; the best mask stays the best of all."""
    chain = Chain(CHAIN.timesteps, CHAIN.alphas_cumprod, form)
    learner = learned(0, chain, steps=(4,))
    learner.total = 1
    learner.s[:] = chain.mask((0, 30)).double()
    learner.best = chain.mask((1, 2, 3, 4))[None]
    learner.update()
    expected = chain.mask((0, 30))
    while expected.sum() < 4:  # brute force, a step at a time
        others = [chain.mask((i,)) | expected for i in range(50) if not expected[i]]
        expected = min(others, key=lambda m: learner.costs(m[None]).item())
    assert torch.equal(learner.s[0] > 0.5, expected) and learner.s.sum() == pytest.approx(4)
    for better in (chain.mask((5, 15, 25, 35)), learner.best[0]):
        learner.best = better[None]
        learner._fill()
        both = torch.stack([better, expected])
        assert torch.equal(learner.best[0], both[learner.costs(both).argmin()])


@pytest.mark.parametrize(
    ("timesteps", "betas", "variance", "seed"),
    [(1000, "linear", 1.0, 1), (50, "quadratic", 0.3, 2)],
)
def test_masks_of_fewer_steps_do_not_take_the_place_of_those_asked_for(
    timesteps, betas, variance, seed, monkeypatch
):
    """In the literal form they may cost less; filled up they cost more than others."""
    grid = tuple(reversed(even_grid(timesteps, 50)))
    chain = Chain(grid, noise_levels(timesteps, betas), "literal")
    errors = chain.grid * variance / (chain.grid * variance + 1 - chain.grid)
    learner = MaskLearner(Mask(steps=(5,), seed=seed), chain, variance, 400)
    learner.curve.add(torch.stack([errors, torch.ones_like(errors)]))
    met, keep = [], learner._keep

    def kept(row, masks):
        met.append(masks[masks.sum(dim=1) == 5])
        keep(row, masks)

    monkeypatch.setattr(learner, "_keep", kept)
    for _ in range(400):
        learner.update()
    ended = torch.stack([learner.best[0], top_k(learner.s[0], 5)])
    costs = learner.costs(ended)
    assert learner.best[0].sum() == 5 and costs[0] <= costs[1] + 1e-12
    assert costs[0] <= learner.costs(torch.cat(met)).min() + 1e-12
