from collections import Counter

import pytest
import torch
from torch import nn

from models.diffusion import add_noise, noise_levels
from models.losses import SandwichLoss, sandwich_widths

LEVELS = noise_levels(100, "linear")


class _Scaled(nn.Module):
    """Predicts width x weight x x_t + t, so that every argument shows in the loss."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7))

    def forward(self, x_t, t, width):
        return width * self.weight * x_t + t.view(-1, 1, 1, 1) / 100


def _batch(k):
    x_0, eps = torch.rand(4, 2, 3, 3) * 2 - 1, torch.randn(k, 4, 2, 3, 3)
    return x_0, torch.randint(100, (k, 4)), eps


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_loss_by_brute_force(prediction):
    x_0, t, eps = _batch(3)
    widths = (1.0, 0.25, 0.5)
    losses = SandwichLoss(_Scaled(), LEVELS, prediction)(x_0, t, eps, widths)
    for k, width in enumerate(widths):
        errors = []
        for row in range(4):
            level = LEVELS[t[k, row]]
            x_t = level.sqrt() * x_0[row] + (1 - level).sqrt() * eps[k, row]
            target = eps[k, row]
            if prediction == "v_prediction":
                target = level.sqrt() * eps[k, row] - (1 - level).sqrt() * x_0[row]
            errors.append((target - width * 0.7 * x_t - t[k, row] / 100).square())
        assert losses[k].item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-4)


def test_labels_reach_the_network_width_by_width():
    class Told(_Scaled):
        def forward(self, x_t, t, width, labels):
            return super().forward(x_t, t, width) + labels.view(-1, 1, 1, 1)

    x_0, t, eps = _batch(2)
    labels, widths = torch.tensor([[0, 0, 0, 0], [3, 1, 2, 0]]), (1.0, 0.5)
    told = SandwichLoss(Told(), LEVELS)(x_0, t, eps, widths, labels)
    plain = SandwichLoss(_Scaled(), LEVELS)
    assert told[0] == plain(x_0, t, eps, widths)[0]
    # Its predictions are t / 100 + ..., so that a label is a shift of t by 100
    shifted = plain.supernet.forward
    plain.supernet.forward = lambda x, t, w: shifted(x, t + 100 * labels[1], w)
    torch.testing.assert_close(told[1], plain(x_0, t, eps, widths)[1])


def test_gradient_is_that_of_the_sum():
    x_0, t, eps = _batch(2)
    network = _Scaled()
    SandwichLoss(network, LEVELS)(x_0, t, eps, (1.0, 0.5)).sum().backward()
    slope = 0.0
    for k, width in enumerate((1.0, 0.5)):
        x_t = add_noise(x_0, eps[k], LEVELS[t[k]])
        residual = width * 0.7 * x_t + t[k].view(-1, 1, 1, 1) / 100 - eps[k]
        slope += (2 * residual * width * x_t).mean().item()
    assert network.weight.grad.item() == pytest.approx(slope, rel=1e-4)


def test_levels_are_no_part_of_the_state():
    assert list(SandwichLoss(_Scaled(), LEVELS).state_dict()) == ["supernet.weight"]


def test_one_row_of_noise_a_width():
    x_0, t, eps = _batch(2)
    with pytest.raises(ValueError):
        SandwichLoss(_Scaled(), LEVELS)(x_0, t, eps, (1.0,))


def test_sandwich_is_widest_narrowest_and_each_other_equally_often():
    widths = (0.5, 1.0, 0.25, 0.75)
    sandwiches = [sandwich_widths(widths, 7, i) for i in range(2000)]
    assert {(s[0], s[1]) for s in sandwiches} == {(1.0, 0.25)}
    others = Counter(s[2] for s in sandwiches)
    assert set(others) == {0.5, 0.75}
    assert abs(others[0.5] - 1000) < 110  # 5 standard deviations


def test_sandwich_depends_on_seed_and_iteration_alone():
    widths = (1.0, 0.75, 0.5, 0.25)
    first = [sandwich_widths(widths, 3, i) for i in range(64)]
    torch.manual_seed(0)
    assert [sandwich_widths(widths[::-1], 3, i) for i in reversed(range(64))] == first[::-1]
    assert [sandwich_widths(widths, 4, i) for i in range(64)] != first


@pytest.mark.parametrize("widths", [(1.0,), (1.0, 0.5)])
def test_sandwich_of_few_widths(widths):
    assert sandwich_widths(widths, 0, 0) == widths


def test_weights_are_not_divided_by_their_sum():
    """Workers whose rows weigh unequally average to the loss of the whole batch."""
    torch.manual_seed(0)
    x_0, eps = torch.randn(4, 1, 2, 2), torch.randn(1, 4, 1, 2, 2)
    t, weights = torch.randint(100, (1, 4)), torch.rand(1, 4, 1, 2, 2)
    loss = SandwichLoss(_Scaled(), LEVELS)
    whole = loss(x_0, t, eps, (1.0,), weights=weights)
    halves = [
        loss(x_0[rows], t[:, rows], eps[:, rows], (1.0,), weights=weights[:, rows])
        for rows in (slice(0, 2), slice(2, 4))
    ]
    torch.testing.assert_close(sum(halves) / 2, whole)
    ones = loss(x_0, t, eps, (1.0,), weights=torch.ones_like(eps))
    torch.testing.assert_close(ones, loss(x_0, t, eps, (1.0,)))
