"""Copies between host and device; a GPU is faked, so what is told is order and number only."""

import pytest
import torch

from models import transfer
from models.transfer import copied, fetched


def test_on_the_cpu_nothing_is_copied():
    x = torch.randn(3)
    assert copied(x, "cpu") is x and copied(x, torch.device("cpu")) is x
    pairs = [(2, torch.randn(2)), (0, torch.randn(2))]
    found = list(fetched(iter(pairs)))
    assert [index for index, _ in found] == [2, 0]
    assert all(a is b for (_, a), (_, b) in zip(found, pairs, strict=True))


def test_on_the_cpu_a_tensor_is_given_before_the_next_is_asked_for():
    asked = []

    def tensors():
        for index in range(3):
            asked.append(index)
            yield index, torch.zeros(1)

    for index, _ in fetched(tensors()):
        assert asked == list(range(index + 1))


class _OnGpu:
    """Stands for a tensor on a GPU."""

    device = torch.device("cuda")
    shape, dtype = (2,), torch.float32

    def __init__(self, value):
        self.value = value


class _Host:
    """Stands for pinned memory; it holds its number once the copy has been waited for."""

    def __init__(self, *shape, **options):
        assert options["pin_memory"]
        self.waited = False

    def copy_(self, x, non_blocking):
        assert non_blocking
        self.value = x.value

    def clone(self):
        return self.value


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_from_a_gpu_all_come_in_order_and_some_are_under_way(monkeypatch, ahead):
    events = []

    class Event:
        def __init__(self):
            self.number = len([e for e in events if e[0] == "recorded"])

        def record(self, stream):
            events.append(("recorded", self.number))

        def synchronize(self):
            events.append(("waited", self.number))

    monkeypatch.setattr(transfer.torch, "empty", _Host)
    monkeypatch.setattr(transfer.torch.cuda, "Event", Event)
    monkeypatch.setattr(transfer.torch.cuda, "current_stream", lambda device: None)
    found = list(fetched(((index, _OnGpu(10 * index)) for index in range(5)), ahead))
    assert found == [(index, 10 * index) for index in range(5)]
    for number in range(5):
        recorded = events.index(("recorded", min(4, number + ahead)))
        assert events.index(("waited", number)) > recorded
