"""Labels by position, and guidance by its formula and by its calls."""

from fractions import Fraction

import pytest
import torch

from models.conditioning import Conditioning


class Noting:
    """A network that answers with (label + 1) x and notes what it is called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, t, labels):
        self.calls.append((tuple(x.shape), t.tolist(), labels.tolist()))
        return x * (labels + 1.0)[:, None]


X = torch.arange(1.0, 11.0).view(5, 2)
T = torch.full((5,), 7)


@pytest.mark.parametrize("images", [range(3), range(2, 5), range(40, 43)])
def test_the_label_of_an_image_is_a_function_of_its_index(images):
    labels = Conditioning(4).labels(images)
    assert labels.dtype == torch.int64 and labels.tolist() == [k % 4 for k in images]
    assert Conditioning(4, label=2).labels(images).tolist() == [2] * len(images)


def test_every_class_comes_equally_often():
    assert Conditioning(10).labels(range(50)).bincount().tolist() == [5] * 10


def by_highest_average(counts, length):
    """Sainte-Lague's rule as parliaments apply it, seat by seat."""
    seats, order = [0] * len(counts), []
    for _ in range(length):
        best = max(range(len(counts)), key=lambda c: (Fraction(counts[c], 2 * seats[c] + 1), -c))
        seats[best] += 1
        order.append(best)
    return order


@pytest.mark.parametrize("counts", [(9, 1), (1, 5, 0, 3), (6, 6, 6), (1, 1, 1, 97), (4,)])
def test_classes_come_as_often_as_in_the_data(counts):
    told = Conditioning(len(counts), counts=counts)
    order = by_highest_average(counts, 300)
    assert told.labels(range(300)).tolist() == order
    assert told.labels(range(70, 90)).tolist() == order[70:90]
    total = sum(counts)
    later = told.labels(range(20 * total, 21 * total))
    assert later.bincount(minlength=len(counts)).tolist() == list(counts)


def test_equal_counts_are_none():
    images = range(3, 5000)
    equal = Conditioning(7, counts=(3,) * 7).labels(images)
    assert torch.equal(equal, Conditioning(7).labels(images))


def test_guidance_1_is_one_call_with_the_labels_alone():
    network = Noting()
    output = Conditioning(3).predict(network, X, T, range(1, 5))
    assert network.calls == [((5, 2), [7] * 5, [1, 2, 0, 1, 3])]  # padding has no label
    assert torch.equal(output, X * torch.tensor([2.0, 3, 1, 2, 4])[:, None])


@pytest.mark.parametrize("guidance", [0.5, 3.0])
def test_guidance_is_two_calls_of_the_same_shape(guidance):
    network = Noting()
    output = Conditioning(3, guidance, label=1).predict(network, X, T, range(4))
    assert [shape for shape, _, _ in network.calls] == [(5, 2)] * 2
    assert [labels for _, _, labels in network.calls] == [[1, 1, 1, 1, 3], [3] * 5]
    told, untold = 2 * X[:4], 4 * X[:4]
    torch.testing.assert_close(output[:4], untold + guidance * (told - untold))


@pytest.mark.parametrize(
    "bad",
    [
        (0,), (3, 0.0), (3, -1.0), (3, float("nan")), (3, 1.0, 3), (3, 1.0, -1),
        (3, 1.0, None, (1, 2)), (2, 1.0, None, (0, 0)), (2, 1.0, None, (3, -1)),
        (2, 1.0, 1, (4, 0)),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        Conditioning(*bad)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_a_time_between_two_timesteps_leaves_labels_whole(guidance):
    seen = []

    def network(x, t, labels):
        seen.append((t.dtype, labels.dtype))
        return x

    Conditioning(3, guidance).predict(network, X, T + 0.5, range(4))
    assert set(seen) == {(torch.float32, torch.int64)}
