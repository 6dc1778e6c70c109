"""The surrogate against the posterior mean written out, and against scored schedules."""

import numpy as np
import pytest
from numpy.random import RandomState
from toy_schedules import SPACE, toy_losses

from search_spaces import surrogate
from search_spaces.operators import mutate
from search_spaces.surrogate import Surrogate, profiles


def test_profiles_by_hand():
    genome = np.array([[0, 2, 0, 0, 1, 3]])
    lengths, before, at_most_1, at_most_2 = profiles(genome, 3)[0].T
    np.testing.assert_allclose(lengths, np.sqrt([0, 3, 3, 3, 1, 1]))
    assert before.tolist() == [1, 0, 0, 0, 0, 0]
    assert at_most_1.tolist() == [0, 0, 0, 0, 1, 0]
    assert at_most_2.tolist() == [0, 1, 1, 1, 1, 0]


def test_prediction_is_the_posterior_mean():
    """Rasmussen and Williams, eq. 2.25, with the smoothed inner product as a double sum."""
    rng = RandomState(0)
    scored, asked = rng.randint(0, 4, size=(12, 10)), rng.randint(0, 4, size=(5, 10))
    scored[:, 3], asked[:, 3] = 1, 2
    qualities = rng.uniform(0.5, 3, size=12)
    place = np.arange(10)
    smoothing = np.exp(-0.5 * ((place[:, None] - place) / surrogate.SMOOTHING) ** 2)
    both = profiles(np.concatenate([scored, asked]), 3)
    inner = np.einsum("nif,ij,mjf->nm", both, smoothing, both)
    square = np.diag(inner)
    scale = square[:12].mean()
    distance = square[:, None] + square - 2 * inner
    kernel = surrogate.LINEAR * inner / scale + np.exp(-distance / scale)
    log = np.log(qualities)
    weights = np.linalg.solve(kernel[:12, :12] + surrogate.NOISE * np.eye(12), log - log.mean())
    expected = np.exp(log.mean() + kernel[12:, :12] @ weights)
    np.testing.assert_allclose(Surrogate(scored, qualities, 3)(asked), expected, rtol=0.02)


def test_only_the_newest_observations_count(monkeypatch):
    rng = RandomState(1)
    genomes, qualities = rng.randint(1, 4, size=(30, 10)), rng.uniform(1, 2, size=30)
    monkeypatch.setattr(surrogate, "MOST_OBSERVATIONS", 20)
    limited = Surrogate(genomes, qualities, 3)(genomes)
    assert limited.tolist() == Surrogate(genomes[10:], qualities[10:], 3)(genomes).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_orders_unseen_mutants_of_the_toy_landscape(seed):
    rng = RandomState(seed)
    scored = [*SPACE.uniform(), *SPACE.one_switch()]
    scored += [mutate(scored[rng.randint(len(scored))], rng, 4) for _ in range(60)]
    asked = [mutate(scored[rng.randint(len(scored))], rng, 4) for _ in range(100)]
    qualities = toy_losses(scored)[:, 0]
    guess = Surrogate(np.array(scored), qualities, 4)(np.array(asked))
    truth = toy_losses(asked)[:, 0]
    order = [np.argsort(np.argsort(values)) for values in (guess, truth)]
    assert np.corrcoef(order)[0, 1] > 0.9
