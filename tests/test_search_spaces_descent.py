"""Descent over kept candidates, against brute force."""

from itertools import combinations

import pytest
import torch

from models.diffusion import noise_levels
from models.gaussian_chain import GaussianChain
from models.sampling import Sampler
from models.spectrum import Spectrum
from search_spaces.descent import descend, neighbours

TIMES = range(10, 990, 70)
DATA = Spectrum(
    torch.tensor([1e-3, 0.2, 3.0], dtype=torch.float64),
    torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64),
)


@pytest.mark.parametrize("start", [(1, 4, 7, 10), (0, 1, 2, 3), (0, 2, 5, 10)])
@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_it_finds_the_best_steps_of_a_chain(kind, start):
    """Of Gaussian data, over all 4 of 14: where moves of one alone would stop short."""
    chain = GaussianChain(Sampler(kind, noise_levels(1000, "linear"), 0.0, False), DATA)

    def loss(mask):
        return chain.loss([(TIMES[i], 1.0) for i in reversed(mask)])

    best = min(combinations(range(len(TIMES)), 4), key=loss)
    assert descend(start, len(TIMES), loss) == best


@pytest.mark.parametrize("start", [(0, 1, 2), (2, 3, 11), (9, 10, 11)])
def test_it_ends_where_no_neighbour_is_better(start):
    wanted = 2, 3, 11
    assert (
        descend(start, 12, lambda m: sum(abs(i - j) for i, j in zip(m, wanted, strict=True)))
        == wanted
    )


def test_there_may_be_nowhere_to_go():
    assert descend((0, 1, 2), 3, lambda mask: 0.0) == (0, 1, 2)


def test_neighbours_are_all_moves_of_one_and_of_runs():
    found = {mask for place in range(3) for mask in neighbours((1, 4, 5), place, 7)}
    alone = {(0, 4, 5), (2, 4, 5), (3, 4, 5), (1, 2, 5), (1, 3, 5), (1, 4, 6)}
    runs = {(0, 3, 5), (0, 3, 4), (2, 5, 6), (1, 3, 4), (1, 5, 6)}
    assert found == alone | runs
