"""DDSM's search: a genetic algorithm on a weighted sum (Yang et al., arXiv 2310.03337).

Fitness is quality + weight x cost, minimised. A generation is as many children as there are
parents: of two pairs drawn at random the fitter ones, one-point crossover, and now and then a gene
drawn anew; the best of parents and children go on. Published settings: 50 candidates, of which
one at each constant width and the others random, 10 generations, a gene mutates with probability
.001, and no step is skipped. One weight leads to one schedule; for a front there are several
searches, which start from the same population and take turns, generation by generation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from search_spaces.per_step import PerStepSpace

# Of cost beside quality, both relative to the baseline's: where the slope of the front is.
WEIGHTS = (0.5, 1.0, 2.0, 4.0)
POPULATION, RARE = 50, 0.001
CROSSOVER = 0.9  # probability, the default of the library that DDSM's search is built on


@dataclass
class _Population:
    weight: float
    genomes: np.ndarray
    losses: np.ndarray

    def fitness(self) -> np.ndarray:
        return fitness(self.losses, self.weight)


class WeightedGa:
    """Searches with several weights in turn; see `Rival`.

    Args:
        space: of the genomes.
        seed: of its randomness.
        first: (n, S) genomes that all weights start from.
        population: how many of them, and of each generation, go on: the fittest.
        mutation: probability that a gene is drawn anew.
        weights: of the cost, one for each search.
    """

    def __init__(
        self,
        space: PerStepSpace,
        seed: int,
        first: np.ndarray,
        population: int,
        mutation: float,
        weights: tuple[float, ...] = WEIGHTS,
    ) -> None:
        self._space, self._size = space, population
        self._mutation, self._weights = mutation, weights
        self._rng = np.random.default_rng(seed)
        self._asked = first
        self._lowest = int(first.min())  # 0 only if steps may be skipped
        self._populations: list[_Population] = []
        self._turn = -1

    def ask(self) -> np.ndarray:
        """See `Rival`."""
        if self._populations:
            parents = self._populations[self._turn]
            children = [self._child(parents) for _ in parents.genomes]
            self._asked = np.array([self._space.repair(child) for child in children])
        return self._asked

    def tell(self, losses: np.ndarray) -> None:
        """See `Rival`."""
        if not self._populations:
            self._populations = [
                _fittest(self._asked, losses, weight, self._size) for weight in self._weights
            ]
        else:
            parents = self._populations[self._turn]
            everyone = np.concatenate([parents.genomes, self._asked])
            losses = np.concatenate([parents.losses, losses])
            self._populations[self._turn] = _fittest(everyone, losses, parents.weight, self._size)
        self._turn = (self._turn + 1) % len(self._weights)

    def kept(self) -> np.ndarray:
        """See `Rival`: the populations of all weights."""
        if not self._populations:
            return self._asked[:0]
        return np.concatenate([population.genomes for population in self._populations])

    def _child(self, parents: _Population) -> np.ndarray:
        first, second = (_tournament(parents, self._rng) for _ in range(2))
        child = first.copy()
        if self._rng.random() < CROSSOVER:
            cut = self._rng.integers(1, len(child))
            child[cut:] = second[cut:]
        drawn = self._rng.integers(self._lowest, self._space.num_widths + 1, len(child))
        return np.where(self._rng.random(len(child)) < self._mutation, drawn, child)


def published_start(space: PerStepSpace, seed: int) -> np.ndarray:
    """(POPULATION, S): each width at every step, and widths at random."""
    rng = np.random.default_rng([seed, 1])
    constant = [np.full(space.num_genes, gene) for gene in range(space.num_widths, 0, -1)]
    size = (POPULATION - len(constant), space.num_genes)
    return np.concatenate([constant, rng.integers(1, space.num_widths + 1, size)])


def fitness(losses: np.ndarray, weight: float) -> np.ndarray:
    """(n,), minimised."""
    return losses @ (1.0, weight)


def _tournament(parents: _Population, rng: Generator) -> np.ndarray:
    a, b = rng.integers(len(parents.genomes), size=2)
    values = parents.fitness()
    return parents.genomes[a if values[a] <= values[b] else b]


def _fittest(genomes: np.ndarray, losses: np.ndarray, weight: float, size: int) -> _Population:
    """At most `size`, each genome once."""
    first = np.unique(genomes, axis=0, return_index=True)[1]
    order = first[np.argsort(fitness(losses[first], weight), kind="stable")][:size]
    return _Population(weight, genomes[order], losses[order])
