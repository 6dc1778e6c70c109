"""Philox against its published answers; noise by position against a worked example."""

import math

import pytest
import torch
from scipy import stats

from models.noise import INIT, normal, philox, uniform_integers


def words(values):
    return tuple(torch.tensor([value]) for value in values)


# Random123, tests/kat_vectors
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF, 0xFFFFFFFF),
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    assert tuple(word.item() for word in philox(words(counter), key)) == expected


def test_element_of_normal_by_hand():
    seed, image, stream, element = 7 + (9 << 32), 3 + (2 << 32), 41, 10
    block, offset = divmod(element, 4)
    assert offset == 2  # the cosine of the block's second pair
    _, _, first, second = philox(words((block, 3, 2, stream)), (7, 9))
    radius = math.sqrt(-2 * math.log((first.item() + 1) / 2**32))
    expected = radius * math.cos(2 * math.pi * second.item() / 2**32)
    noise = normal(seed, torch.tensor([image]), stream, (3, 5))
    assert noise.flatten()[element].item() == pytest.approx(expected, rel=1e-7)


def test_normal_is_standard_normal():
    noise = normal(0, range(2000), INIT, (1, 10, 10)).flatten().double()
    assert stats.kstest(noise.numpy(), "norm").pvalue > 0.01
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        powers = noise**power
        standard_error = powers.std() / len(noise) ** 0.5
        assert abs(powers.mean() - moment) < 4 * standard_error


@pytest.mark.parametrize(
    "other",
    [
        normal(1, range(500), 5, (200,)),  # seed
        normal(1 << 32, range(500), 5, (200,)),
        normal(0, range(500, 1000), 5, (200,)),  # image
        normal(0, torch.arange(500) + (1 << 32), 5, (200,)),
        normal(0, range(500), 6, (200,)),  # stream
        normal(0, range(500), 5, (200,)).roll(1, 0),
        *(normal(0, range(500), 5, (200,)).roll(lag, 1) for lag in (1, 2, 3, 4)),  # element
    ],
)
def test_positions_are_independent(other):
    noise = normal(0, range(500), 5, (200,))
    for a, b in ((noise, other), (noise**2 - 1, other**2 - 1)):
        correlation = (a * b).mean() / (a.std() * b.std())
        assert abs(correlation) < 4 / noise.numel() ** 0.5


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (1, 8, 8)])
def test_normal_depends_on_position_alone(shape):
    whole = normal(3, range(40), 9, shape)
    assert whole.shape == (40, *shape)
    assert whole.dtype == torch.float32
    assert torch.equal(normal(3, range(11, 30), 9, shape), whole[11:30])
    scattered = torch.tensor([39, 0, 17, 17])
    assert torch.equal(normal(3, scattered, 9, shape), whole[scattered])
    longer = normal(3, range(40), 9, (math.prod(shape) + 3,))
    assert torch.equal(longer[:, : math.prod(shape)], whole.flatten(1))


def test_uniform_integers_are_uniform_and_by_position():
    integers = uniform_integers(5, range(20_000), 2, 10)
    assert integers.dtype == torch.int64
    assert stats.chisquare(torch.bincount(integers, minlength=10).numpy()).pvalue > 0.01
    assert torch.equal(uniform_integers(5, torch.tensor([77, 12]), 2, 10), integers[[77, 12]])
    assert not torch.equal(uniform_integers(5, range(20_000), 3, 10), integers)


def test_uniform_integers_are_independent_of_normal():
    """No word is used twice: an integer says nothing about the noise of its position."""
    integers = uniform_integers(5, range(20_000), 2, 1000).double()
    noise = normal(5, range(20_000), 2, (8,)).double()
    correlations = torch.corrcoef(torch.cat([integers[None], noise.T, noise.T**2]))[0, 1:]
    assert correlations.abs().max() < 4 / len(integers) ** 0.5


@pytest.mark.parametrize(
    ("seed", "stream", "high", "name"),
    [(-1, 0, 5, "seed"), (1 << 64, 0, 5, "seed"), (0, -1, 5, "stream"), (0, 0, 0, "high")],
)
def test_out_of_range_is_refused_by_name(seed, stream, high, name):
    with pytest.raises(ValueError, match=name):
        uniform_integers(seed, range(3), stream, high)
