"""The space `segments`: the grid in at most K pieces, each of one width and evenly thinned.

A code is an int array (3 K - 1,): K - 1 cuts, rising, from 0 to S, that end the pieces in
sampling order; K genes, 1 .. num_widths, from narrow to wide; and K numbers of steps that the
pieces keep. The kept positions of a piece are spaced as those of the uniform schedules are: so one
piece is a uniform schedule. A piece of length 0 is unused.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.random import RandomState

from search_spaces import segment_operators
from search_spaces.per_step import NUM_ONE_SWITCH, PerStepSpace
from search_spaces.prefixes import Step
from search_spaces.segment_fit import evenly, nearest_pieces
from search_spaces.segment_operators import COUNT, GENE, LENGTH

# Of the nearest pieces to a first guess: enough places to cut at, on grids of any length.
MOST_BORDERS = 100


@dataclass(frozen=True)
class SegmentsSpace:
    """See `Space` for what is not said here.

    Attributes:
        per_step: the grid and the widths.
        num_segments: K, the most pieces.

    Raises:
        ValueError: K is below 1.
    """

    per_step: PerStepSpace
    num_segments: int

    def __post_init__(self) -> None:
        if self.num_segments < 1:
            raise ValueError(f"num_segments is {self.num_segments}, expected at least 1")

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Space`."""
        size, num = self.per_step.num_genes, self.num_segments
        lowest = np.repeat([0, 1, 0], [num - 1, num, num])
        return lowest, np.repeat([size, self.per_step.num_widths, size], [num - 1, num, num])

    @property
    def num_units(self) -> int:
        """Two for the whole, one for each cut, two for each piece."""
        return 3 * self.num_segments + 1

    def pieces(self, code: np.ndarray) -> np.ndarray:
        """The pieces (K, 3) of any code (3 K - 1,) within the bounds.

        Cuts may be in any order, no piece keeps more steps than it has positions, and where none
        keeps any, the longest keeps one.
        """
        code, num = np.asarray(code, dtype=np.int64), self.num_segments
        lowest, highest = self.bounds
        if code.shape != lowest.shape or ((code < lowest) | (code > highest)).any():
            raise ValueError(f"code is {code.tolist()}, expected {lowest} to {highest}")
        lengths = np.diff(np.sort(code[: num - 1]), prepend=0, append=self.per_step.num_genes)
        genes, counts = code[num - 1 :].reshape(2, num)
        pieces = np.stack([lengths, genes, np.minimum(counts, lengths)], axis=1)
        if not pieces[:, COUNT].any():
            pieces[lengths.argmax(), COUNT] = 1
        return pieces

    def code(self, pieces: np.ndarray) -> np.ndarray:
        """The code (3 K - 1,) of at most K pieces (n, 3)."""
        pieces = segment_operators.join(pieces, self.num_segments)
        cuts = np.cumsum(pieces[:, LENGTH])[:-1]
        return np.concatenate([cuts, pieces[:, GENE], pieces[:, COUNT]]).astype(np.int64)

    def expand(self, code: np.ndarray) -> np.ndarray:
        """See `Space`."""
        genome = np.zeros(self.per_step.num_genes, dtype=np.int64)
        end = 0
        for length, gene, count in self.pieces(code).tolist():
            end += length
            kept = evenly(np.arange(count), count, length, self.per_step.spacing)
            genome[end - 1 - kept] = gene
        return genome

    def decode(self, code: np.ndarray) -> tuple[Step, ...]:
        """See `Space`."""
        return self.per_step.decode(self.expand(code))

    def encode(self, steps: Iterable[Step]) -> np.ndarray:
        """See `Space`."""
        genome = self.per_step.encode(steps)
        pieces, distance = self._nearest(genome)
        if distance:
            raise ValueError(
                f"genome {genome.tolist()} is not {self.num_segments} pieces, evenly thinned"
            )
        return self.code(pieces)

    def uniform(self) -> list[np.ndarray]:
        """All of them: each is one piece."""
        size = self.per_step.num_genes
        return [
            self.code(np.array([[size, genome.max(), np.count_nonzero(genome)]]))
            for genome in self.per_step.uniform()
        ]

    def one_switch(self) -> list[np.ndarray]:
        """The nearest to those of the per-step space, without repeats."""
        codes = {}
        for genome in self.per_step.one_switch():
            code = self.code(self._nearest(genome, MOST_BORDERS)[0])
            codes.setdefault(self.expand(code).tobytes(), code)
        return list(codes.values())

    def guesses(self) -> list[np.ndarray]:
        """The first one-switch schedules."""
        return self.one_switch()[:NUM_ONE_SWITCH]

    def mutate(self, code: np.ndarray, rng: RandomState) -> np.ndarray:
        """See `segment_operators.mutate`."""
        pieces = self.pieces(code)
        return self.code(segment_operators.mutate(pieces, rng, self.per_step.num_widths))

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: RandomState) -> np.ndarray:
        """See `segment_operators.crossover`."""
        return self.code(segment_operators.crossover(self.pieces(first), self.pieces(second), rng))

    def spread(self, units: np.ndarray) -> np.ndarray:
        """The first number decides the share of positions kept, the second how narrow widths are.

        As in the per-step space, whose cost is the product of both. u^((1 - q) / q) of uniform u
        is q on average: the density of a piece where a share q is to be kept.
        """
        num, size = self.num_segments, self.per_step.num_genes
        share, lean = max(np.sqrt(units[0]), 1e-3), units[1]
        place, dense = units[num + 1 :].reshape(2, num)
        cuts = np.sort((units[2 : num + 1] * (size + 1)).astype(np.int64).clip(max=size))
        lengths = np.diff(cuts, prepend=0, append=size)
        most = self.per_step.num_widths
        genes = 1 + (most * place**16.0 ** (2 * lean - 1)).astype(np.int64).clip(max=most - 1)
        counts = np.round(lengths * dense ** ((1 - share) / share)).astype(np.int64)
        return self.code(self.pieces(np.concatenate([cuts, genes, counts])))

    def _nearest(
        self, genome: np.ndarray, most_borders: int | None = None
    ) -> tuple[np.ndarray, int]:
        space = self.per_step
        return nearest_pieces(
            genome, self.num_segments, space.num_widths, space.spacing, most_borders
        )
