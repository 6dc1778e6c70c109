import math
from itertools import combinations

import pytest
import torch

from models.diffusion import linear_betas, noise_levels
from models.elbo import (
    ErrorCurve,
    best_subsets,
    mask_levels,
    negative_elbo,
    prior,
    reconstruction,
    snr,
)
from models.masking import draw_masks

VARIANCE = 0.3  # of Gaussian data


def grid_levels(count, timesteps=1000):
    return noise_levels(timesteps, "linear")[torch.arange(count) * timesteps // count]


def gaussian_error(levels):
    """Mean of (eps - E[eps | x_t])^2 where x_0 is Gaussian: the variance of eps given x_t."""
    return levels * VARIANCE / (levels * VARIANCE + 1 - levels)


def cost_of(steps, levels):
    """The cost of kept candidates, written out."""
    steps = sorted(steps)
    error = gaussian_error(levels)
    total = reconstruction(levels[steps[0]], error[steps[0]])
    for s, t in zip(steps, steps[1:], strict=False):
        total = total + 0.5 * (snr(levels[s]) / snr(levels[t]) - 1) * error[t]
    return (total + prior(levels[steps[-1]], VARIANCE)).item()


def as_mask(steps, count):
    mask = torch.zeros(count, dtype=torch.bool)
    mask[list(steps)] = True
    return mask


def test_a_move_costs_the_divergence_of_the_two_gaussians():
    """KL of q(x_s | x_t, x_0) and p(x_s | x_t), whose means differ by what x_0 was missed by."""
    a_s, a_t, missed = 0.8, 0.5, 0.37
    variance = (1 - a_s) / (1 - a_t) * (1 - a_t / a_s)
    mean_gap = math.sqrt(a_s) * (1 - a_t / a_s) / (1 - a_t) * missed
    levels = torch.tensor([[a_s, a_t]], dtype=torch.float64)
    error = missed**2 * snr(levels)  # of eps
    both = negative_elbo(torch.ones(1, 2, dtype=torch.bool), levels, error, 1.0)
    rest = reconstruction(levels[0, 0], error[0, 0]) + prior(levels[0, 1], 1.0)
    assert (both - rest).item() == pytest.approx(mean_gap**2 / (2 * variance))


def test_the_prior_is_a_divergence_from_unit_noise():
    assert prior(torch.tensor(0.0), 5.0).item() == 0
    exact = 0.5 * (0.2 * 1.7 + 0.8 - 1 - math.log(0.8))
    assert prior(torch.tensor(0.2, dtype=torch.float64), 1.7).item() == pytest.approx(exact)


def test_a_finer_chain_of_an_exact_denoiser_comes_near_to_the_entropy_of_the_data():
    """From above: it is a bound, and a level more between two others makes it tighter."""
    entropy = 0.5 * math.log(2 * math.pi * math.e * VARIANCE)
    log_snr = torch.linspace(7.0, -11.0, 4097, dtype=torch.float64)
    costs = [cost_of(range(0, 4097, gap), torch.sigmoid(log_snr)) for gap in (512, 64, 1)]
    assert costs == sorted(costs, reverse=True)
    assert 0 < costs[-1] - entropy < 0.01


def test_the_cost_of_many_masks_is_that_of_each():
    levels = grid_levels(12)
    masks = draw_masks(torch.full((12,), 0.4).double(), 40, seed=0, stream=0, draws="independent")
    errors = gaussian_error(levels).expand(masks.shape)
    found = negative_elbo(masks, mask_levels(masks, levels, "respaced"), errors, VARIANCE)
    expected = [cost_of(mask.nonzero()[:, 0].tolist(), levels) for mask in masks]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_the_literal_form_adds_only_the_noise_of_what_is_kept():
    betas = linear_betas(6, 0.05, 0.4)
    levels = torch.cumprod(1 - betas, 0)
    masks = torch.tensor([[True] * 6, [False, True, False, False, True, False]])
    found = mask_levels(masks, levels, "literal")
    torch.testing.assert_close(found[0], levels)
    kept = found[1][masks[1]]
    torch.testing.assert_close(kept[0], 1 - betas[1])
    torch.testing.assert_close(kept[1], (1 - betas[1]) * (1 - betas[4]))
    assert found[1, 0] == 1  # before the first kept step there is no noise, and nothing is 0/0
    cost = negative_elbo(masks, found, gaussian_error(found), VARIANCE)
    assert cost.isfinite().all()
    # With few steps the chain does not end in noise, and the prior says so
    assert prior(found[1, -1], VARIANCE) > 5 * prior(found[0, -1], VARIANCE)


def test_another_form_is_refused():
    with pytest.raises(ValueError, match="form is 'loose'; expected one of respaced, literal"):
        mask_levels(torch.ones(1, 2, dtype=torch.bool), torch.tensor([0.5, 0.4]), "loose")


def test_the_best_subsets_are_those_of_brute_force():
    levels = grid_levels(10)
    found = best_subsets(levels, gaussian_error(levels), VARIANCE, (1, 2, 3, 5, 10))
    for size, (mask, cost) in found.items():
        best = min(combinations(range(10), size), key=lambda steps: cost_of(steps, levels))
        assert torch.equal(mask, as_mask(best, 10))
        assert cost == pytest.approx(cost_of(best, levels))
    with pytest.raises(ValueError, match=r"sizes are \[11\]; expected 1 to 10"):
        best_subsets(levels, gaussian_error(levels), VARIANCE, (11,))


def test_the_error_curve_is_read_where_it_was_written():
    levels = grid_levels(8)
    curve = ErrorCurve(levels)
    with pytest.raises(ValueError, match="without observations"):
        curve(levels)
    curve.add(curve.tally(levels[[2, 2, 5]], torch.tensor([1.0, 3.0, 6.0])))
    found = curve(levels)
    assert found[2] == 2 and found[5] == 6 and found[0] == 2 and found[7] == 6
    assert 2 < found[3] < found[4] < 6
    torch.testing.assert_close(curve(levels[None].expand(3, 8)), found.expand(3, 8))


def test_levels_between_those_of_the_grid_count_for_the_nearer():
    levels = grid_levels(8)
    curve = ErrorCurve(levels)
    between = torch.sigmoid(torch.lerp(snr(levels[4]).log(), snr(levels[5]).log(), 0.4))
    added = curve.tally(between[None], torch.tensor([7.0]))
    assert added[0].nonzero().tolist() == [[4]] and added[:, 4].tolist() == [7, 1]


def test_a_curve_that_forgets_follows_what_changes():
    levels = grid_levels(4)
    curve = ErrorCurve(levels, memory=0.5)
    for error in (8.0, 0.0):
        curve.add(curve.tally(levels[:1], torch.tensor([error])))
    assert curve(levels)[0].item() == pytest.approx(4 / 1.5)
