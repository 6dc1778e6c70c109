"""Which of many children to score: those that promise the front the most area for a network call.

What a child is worth is guessed from all that was scored before; guesses only decide what is
scored.
"""

import numpy as np

from search_spaces import pareto
from search_spaces.candidates import REFERENCE_POINT
from search_spaces.surrogate import Surrogate

# A child that shares all but its last steps costs next to nothing, but not nothing.
CALLS_OF_A_CANDIDATE = 2.0
# Qualities beyond the worst tell the surrogate nothing of where the front is; its logarithm needs
# some below.
BEST_QUALITY, WORST_QUALITY = 0.01, 4.0


class Promise:
    """Remembers what was scored.

    Args:
        num_genes: S, of a genome.
        num_widths: the widest gene.
    """

    def __init__(self, num_genes: int, num_widths: int) -> None:
        self._num_widths = num_widths
        self._genomes = np.zeros((0, num_genes), dtype=np.int64)
        self._losses = np.zeros((0, 2))

    def observe(self, genomes: list[np.ndarray], losses: np.ndarray) -> None:
        """Genomes (S,) and their losses (n, 2), all finite."""
        self._genomes = np.array([*self._genomes, *genomes])
        self._losses = np.concatenate([self._losses, losses])

    def choose(self, genomes: np.ndarray, parents: np.ndarray, size: int) -> list[int]:
        """Indices of those that promise the most, each given those chosen before it.

        Args:
            genomes: (n, S) to choose from.
            parents: (m, S) whose states are kept, so that their prefixes cost nothing.
            size: how many, at most.
        """
        expected = self._expected(genomes)
        shared = _shared_genes(genomes, parents)
        front, chosen = self._losses, []
        for _ in range(min(size, len(genomes))):
            calls = (np.arange(genomes.shape[1]) >= shared[:, None]) & (genomes > 0)
            gain = pareto.improvements(expected, front, REFERENCE_POINT)
            gain /= calls.sum(axis=1) + CALLS_OF_A_CANDIDATE
            gain[chosen] = -1
            best = int(gain.argmax())
            chosen.append(best)
            front = np.concatenate([front, expected[best : best + 1]])
            shared = np.maximum(shared, _shared_genes(genomes, genomes[best : best + 1]))
        return chosen

    def _expected(self, genomes: np.ndarray) -> np.ndarray:
        """(n, 2): quality by the surrogate, cost as a sum over steps.

        That is exact but for what a latency has of each sample beside its steps, a small part.
        """
        informative = self._losses[:, 0] < WORST_QUALITY
        guess = Surrogate(
            self._genomes[informative],
            np.maximum(self._losses[informative, 0], BEST_QUALITY),
            self._num_widths,
        )
        counts, known = (_width_counts(g, self._num_widths) for g in (genomes, self._genomes))
        cost_of_width = np.linalg.lstsq(known, self._losses[:, 1])[0]
        expected = np.stack([guess(genomes), counts @ cost_of_width], axis=1)
        # Linear algebra differs in the last bits between numbers of threads; choices must not.
        return expected.round(6)


def _shared_genes(genomes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(n,): how many first genes each genome shares with the known one that is most like it."""
    differs = genomes[:, None] != known
    first = np.where(differs.any(axis=2), differs.argmax(axis=2), genomes.shape[1])
    return first.max(axis=1)


def _width_counts(genomes: np.ndarray, num_widths: int) -> np.ndarray:
    """(n, K): steps of each genome at each width, narrowest first."""
    return (genomes[:, :, None] == np.arange(1, num_widths + 1)).sum(axis=1).astype(float)
