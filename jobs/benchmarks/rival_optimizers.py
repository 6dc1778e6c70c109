"""The optimizers that the benchmark `search` compares, behind one interface.

Every one is asked for a generation and told about it, may skip steps (but DDSM's as published),
and its parents count as kept: its children share their prefixes with them.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import optuna
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.problems.static import StaticProblem

from jobs.benchmarks.weighted_ga import POPULATION as DDSM_POPULATION
from jobs.benchmarks.weighted_ga import RARE, WeightedGa, published_start
from orchestration.search_sections import Search
from search_spaces.optimizers import OPTIMIZERS, make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.spaces import SPACES, make_space

POPULATION = Search.model_fields["population"].default  # of stepwise
SEGMENTS = Search.model_fields["segments"].default
PYMOO_POPULATION, OPTUNA_POPULATION = 100, 50  # the libraries' defaults


class Rival(Protocol):
    """What is compared."""

    def ask(self) -> np.ndarray:
        """(n, S): genomes of the next generation; none if it has no more."""

    def tell(self, losses: np.ndarray) -> None:
        """Losses (n, 2) of the generation that was asked last."""

    def kept(self) -> np.ndarray:
        """(m, S): the genomes that the next generation descends from."""


class Stepwise:
    """One of our own, in generations of POPULATION."""

    def __init__(self, per_step: PerStepSpace, seed: int, optimizer: str, space: str) -> None:
        searched = make_space(space, per_step, SEGMENTS)
        self._optimizer = make_optimizer(optimizer, searched, seed, POPULATION)
        self._empty = np.zeros((0, per_step.num_genes), dtype=np.int64)

    def ask(self) -> np.ndarray:
        """See `Rival`."""
        self._asked = self._optimizer.ask_generation(POPULATION)
        return np.array([candidate.genome for candidate in self._asked] or self._empty)

    def tell(self, losses: np.ndarray) -> None:
        """See `Rival`."""
        self._optimizer.tell_generation(self._asked, losses)

    def kept(self) -> np.ndarray:
        """See `Rival`."""
        return self._optimizer.survivors().reshape(-1, self._empty.shape[1])


class Listed:
    """A list of schedules, and nothing else."""

    def __init__(self, genomes: Sequence[np.ndarray]) -> None:
        self._genomes = np.array(genomes)

    def ask(self) -> np.ndarray:
        """See `Rival`."""
        asked, self._genomes = self._genomes, self._genomes[:0]
        return asked

    def tell(self, losses: np.ndarray) -> None:
        """See `Rival`."""

    def kept(self) -> np.ndarray:
        """See `Rival`."""
        return self._genomes[:0]


class Pymoo:
    """pymoo's NSGA-II on integers, with the operators that its documentation names for them."""

    def __init__(self, space: PerStepSpace, seed: int, first: np.ndarray | None = None) -> None:
        self._space = space
        self._problem = Problem(
            n_var=space.num_genes, n_obj=2, xl=0, xu=space.num_widths, vtype=int
        )
        self._algorithm = NSGA2(
            pop_size=PYMOO_POPULATION if first is None else len(first),
            sampling=IntegerRandomSampling() if first is None else first,
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            eliminate_duplicates=True,
        )
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=seed)

    def ask(self) -> np.ndarray:
        """See `Rival`."""
        self._asked = self._algorithm.ask()
        return self._genomes(self._asked)

    def tell(self, losses: np.ndarray) -> None:
        """See `Rival`."""
        Evaluator().eval(StaticProblem(self._problem, F=losses), self._asked)
        self._algorithm.tell(infills=self._asked)

    def kept(self) -> np.ndarray:
        """See `Rival`."""
        return self._genomes(self._algorithm.pop)

    def _genomes(self, population: object) -> np.ndarray:
        if population is None or not len(population):
            return np.zeros((0, self._space.num_genes), dtype=np.int64)
        return np.array([self._space.repair(x) for x in population.get("X")])


class Optuna:
    """Optuna's NSGAIISampler with its defaults, asked and told a generation at a time.

    A first generation is added as finished trials of generation 0: enqueued trials would belong to
    no generation, and the sampler would go on from a random one.
    """

    def __init__(self, space: PerStepSpace, seed: int, first: np.ndarray | None = None) -> None:
        self._space, self._first, self._generation = space, first, 0
        self._size = OPTUNA_POPULATION if first is None else len(first)
        self._sampler = optuna.samplers.NSGAIISampler(population_size=self._size, seed=seed)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=["minimize"] * 2, sampler=self._sampler)
        self._genes = {
            f"g{i:02d}": optuna.distributions.IntDistribution(0, space.num_widths)
            for i in range(space.num_genes)
        }

    def ask(self) -> np.ndarray:
        """See `Rival`."""
        if self._generation == 0 and self._first is not None:
            return self._first
        self._asked = [self._study.ask(self._genes) for _ in range(self._size)]
        return self._genomes(self._asked)

    def tell(self, losses: np.ndarray) -> None:
        """See `Rival`."""
        if self._generation == 0 and self._first is not None:
            for genome, values in zip(self._first.tolist(), losses.tolist(), strict=True):
                self._study.add_trial(self._finished(genome, values))
        else:
            for trial, values in zip(self._asked, losses.tolist(), strict=True):
                self._study.tell(trial, values)
        self._generation += 1

    def kept(self) -> np.ndarray:
        """See `Rival`."""
        return self._genomes(self._sampler.get_parent_population(self._study, self._generation))

    def _finished(self, genome: list[int], values: list[float]) -> optuna.trial.FrozenTrial:
        return optuna.trial.create_trial(
            params=dict(zip(self._genes, genome, strict=True)),
            distributions=self._genes,
            values=values,
            system_attrs={"NSGAIISampler:generation": 0},
        )

    def _genomes(self, trials: Sequence[object]) -> np.ndarray:
        rows = [[trial.params[name] for name in self._genes] for trial in trials]
        if not rows:
            return np.zeros((0, self._space.num_genes), dtype=np.int64)
        return np.array([self._space.repair(np.array(row)) for row in rows])


Maker = Callable[[PerStepSpace, int], Rival]


def _ours(optimizer: str, space: str) -> Maker:
    return lambda per_step, seed: Stepwise(per_step, seed, optimizer, space)


# Optimizers by their names on the per-step space, `<optimizer>_<space>` on the others.
OURS: dict[str, Maker] = {
    optimizer if space == "per-step" else f"{optimizer}_{space}": _ours(optimizer, space)
    for space in SPACES
    for optimizer in OPTIMIZERS
}
# `_warm`: started from our first guesses. DDSM's warm one skips steps, mutates a gene a child and
# has a population like ours: with 50 a search as short as these ends before it begins.
RIVALS: dict[str, Maker] = {
    "ddsm": lambda space, seed: WeightedGa(
        space, seed, published_start(space, seed), DDSM_POPULATION, RARE
    ),
    "ddsm_warm": lambda space, seed: WeightedGa(
        space, seed, warm_start(space), POPULATION, 1 / space.num_genes
    ),
    "pymoo": Pymoo,
    "pymoo_warm": lambda space, seed: Pymoo(space, seed, warm_start(space)),
    "optuna": Optuna,
    "optuna_warm": lambda space, seed: Optuna(space, seed, warm_start(space)),
    "uniform": lambda space, seed: Listed(space.uniform()),
    "one_switch": lambda space, seed: Listed([*space.uniform(), *space.one_switch()]),
}


def warm_start(space: PerStepSpace) -> np.ndarray:
    """(n, S): what stepwise's `nsga2` starts from."""
    return np.array([*space.uniform(), *space.guesses()])
