import pytest
import torch
from torch import nn

from models.supernet import Supernet, nested_slice, predict

WIDTHS = (1.0, 0.75, 0.5, 0.25)


class _Toy(nn.Module):
    """Two branches, their concatenation, and a layer whose input means something else by width."""

    def __init__(self, width):
        super().__init__()
        count = int(8 * width)
        self.first = nn.Linear(3, count)
        self.second = nn.Linear(3, 2 * count)
        self.norm = nn.GroupNorm(count, 3 * count)
        self.join = nn.Linear(3 * count, count)
        self.frequencies = nn.Linear(count, 5)
        self.last = nn.Linear(count + 5, 3)

    def forward(self, x, t):
        both = torch.cat([self.first(x), self.second(x)], 1)
        hidden = self.join(torch.relu(self.norm(both)))
        phases = t[:, None] / torch.arange(1, hidden.shape[1] + 1)
        return self.last(torch.cat([hidden, self.frequencies(phases.sin())], 1))


def _parts(toy):
    count = toy.first.out_features
    both = dict.fromkeys(("norm.weight", "norm.bias", "join.weight"), (count, 2 * count))
    private = dict.fromkeys(("frequencies.weight", "frequencies.bias"), ())
    return both | private | {"last.weight": (count, 5)}


def _supernet(seed=0):
    torch.manual_seed(seed)
    return Supernet(_Toy, WIDTHS, _parts)


def _inputs(rows=6):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 3, generator=generator)
    return x, torch.randint(1000, (rows,), generator=generator)


def test_slice_by_hand():
    weight = torch.arange(24.0).view(2, 12)
    assert nested_slice(weight, (1, 3), (), ()).tolist() == [[0, 1, 2]]
    assert nested_slice(weight, (1, 4), (4, 8), (1, 3)).tolist() == [[0, 4, 5, 6]]
    assert nested_slice(weight[0], (4,), (4, 8), (1, 3)).tolist() == [0, 4, 5, 6]
    kernel = torch.arange(72.0).view(2, 4, 3, 3)
    assert torch.equal(nested_slice(kernel, (1, 2, 3, 3), (2, 2), (1, 1)), kernel[:1, [0, 2]])
    assert nested_slice(kernel, kernel.shape, (), ()) is kernel


def test_width_1_is_the_plain_network():
    supernet = _supernet()
    x, t = _inputs()
    assert torch.equal(supernet(x, t, 1.0), supernet.full(x, t))
    torch.manual_seed(0)
    assert torch.equal(supernet(x, t, 1.0), _Toy(1.0)(x, t))


@pytest.mark.parametrize("width", WIDTHS)
def test_subnet_equals_the_forward_of_training(width):
    supernet = _supernet()
    x, t = _inputs()
    subnet = supernet.subnet(width)
    torch.testing.assert_close(subnet(x, t), supernet(x, t, width), rtol=1e-6, atol=1e-6)
    assert type(subnet) is _Toy and not subnet.training
    for parameter in subnet.parameters():
        assert parameter.is_contiguous() and not parameter.requires_grad


def test_subnet_is_a_copy_and_draws_no_random_numbers():
    supernet = _supernet()
    state = torch.get_rng_state()
    subnet = supernet.subnet(1.0)
    assert torch.equal(torch.get_rng_state(), state)
    before = subnet.first.weight.clone()
    nn.init.zeros_(supernet.full.first.weight)
    assert torch.equal(subnet.first.weight, before)


def test_channels_meet_the_weights_of_the_full_network():
    """Fed by the narrow width's channels alone, the full layer after a concatenation agrees."""
    supernet = _supernet()
    narrow, full = supernet.subnet(0.5).join, supernet.full.join
    first, second = torch.randn(6, 4), torch.randn(6, 8)
    silent = torch.zeros_like
    padded = torch.cat([first, silent(first), second, silent(second)], 1)
    torch.testing.assert_close(narrow(torch.cat([first, second], 1)), full(padded)[:, :4])


