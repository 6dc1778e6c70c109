"""Masks of one number of steps, scored round after round; what was scored once stays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestration.errors import DataError
from orchestration.mask_plan import Chain
from search_spaces.prefixes import Step, count_calls

Kept = tuple[int, ...]
"""Indices of a mask's candidates, rising."""

Scores = Callable[[Sequence[Sequence[Step]], int, int], list[float]]
"""Qualities of schedules on noise of a seed, and on a number of images each."""


@dataclass(frozen=True)
class Round:
    """Masks that were scored on the same noise.

    Args:
        num_steps: what is learned.
        kind: "known", "drawn", "evolved" or "final".
        masks: indices of kept candidates, of each.
        qualities: of each; lower is better.
        num_images: that each was scored on.
        calls: network calls x images, those of shared first steps once.
    """

    num_steps: int
    kind: str
    masks: tuple[Kept, ...]
    qualities: tuple[float, ...]
    num_images: int
    calls: int


class Rounds:
    """Scores masks, but for the rounds of an interrupted run.

    Attributes:
        count: rounds so far.
        spent: network calls x images so far.

    Args:
        chain: the candidates.
        num_steps: of the masks, for the most part.
        score: what asks for samples.
        earlier: rounds of an interrupted run, from the first on.
    """

    def __init__(
        self, chain: Chain, num_steps: int, score: Scores, earlier: Sequence[Round] = ()
    ) -> None:
        self.count, self.spent = 0, 0
        self._chain, self._num_steps = chain, num_steps
        self._score, self._earlier = score, earlier

    def calls(self, masks: Sequence[Kept]) -> int:
        """Network calls that an image under all of these masks takes."""
        return count_calls(self._chain.steps(mask) for mask in masks)

    def take(self, kind: str, masks: Sequence[Kept], seed: int, num_images: int) -> Round:
        """The next round.

        Raises:
            DataError: the earlier one in its place is of another kind or has other masks.
        """
        if self.count < len(self._earlier):
            done = self._earlier[self.count]
            if (done.kind, done.masks) != (kind, tuple(masks)):
                raise DataError("the rounds that were scored are not those of this configuration")
        else:
            steps = [self._chain.steps(mask) for mask in masks]
            qualities = tuple(self._score(steps, seed, num_images))
            calls = num_images * self.calls(masks)
            done = Round(self._num_steps, kind, tuple(masks), qualities, num_images, calls)
        self.count += 1
        self.spent += done.calls
        return done


def winner(final: Round) -> Kept:
    """The best mask of a round."""
    return min(zip(final.qualities, final.masks, strict=True))[1]


def ranking(rounds: Sequence[Round]) -> list[Kept]:
    """All masks of the rounds, the best first.

    By least squares with an effect of each mask and one of each round, its noise, every round
    weighing as its images: the analysis of incomplete blocks. Rounds must hang together by masks
    that they share.
    """
    masks = list(dict.fromkeys(mask for done in rounds for mask in done.masks))
    rows, qualities = [], []
    for number, done in enumerate(rounds):
        for mask, quality in zip(done.masks, done.qualities, strict=True):
            row = np.zeros(len(masks) + len(rounds))
            row[[masks.index(mask), len(masks) + number]] = 1
            weight = done.num_images**0.5
            rows.append(weight * row)
            qualities.append(weight * quality)
    effects = np.linalg.lstsq(np.stack(rows), np.array(qualities), rcond=None)[0]
    return [masks[i] for i in np.argsort(effects[: len(masks)], kind="stable")]
