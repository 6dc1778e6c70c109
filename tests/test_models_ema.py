import pytest
import torch
from torch import nn

from models.ema import Ema


def _walk(module, ema, values):
    for value in values:
        nn.init.constant_(module.weight, value)
        ema.update(module)


def test_equals_the_recursion():
    module = nn.Linear(3, 2, bias=False)
    nn.init.constant_(module.weight, 5.0)
    ema = Ema(module, 0.6)
    values = torch.randn(40).tolist()
    expected = 5.0
    for n, value in enumerate(values, start=1):
        decay = min(0.6, n / (n + 9))
        expected = decay * expected + (1 - decay) * value
    _walk(module, ema, values)
    assert ema.num_updates == 40
    torch.testing.assert_close(ema.averages["weight"], torch.full((2, 3), expected))


def test_module_is_untouched_until_copied_to():
    module = nn.Linear(3, 2, bias=False)
    ema = Ema(module, 0.9)
    _walk(module, ema, [1.0, 2.0])
    assert (module.weight == 2).all()
    average = ema.averages["weight"].clone()
    ema.copy_to(module)
    assert torch.equal(module.weight, average) and (average < 2).all()
    nn.init.zeros_(module.weight)
    assert torch.equal(ema.averages["weight"], average)


def test_resumed_equals_uninterrupted():
    values = [1.0, -2.0, 3.0, 0.5]
    module = nn.Linear(3, 2, bias=False)
    nn.init.ones_(module.weight)
    straight, first, second = (Ema(module, 0.99) for _ in range(3))
    _walk(module, straight, values)
    _walk(module, first, values[:2])
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    _walk(module, second, values[2:])
    assert second.num_updates == 4
    assert torch.equal(second.averages["weight"], straight.averages["weight"])


def test_refuses_another_modules_state():
    state = Ema(nn.Linear(3, 2), 0.9).state()
    with pytest.raises(ValueError, match="bias"):
        Ema(nn.Linear(3, 2, bias=False), 0.9).load_state(state)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match="decay"):
        Ema(nn.Linear(1, 1), decay)
