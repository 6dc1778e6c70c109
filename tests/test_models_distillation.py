"""What narrower widths learn from the full one, and which widths an iteration trains."""

from collections import Counter

import pytest
import torch
from torch import nn

from models.diffusion import add_noise, noise_levels
from models.losses import SandwichLoss, drawn_widths, sandwich_widths
from models.supernet import Supernet

LEVELS = noise_levels(100, "linear")
WIDTHS = (1.0, 0.75, 0.5, 0.25)


class _Toy(nn.Module):
    """Sixteen pixels through a layer of 8 x width channels."""

    def __init__(self, width):
        super().__init__()
        self.first = nn.Linear(16, int(8 * width))
        self.last = nn.Linear(int(8 * width), 16)

    def forward(self, x, t):
        hidden = torch.tanh(self.first(x.flatten(1)) + t[:, None] / 100)
        return self.last(hidden).view(x.shape)


def _supernet():
    torch.manual_seed(0)
    return Supernet(_Toy, WIDTHS, lambda toy: {})


def _batch(k):
    """The same timesteps and noise for all k widths."""
    generator = torch.Generator().manual_seed(1)
    x_0 = torch.rand(4, 1, 4, 4, generator=generator) * 2 - 1
    t = torch.randint(100, (1, 4), generator=generator).expand(k, -1)
    return x_0, t, torch.randn(1, 4, 1, 4, 4, generator=generator).expand(k, -1, -1, -1, -1)


def _gradients(distillation, widths, teacher=None):
    supernet = _supernet()
    loss = SandwichLoss(supernet, LEVELS, distillation=distillation)
    losses = loss(*_batch(len(widths)), widths, teacher=teacher)
    losses.sum().backward()
    return losses.detach(), {name: p.grad for name, p in supernet.full.named_parameters()}


@pytest.mark.parametrize("teacher", [None, "other"])
def test_the_gradient_is_that_of_both_targets_and_the_value_that_of_the_truth(teacher):
    widths, d = (1.0, 0.5), 0.3
    weights = None
    if teacher is not None:
        torch.manual_seed(5)
        weights = dict(_Toy(1.0).named_parameters())
    found, gradients = _gradients(d, widths, weights)
    plain, _ = _gradients(0.0, widths)
    assert torch.equal(found, plain)
    supernet, (x_0, t, eps) = _supernet(), _batch(1)
    x_t = add_noise(x_0, eps[0], LEVELS[t[0]])
    wide, narrow = supernet(x_t, t[0], 1.0), supernet(x_t, t[0], 0.5)
    taught = wide.detach() if weights is None else supernet.predict_with(weights, x_t, t[0])
    both = (1 - d) * (narrow - eps[0]).square() + d * (narrow - taught.detach()).square()
    ((wide - eps[0]).square().mean() + both.mean()).backward()
    for name, parameter in supernet.full.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=name)


def test_nothing_reaches_the_full_width_by_what_it_teaches():
    """What width .5 does not use has the gradients that it has without distillation."""
    with_it, without = _gradients(1.0, (1.0, 0.5))[1], _gradients(0.0, (1.0, 0.5))[1]
    assert torch.equal(with_it["first.weight"][4:], without["first.weight"][4:])
    assert torch.equal(with_it["last.weight"][:, 4:], without["last.weight"][:, 4:])
    assert not torch.equal(with_it["first.weight"][:4], without["first.weight"][:4])
    alone, again = _gradients(1.0, (1.0,)), _gradients(0.0, (1.0,))
    assert all(torch.equal(g, again[1][name]) for name, g in alone[1].items())


def test_only_the_full_width_can_teach():
    with pytest.raises(ValueError, match="the first width is 0.5; expected 1"):
        _gradients(0.5, (0.5, 0.25))


@pytest.mark.parametrize("sampling", ["sandwich", "uniform", "widest", "all"])
def test_widths_depend_on_seed_and_iteration_alone(sampling):
    drawn = [drawn_widths(WIDTHS, 3, i, sampling) for i in range(400)]
    torch.manual_seed(0)
    again = [drawn_widths(WIDTHS[::-1], 3, i, sampling) for i in reversed(range(400))]
    assert again[::-1] == drawn
    if sampling != "all":
        assert [drawn_widths(WIDTHS, 4, i, sampling) for i in range(400)] != drawn
    assert drawn_widths((1.0,), 0, 0, sampling) == (1.0,)
    assert drawn_widths((1.0, 0.5), 0, 0, sampling) == (1.0, 0.5)


def test_each_way_to_draw_widths():
    draw = {
        name: [drawn_widths(WIDTHS, 7, i, name) for i in range(2000)]
        for name in ("sandwich", "uniform", "widest", "all")
    }
    assert draw["sandwich"] == [sandwich_widths(WIDTHS, 7, i) for i in range(2000)]
    assert set(draw["all"]) == {WIDTHS}
    assert {widths[0] for widths in draw["widest"]} == {1.0}
    for name, each in (("widest", 2000 / 3), ("uniform", 1500)):
        counts = Counter(w for widths in draw[name] for w in widths if name == "uniform" or w < 1)
        assert all(abs(count - each) < 110 for count in counts.values()), (name, counts)
    assert {len(set(widths)) for widths in draw["uniform"]} == {3}
    assert all(widths == tuple(sorted(widths, reverse=True)) for widths in draw["uniform"])
