"""The optimizers of a search, built on Nevergrad.

They are asked for a generation and told about all of it, in the order in which it was asked; the
same seed and the same losses give the same candidates. Losses are (quality, cost) relative to the
baseline's, both minimised. No genome is asked twice.

`nsga2` is Nevergrad's evolution strategy with our own Pareto selection (its own ranking fails when
a whole generation is asked before it is told) and a surrogate: of many children that mutation and
crossover offer, those are asked that promise the front the most area for a network call.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import nevergrad as ng
import numpy as np
from nevergrad.optimization.es import EvolutionStrategy, _EvolutionStrategy

from search_spaces import pareto
from search_spaces.parametrization import genome_parameter, spread_genome, spread_parameter
from search_spaces.per_step import PerStepSpace
from search_spaces.surrogate import Surrogate

OPTIMIZERS = ("nsga2", "random")

# (quality, cost), relative: a front is judged in the box below twice the baseline's quality and
# once its cost.
REFERENCE_POINT = np.array([2.0, 1.0])

NUM_ONE_SWITCH = 12  # one-switch schedules in the first generations
CROSSOVER, MUTATION = 0.3, 0.9  # probabilities
OFFERED = 20  # children for each one that is asked
# A child that shares all but its last steps costs next to nothing, but not nothing.
CALLS_OF_A_CANDIDATE = 2.0
TRIES = 20  # draws for each genome that is asked, before the space counts as used up
# Qualities beyond the worst tell the surrogate nothing of where the front is; its logarithm needs
# some below.
BEST_QUALITY, WORST_QUALITY = 0.01, 4.0


@dataclass(frozen=True)
class Candidate:
    """A genome (S,) that an optimizer asked for, and Nevergrad's own record of it."""

    genome: np.ndarray
    parameter: ng.p.Parameter


class Optimizer(Protocol):
    """What a search needs of an optimizer."""

    def ask_generation(self, size: int) -> list[Candidate]:
        """New candidates, at most `size`; none at all once the space is used up."""

    def tell_generation(self, candidates: Sequence[Candidate], losses: np.ndarray) -> None:
        """Losses (n, 2) of a generation, in ask order.

        Raises ValueError, before anything is told, if one is missing or not finite.
        """

    def survivors(self) -> np.ndarray:
        """(n, S) genomes that the next generation descends from: states worth keeping."""


def make_optimizer(name: str, space: PerStepSpace, seed: int, population: int) -> Optimizer:
    """The optimizer of a name; ValueError for an unknown one.

    Args:
        name: one of OPTIMIZERS.
        space: of the genomes.
        seed: of its randomness.
        population: parents that `nsga2` goes on from.
    """
    if name == "nsga2":
        return Nsga2(space, seed, population)
    if name == "random":
        return Random(space, seed)
    raise ValueError(f"optimizer is {name!r}, expected one of {', '.join(OPTIMIZERS)}")


class Random:
    """The uniform schedules, then schedules drawn at random with savings spread from 0 to 1."""

    def __init__(self, space: PerStepSpace, seed: int) -> None:
        self._space = space
        self._search = ng.optimizers.RandomSearch(spread_parameter(space, seed))
        self._queue = deque(space.uniform())
        self._asked: set[bytes] = set()

    def ask_generation(self, size: int) -> list[Candidate]:
        """See `Optimizer`."""
        generation: list[Candidate] = []
        for _ in range(TRIES * size):
            if len(generation) == size:
                break
            if self._queue:
                drawn, genome = None, self._queue.popleft()
            else:
                drawn = self._search.ask()
                genome = spread_genome(drawn.value, self._space)
            if _is_new(genome, self._asked):
                generation.append(Candidate(genome, drawn))
        return generation

    def tell_generation(self, candidates: Sequence[Candidate], losses: np.ndarray) -> None:
        """See `Optimizer`; what is told does not matter to it."""
        for candidate, loss in zip(candidates, _checked(losses, len(candidates)), strict=True):
            if candidate.parameter is not None:
                self._search.tell(candidate.parameter, list(loss))

    def survivors(self) -> np.ndarray:
        """See `Optimizer`; what is drawn at random descends from nothing."""
        return np.zeros((0, self._space.num_genes), dtype=np.int64)