def test_gradients_reach_only_what_the_width_uses():
    supernet = _supernet()
    supernet(*_inputs(), 0.5).square().sum().backward()
    grad = supernet.full.join.weight.grad
    used = torch.zeros(8, 24, dtype=torch.bool)
    used[:4, :4] = used[:4, 8:16] = True
    assert (grad[~used] == 0).all() and (grad[used] != 0).float().mean() > 0.8
    assert supernet.full.frequencies.weight.grad is None
    private = [p["frequencies/weight"].grad for p in supernet.private]
    assert private[0] is None and private[1].abs().sum() > 0 and private[2] is None


def test_gradients_equal_those_of_the_subnet():
    supernet = _supernet()
    x, t = _inputs()
    supernet(x, t, 0.25).square().sum().backward()
    subnet = supernet.subnet(0.25).requires_grad_(True)
    subnet(x, t).square().sum().backward()
    full = supernet.full.join.weight.grad[:2][:, [0, 1, 8, 9, 10, 11]]
    torch.testing.assert_close(full, subnet.join.weight.grad)


def test_widths_in_turn_do_not_affect_each_other():
    supernet = _supernet()
    x, t = _inputs()
    once = {width: supernet(x, t, width) for width in WIDTHS}
    for width in reversed(WIDTHS):
        assert torch.equal(supernet(x, t, width), once[width])


def test_shells_hold_no_state():
    supernet = _supernet()
    names = set(supernet.state_dict())
    assert len(names) == 12 + 3 * 2
    assert all(name.startswith(("full.", "private.")) for name in names)
    assert len(list(supernet.parameters())) == len(names)


def test_mode_reaches_every_width():
    class _Dropping(_Toy):
        def forward(self, x, t):
            return nn.functional.dropout(super().forward(x, t), 0.5, self.training)

    supernet = Supernet(_Dropping, WIDTHS, _parts)
    x, t = _inputs()
    assert (supernet(x, t, 0.5) == 0).any()
    supernet.eval()
    assert (supernet(x, t, 0.5) != 0).all()


def test_private_state_round_trip():
    first, second = _supernet(0), _supernet(1)
    state = first.private_state()
    assert set(state) == {
        f"{w}/frequencies.{kind}" for w in (0.75, 0.5, 0.25) for kind in ("weight", "bias")
    }
    second.full.load_state_dict(first.full.state_dict())
    x, t = _inputs()
    assert not torch.equal(first(x, t, 0.5), second(x, t, 0.5))
    second.load_private_state(state)
    for width in WIDTHS:
        assert torch.equal(first(x, t, width), second(x, t, width))


def test_private_state_that_does_not_fit():
    supernet = _supernet()
    state = supernet.private_state()
    key = "0.5/frequencies.bias"
    with pytest.raises(ValueError, match=key + r".*expected \(5,\)"):
        supernet.load_private_state(state | {key: torch.zeros(1)})
    del state[key]
    with pytest.raises(ValueError, match=key):
        supernet.load_private_state(state)


def test_bad_widths():
    supernet = _supernet()
    with pytest.raises(ValueError, match="0.3.*0.75"):
        supernet(*_inputs(), 0.3)
    with pytest.raises(ValueError, match="0.3.*0.75"):
        supernet.subnet(0.3)
    for widths in ((), (0.5,), (1.0, 0.0), (1.5, 1.0)):
        with pytest.raises(ValueError, match="expected fractions"):
            Supernet(_Toy, widths, _parts)


def test_networks_that_do_not_nest():
    with pytest.raises(ValueError, match="weight .* does not nest"):
        Supernet(lambda width: nn.Linear(2, int(2 / width)), (1.0, 0.5), lambda _: {})
    with pytest.raises(ValueError, match="does not nest"):
        Supernet(_Toy, WIDTHS, lambda toy: _parts(toy) | {"join.weight": (1, 2)})
    with pytest.raises(ValueError, match="other parameters: \\['bias'\\]"):
        Supernet(lambda width: nn.Linear(2, 2, bias=width == 1), (1.0, 0.5), lambda _: {})


def test_predict_takes_tensors_as_they_are():
    x, t = _inputs()
    toy = _Toy(1.0)
    assert torch.equal(predict(toy, x, t), toy(x, t))
