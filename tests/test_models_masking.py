from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from models.masking import (
    advantages,
    at_equal_count,
    blurred,
    budget_at,
    draw_masks,
    explored,
    natural_step,
    project,
    ranked,
    standardised,
    top_k,
    undecided,
)


def all_masks(size):
    return torch.tensor(list(product([False, True], repeat=size)))


def probabilities(s, masks):
    return torch.where(masks, s, 1 - s).prod(dim=1)


def uneven(masks):
    """A loss that no sum over bits gives."""
    weights = torch.arange(1.0, masks.shape[1] + 1, dtype=torch.float64)
    return (masks.double() @ weights - 4).square() + masks[:, 0] * masks[:, -1] * 3.0


def score_gradient(s, masks, losses, least=1e-6):
    """The policy gradient, as papers have it: an unbiased estimate of d E[loss] / d s (S,)."""
    score = (masks.double() - s) / (s * (1 - s)).clamp(min=least)
    return (advantages(losses)[:, None] * score).mean(dim=0)


S = torch.tensor([0.2, 0.5, 0.7, 0.9], dtype=torch.float64)


def test_the_gradient_is_that_of_the_exact_sum_over_all_masks():
    s = S.clone().requires_grad_()
    everything = all_masks(4)
    (probabilities(s, everything) * uneven(everything)).sum().backward()
    groups = draw_masks(S, 8000, seed=0, stream=0, draws="independent").view(-1, 4, 4)
    estimates = torch.stack([score_gradient(S, masks, uneven(masks)) for masks in groups])
    error = estimates.std(dim=0) / len(estimates) ** 0.5
    assert ((estimates.mean(dim=0) - s.grad).abs() < 4 * error).all()
    assert (error < 0.1 * s.grad.abs().max()).all()


def test_with_two_masks_the_gradient_is_exact_in_expectation():
    """All pairs of masks, weighted by their probability: no sampling at all."""
    s = S[:3].clone().requires_grad_()
    everything = all_masks(3)
    weights = probabilities(s, everything)
    (weights * uneven(everything)).sum().backward()
    weights = weights.detach()
    expected = torch.zeros(3, dtype=torch.float64)
    for i, j in product(range(8), repeat=2):
        pair = everything[[i, j]]
        expected += weights[i] * weights[j] * score_gradient(S[:3], pair, uneven(pair))
    torch.testing.assert_close(expected, s.grad)


def test_a_constant_added_to_the_losses_changes_nothing():
    masks = draw_masks(S, 8, seed=1, stream=0, draws="independent")
    losses = uneven(masks)
    torch.testing.assert_close(
        score_gradient(S, masks, losses), score_gradient(S, masks, losses + 1e3)
    )


def test_the_natural_step_is_the_gradient_times_the_variance_of_the_bits():
    masks = draw_masks(S, 6, seed=1, stream=0, draws="independent")
    losses = uneven(masks)
    step = natural_step(S, masks, advantages(losses), 1e-3) - S
    expected = -1e-3 * S * (1 - S) * score_gradient(S, masks, losses)
    torch.testing.assert_close(step, expected)


def test_what_is_certain_does_not_move_and_makes_no_nan():
    s = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    masks = draw_masks(s, 8, seed=0, stream=0, draws="independent")
    assert not masks[:, 0].any() and masks[:, 1].all()
    losses = uneven(masks)
    assert score_gradient(s, masks, losses).isfinite().all()
    assert natural_step(s, masks, standardised(losses), 0.5)[:2].tolist() == [0, 1]


@pytest.mark.parametrize("draws", ["independent", "pivotal"])
def test_masks_have_the_marginals_that_they_are_drawn_by(draws):
    s = torch.tensor([0.1, 0.9, 1.0, 0.3, 0.05, 0.45, 0.2], dtype=torch.float64)
    masks = draw_masks(s, 20000, seed=3, stream=1, draws=draws)
    assert ((masks.double().mean(dim=0) - s).abs() < 0.015).all()


def test_pivotal_masks_have_as_many_steps_as_there_is_mass():
    s = project(torch.rand(50, generator=torch.manual_seed(0), dtype=torch.float64), 7)
    counts = {
        draws: draw_masks(s, 500, seed=3, stream=1, draws=draws).sum(dim=1).double()
        for draws in ("independent", "pivotal")
    }
    assert (counts["pivotal"] - 7).abs().max() <= 1 and counts["independent"].std() > 1.5