class Nsga2:
    """Elitist evolution on Pareto ranks, with children chosen by a surrogate."""

    def __init__(self, space: PerStepSpace, seed: int, population: int) -> None:
        self._space = space
        self._strategy = _ParetoStrategy(genome_parameter(space, seed), population)
        first = [*space.uniform(), *space.one_switch()[:NUM_ONE_SWITCH]]
        for genome in reversed(first):  # Nevergrad takes the last suggestion first
            self._strategy.suggest(genome.astype(float))
        self._num_suggested = len(first)
        self._asked: set[bytes] = set()
        self._genomes = np.zeros((0, space.num_genes), dtype=np.int64)
        self._losses = np.zeros((0, 2))

    def ask_generation(self, size: int) -> list[Candidate]:
        """See `Optimizer`."""
        generation = []
        while self._num_suggested and len(generation) < size:
            self._num_suggested -= 1
            candidate = self._candidate()
            if _is_new(candidate.genome, self._asked):
                generation.append(candidate)
        if len(generation) < size and len(self._losses):  # no parents before the first losses
            generation += self._promising(size - len(generation))
        return generation

    def tell_generation(self, candidates: Sequence[Candidate], losses: np.ndarray) -> None:
        """See `Optimizer`."""
        losses = _checked(losses, len(candidates))
        for candidate, loss in zip(candidates, losses, strict=True):
            self._strategy.tell(candidate.parameter, list(loss))
        self._genomes = np.array([*self._genomes, *(c.genome for c in candidates)])
        self._losses = np.concatenate([self._losses, losses])
        self._strategy.select()

    def survivors(self) -> np.ndarray:
        """See `Optimizer`; the best first."""
        return self._strategy.genomes()

    def _candidate(self) -> Candidate:
        parameter = self._strategy.ask()
        return Candidate(np.asarray(parameter.value, dtype=np.int64), parameter)

    def _promising(self, size: int) -> list[Candidate]:
        """Of many new children those that promise the most, each given those chosen before it."""
        offered: dict[bytes, Candidate] = {}
        for candidate in islice(iter(self._candidate, None), 4 * OFFERED * size):
            if candidate.genome.tobytes() not in self._asked:
                offered.setdefault(candidate.genome.tobytes(), candidate)
            if len(offered) == OFFERED * size:
                break
        children = list(offered.values())
        if not children:
            return []
        genomes = np.array([child.genome for child in children])
        expected = self._expected(genomes)
        shared = _shared_genes(genomes, self.survivors())
        front, chosen = self._losses, []
        for _ in range(min(size, len(children))):
            calls = (np.arange(genomes.shape[1]) >= shared[:, None]) & (genomes > 0)
            gain = pareto.improvements(expected, front, REFERENCE_POINT)
            gain /= calls.sum(axis=1) + CALLS_OF_A_CANDIDATE
            gain[chosen] = -1
            best = int(gain.argmax())
            chosen.append(best)
            front = np.concatenate([front, expected[best : best + 1]])
            shared = np.maximum(shared, _shared_genes(genomes, genomes[best : best + 1]))
        for index in chosen:
            _is_new(genomes[index], self._asked)
        return [children[index] for index in chosen]

    def _expected(self, genomes: np.ndarray) -> np.ndarray:
        """(n, 2): quality by the surrogate, cost exactly, as a sum over steps."""
        informative = self._losses[:, 0] < WORST_QUALITY
        guess = Surrogate(
            self._genomes[informative],
            np.maximum(self._losses[informative, 0], BEST_QUALITY),
            self._space.num_widths,
        )
        counts, known = (
            _width_counts(g, self._space.num_widths) for g in (genomes, self._genomes)
        )
        cost_of_width = np.linalg.lstsq(known, self._losses[:, 1])[0]
        expected = np.stack([guess(genomes), counts @ cost_of_width], axis=1)
        # Linear algebra differs in the last bits between numbers of threads; choices must not.
        return expected.round(6)


class _ParetoStrategy(_EvolutionStrategy):
    """Nevergrad's evolution strategy, its parents chosen by our own ranks.

    Args:
        parametrization: of the genomes.
        population: number of parents.
    """

    def __init__(self, parametrization: ng.p.Parameter, population: int) -> None:
        super().__init__(parametrization, config=EvolutionStrategy(popsize=population))
        self._parents: list[ng.p.Parameter] = []
        self._told: list[ng.p.Parameter] = []

    def genomes(self) -> np.ndarray:
        """(n, S) of the parents, best first."""
        return np.array([parent.value for parent in self._parents], dtype=np.int64)

    def select(self) -> None:
        """The best of parents and children become parents: by rank in the box, then crowding."""
        everyone = [*self._parents, *self._told]
        points = np.array([parameter.losses for parameter in everyone])
        ranks = pareto.ranks(points)
        outside = (points > REFERENCE_POINT).any(axis=1)
        ranks[outside] += ranks.max() + 1
        crowding = np.zeros(len(points))
        for rank in np.unique(ranks):
            same = np.flatnonzero(ranks == rank)
            crowding[same] = pareto.crowding_distance(points[same])
        order = np.lexsort((-crowding, ranks))[: self._config.popsize]
        self._parents = [everyone[i] for i in order]
        self._told = []

    def _internal_ask_candidate(self) -> ng.p.Parameter:
        child = self._parent().spawn_child()
        if self._rng.rand() < CROSSOVER:
            child.recombine(self._parent())
        if self._rng.rand() < MUTATION:
            child.mutate()
        return child

    def _internal_tell_candidate(self, candidate: ng.p.Parameter, loss: float) -> None:
        self._told.append(candidate)

    def _parent(self) -> ng.p.Parameter:
        """The better of two drawn at random: parents are in order."""
        return self._parents[self._rng.randint(len(self._parents), size=2).min()]


def _is_new(genome: np.ndarray, asked: set[bytes]) -> bool:
    """Whether the genome was not asked before; from now on it was."""
    key = genome.tobytes()
    new = key not in asked
    asked.add(key)
    return new


def _checked(losses: np.ndarray, num_candidates: int) -> np.ndarray:
    losses = np.asarray(losses, dtype=float).reshape(-1, 2)
    if len(losses) != num_candidates or not np.isfinite(losses).all():
        raise ValueError(f"losses are {losses}, expected {num_candidates} finite pairs")
    return losses


def _shared_genes(genomes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n,): how many first genes each genome shares with the known one that is most like it."""
    differs = genomes[:, None] != known
    first = np.where(differs.any(axis=2), differs.argmax(axis=2), genomes.shape[1])
    return first.max(axis=1)


def _width_counts(genomes: np.ndarray, num_widths: int) -> np.ndarray:
    """(n, K): steps of each genome at each width, narrowest first."""
    return (genomes[:, :, None] == np.arange(1, num_widths + 1)).sum(axis=1).astype(float)
