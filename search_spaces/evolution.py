"""Evolution in generations: a warm start, then children of a Nevergrad strategy's parents."""

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import nevergrad as ng
import numpy as np

from search_spaces.candidates import Candidate, checked_losses, first_schedules, is_new
from search_spaces.parametrization import code_of
from search_spaces.promise import Promise
from search_spaces.spaces import Space

OFFERED = 20  # children for each one that is asked, where their promise decides
DRAWS = 80  # children for each one that is asked, before the space counts as used up


class Strategy(Protocol):
    """What makes children: Nevergrad's optimizer, with a selection of our own."""

    def suggest(self, code: np.ndarray) -> None:
        """The next one to ask for."""

    def ask(self) -> ng.p.Parameter:
        """What was suggested, else a new child."""

    def tell(self, candidate: ng.p.Parameter, loss: list[float]) -> None:
        """The losses of one that was asked."""

    def select(self) -> None:
        """Chooses parents, after each generation."""

    def parents(self) -> Sequence[ng.p.Parameter]:
        """Those that the next generation descends from."""


class Evolution:
    """See `Optimizer`.

    Args:
        space: of the candidates.
        strategy: makes children.
        promise: decides which of many children are asked; None: the first that are new.
    """

    def __init__(self, space: Space, strategy: Strategy, promise: Promise | None = None) -> None:
        self._space, self._strategy, self._promise = space, strategy, promise
        self._first = deque(first_schedules(space))
        self._asked: set[bytes] = set()

    def ask_generation(self, size: int) -> list[Candidate]:
        """See `Optimizer`."""
        generation = []
        while self._first and len(generation) < size:
            genome, code = self._first.popleft()
            if is_new(genome, self._asked):
                generation.append(Candidate(genome, None if code is None else self._suggest(code)))
        if len(generation) < size and self._strategy.parents():
            generation += self._children(size - len(generation))
        return generation

    def tell_generation(self, candidates: Sequence[Candidate], losses: np.ndarray) -> None:
        """See `Optimizer`."""
        losses = checked_losses(losses, candidates)
        for candidate, loss in zip(candidates, losses, strict=True):
            if candidate.parameter is not None:
                self._strategy.tell(candidate.parameter, list(loss))
        if self._promise is not None:
            self._promise.observe([candidate.genome for candidate in candidates], losses)
        self._strategy.select()

    def survivors(self) -> np.ndarray:
        """See `Optimizer`; the best first."""
        genomes = [self._genome(parent) for parent in self._strategy.parents()]
        return np.array(genomes, dtype=np.int64).reshape(-1, self._space.per_step.num_genes)

    def _suggest(self, code: np.ndarray) -> ng.p.Parameter:
        self._strategy.suggest(code.astype(float))
        return self._strategy.ask()

    def _children(self, size: int) -> list[Candidate]:
        offered = self._offered(size if self._promise is None else OFFERED * size, DRAWS * size)
        if self._promise is not None and offered:
            genomes = np.array([child.genome for child in offered])
            chosen = self._promise.choose(genomes, self.survivors(), size)
            offered = [offered[index] for index in chosen]
        return [child for child in offered if is_new(child.genome, self._asked)]

    def _offered(self, number: int, draws: int) -> list[Candidate]:
        """New children, no two alike; fewer where so many draws don't bring them."""
        offered: dict[bytes, Candidate] = {}
        for child in islice(iter(self._child, None), draws):
            if child.genome.tobytes() not in self._asked:
                offered.setdefault(child.genome.tobytes(), child)
            if len(offered) == number:
                break
        return list(offered.values())

    def _child(self) -> Candidate:
        parameter = self._strategy.ask()
        return Candidate(self._genome(parameter), parameter)

    def _genome(self, parameter: ng.p.Parameter) -> np.ndarray:
        return self._space.expand(code_of(parameter))
