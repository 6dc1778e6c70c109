"""Nevergrad's optimizers with selections that are right for two objectives.

Each makes children by the space's own mutation and crossover, collects what it is told, and
chooses parents when a generation is whole. Losses are (quality, cost), both minimised; the box is
that of REFERENCE_POINT.
"""

from collections.abc import Sequence

import nevergrad as ng
import numpy as np
from nevergrad.optimization.differentialevolution import _DE, DifferentialEvolution
from nevergrad.optimization.es import EvolutionStrategy, _EvolutionStrategy
from nevergrad.optimization.optimizerlib import _OnePlusOne

from search_spaces import pareto
from search_spaces.candidates import REFERENCE_POINT

CROSSOVER, MUTATION = 0.3, 0.9  # probabilities
# Of a mutation after differential evolution's own move: with none a population whose members have
# become alike has no new children left.
MUTATION_OF_DIFFERENTIAL = 0.5
WORST_LOSS = 1e9  # a hypervolume's is no larger than the box


class ParetoStrategy(_EvolutionStrategy):
    """Nevergrad's evolution strategy, its parents chosen by our own ranks.

    (Its own ranking fails when a whole generation is asked before it is told.)

    Args:
        parametrization: of the codes.
        population: number of parents.
    """

    def __init__(self, parametrization: ng.p.Parameter, population: int) -> None:
        super().__init__(parametrization, config=EvolutionStrategy(popsize=population))
        self._parents: list[ng.p.Parameter] = []
        self._told: list[ng.p.Parameter] = []

    def parents(self) -> Sequence[ng.p.Parameter]:
        """See `Strategy`; best first."""
        return self._parents

    def select(self) -> None:
        """The best of parents and children become parents: by rank in the box, then crowding."""
        self._parents = _best([*self._parents, *self._told], self._config.popsize)
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


class DifferentialStrategy(_DE):
    """Nevergrad's differential evolution, its population chosen by our own ranks.

    A child is its parent, crossed with a donor (the parent moved towards a member of the front and
    along the difference of two others), and half of the time mutated. A child that dominates its
    parent takes its place, one that is dominated by it is dropped, else both stay; then the best
    of all are kept.
    (GDE3: Kukkonen and Lampinen 2005. Nevergrad's own replacement draws lots.)

    Args:
        parametrization: of the codes.
        population: its size.
    """

    def __init__(self, parametrization: ng.p.Parameter, population: int) -> None:
        config = DifferentialEvolution(
            crossover="parametrization", popsize=population, multiobjective_adaptation=True
        )
        super().__init__(parametrization, config=config)
        self._told: list[ng.p.Parameter] = []

    def parents(self) -> Sequence[ng.p.Parameter]:
        """See `Strategy`; best first."""
        return list(self.population.values())

    def pareto_front(self, *args: object, **kwargs: object) -> list[ng.p.Parameter]:
        """Those of the population that none dominates: where donors come from."""
        members = list(self.population.values())
        return [members[i] for i in pareto.non_dominated(_losses(members))]

    def select(self) -> None:
        """The best of parents and children become parents: see the class."""
        replaced, new = set(), []
        for child in self._told:
            uid = child.heritage["lineage"]
            parent = self.population.get(uid, child)
            worse, better = pareto.dominated(_losses([parent, child]))
            replaced |= {uid} if worse else set()
            new += [] if better else [child]
        old = [parent for uid, parent in self.population.items() if uid not in replaced]
        self._told, self.population = [], {}
        self._uid_queue.clear()
        for member in _best([*old, *new], self._config.popsize):
            member.heritage["lineage"] = member.uid
            self.population[member.uid] = member
            self._uid_queue.tell(member.uid)
        self.llambda = len(self.population)

    def _internal_ask_candidate(self) -> ng.p.Parameter:
        child = super()._internal_ask_candidate()
        if self._rng.rand() < MUTATION_OF_DIFFERENTIAL:
            child.mutate()
        return child

    def _internal_tell_candidate(self, candidate: ng.p.Parameter, loss: float) -> None:
        self._told.append(candidate)

    def _internal_tell_not_asked(self, candidate: ng.p.Parameter, loss: float) -> None:
        self._told.append(candidate)  # a suggested one


class OnePlusOneStrategy(_OnePlusOne):
    """Nevergrad's (1+1) with hypervolume as its one loss, its mutation the space's own.

    What enlarges the hypervolume joins the front. Each child is a mutated member of the front,
    drawn from those that it would lose most by.

    Args:
        parametrization: of the codes.
        population: the most members that children are made of.
    """

    def __init__(self, parametrization: ng.p.Parameter, population: int) -> None:
        super().__init__(parametrization, use_pareto=True)
        self._most_parents = population
        self._parents: list[ng.p.Parameter] = []
        # Without a reference Nevergrad makes one of the first losses, and drops extreme points.
        self.tell(ng.p.MultiobjectiveReference(), REFERENCE_POINT.tolist())

    def parents(self) -> Sequence[ng.p.Parameter]:
        """See `Strategy`; best first."""
        return self._parents

    def select(self) -> None:
        """The members of the front with the largest hypervolume of their own become parents."""
        front = self.pareto_front()
        own = pareto.contributions(_losses(front), REFERENCE_POINT)
        order = np.argsort(-own, kind="stable")[: self._most_parents]
        self._parents = [front[i] for i in order]

    def _preprocess_multiobjective(self, candidate: ng.p.Parameter) -> float:
        # On the edge of the box it would be infinite, of which Nevergrad warns.
        return min(super()._preprocess_multiobjective(candidate), WORST_LOSS)

    def _internal_ask_candidate(self) -> ng.p.Parameter:
        child = self._parents[self._rng.randint(len(self._parents))].spawn_child()
        child.mutate()
        return child


def _best(members: list[ng.p.Parameter], number: int) -> list[ng.p.Parameter]:
    return [members[i] for i in pareto.best(_losses(members), number, REFERENCE_POINT)]


def _losses(members: Sequence[ng.p.Parameter]) -> np.ndarray:
    return np.array([member.losses for member in members])
