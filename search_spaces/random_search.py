"""`random`: the uniform schedules, then schedules drawn at random with savings from 0 to 1."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from search_spaces.candidates import Candidate, checked_losses, is_new
from search_spaces.spaces import Space

TRIES = 20  # draws for each genome that is asked, before the space counts as used up


class Random:
    """See `Optimizer`."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._rng = np.random.RandomState(seed)
        self._queue = deque(space.per_step.uniform())
        self._asked: set[bytes] = set()

    def ask_generation(self, size: int) -> list[Candidate]:
        """See `Optimizer`."""
        generation: list[Candidate] = []
        for _ in range(TRIES * size):
            if len(generation) == size:
                break
            genome = self._queue.popleft() if self._queue else self._drawn()
            if is_new(genome, self._asked):
                generation.append(Candidate(genome, None))
        return generation

    def tell_generation(self, candidates: Sequence[Candidate], losses: np.ndarray) -> None:
        """See `Optimizer`; what is told does not matter to it."""
        checked_losses(losses, candidates)

    def survivors(self) -> np.ndarray:
        """See `Optimizer`; what is drawn at random descends from nothing."""
        return np.zeros((0, self._space.per_step.num_genes), dtype=np.int64)

    def _drawn(self) -> np.ndarray:
        units = self._rng.random_sample(self._space.num_units)
        return self._space.expand(self._space.spread(units))