def test_an_empty_mask_keeps_the_likeliest():
    s = torch.tensor([1e-9, 2e-9, 1e-9], dtype=torch.float64)
    assert draw_masks(s, 2, seed=0, stream=0, draws="independent").tolist() == [
        [False, True, False]
    ] * 2


def test_other_draws_are_refused():
    with pytest.raises(ValueError, match="draws is 'even'; expected one of pivotal, indep"):
        draw_masks(S, 2, seed=0, stream=0, draws="even")


def test_a_single_mask_has_no_baseline():
    with pytest.raises(ValueError, match="1 mask; expected at least 2"):
        advantages(torch.ones(1))


def test_advantages_leave_their_own_loss_out():
    losses = torch.tensor([1.0, 5.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(advantages(losses), torch.tensor([-3.0, 3.0, 0.0]).double())
    assert standardised(torch.ones(3)).tolist() == [0, 0, 0]
    assert (ranked(torch.tensor([1.0, 9e9, 2.0])).diff() > 0).tolist() == [True, False]
    assert standardised(losses).square().mean() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_the_projection_is_the_nearest_point_that_a_solver_finds(seed):
    rng = np.random.default_rng(seed)
    z, budget = rng.uniform(-0.5, 1.6, 12), float(rng.uniform(1, 5))
    found = minimize(
        lambda s: ((s - z) ** 2).sum(),
        np.full(12, 0.1),
        bounds=[(0, 1)] * 12,
        constraints={"type": "ineq", "fun": lambda s: budget - s.sum()},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    ours = project(torch.from_numpy(z), budget)
    np.testing.assert_allclose(ours.numpy(), found.x, atol=1e-5)
    assert ours.sum() <= budget


def test_a_point_within_the_budget_stays():
    assert torch.equal(project(S, 3.0), S)
    with pytest.raises(ValueError, match="budget is 0; expected a number above 0"):
        project(S, 0)


def test_the_ramp_begins_and_ends_where_it_should_and_never_rises():
    budgets = [budget_at(share / 100, 0.1, 0.8, 50, 5) for share in range(101)]
    assert budgets[:11] == [50] * 11 and budgets[80:] == [5] * 21
    assert all(a >= b for a, b in zip(budgets, budgets[1:], strict=False))
    assert budgets[45] == pytest.approx(5 + 45 / 8)
    with pytest.raises(ValueError, match="a ramp from 0.5 to 0.5; expected"):
        budget_at(0, 0.5, 0.5, 50, 5)


def test_the_likeliest_are_kept():
    s = torch.tensor([0.3, 0.9, 0.3, 1.0], dtype=torch.float64)
    assert top_k(s, 3).tolist() == [True, True, False, True]
    assert undecided(s) == 0.75


def test_blurring_moves_mass_to_neighbours_and_loses_none():
    spread = blurred(torch.eye(9, dtype=torch.float64)[0] + torch.eye(9)[4].double(), 1.0)
    assert spread.sum() == pytest.approx(2) and spread[4] > spread[5] > spread[8] > 0


def test_what_losses_owe_to_the_count_is_taken_off_where_the_budget_binds():
    masks = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=torch.bool)
    ours = torch.tensor([0.0, 1.0, -1.0, 0.0], dtype=torch.float64)  # of no slope
    losses = ours - 5 * masks.sum(dim=1)
    found = at_equal_count(losses, masks)
    torch.testing.assert_close(found - found.mean(), ours - ours.mean())
    assert torch.equal(at_equal_count(losses, masks, slack=0.5), losses)
    assert torch.equal(at_equal_count(losses[:2], masks[:2]), losses[:2])


def test_nothing_is_certain_before_the_learning_is_nearly_over():
    s = torch.tensor([0.0, 0.5, 1.0, 0.2], dtype=torch.float64)
    assert explored(s, 0).tolist() == [0.25, 0.5, 0.75, 0.25]
    assert torch.equal(explored(s, 0.8), s) and torch.equal(explored(s, 1.0), s)
