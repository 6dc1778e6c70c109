"""Masks of one number of steps, scored round after round; what was scored once stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from orchestration.errors import DataError
from orchestration.mask_plan import Chain
from search_spaces.prefixes import Step, count_calls

Kept = tuple[int, ...]
"""Indices of a mask's candidates, rising."""

Rewards = tuple[list[float], list[float]]
"""Qualities of schedules, and their distances from a finer one where there is one."""

SLOPE = 0.08
"""What a quality is thought to lose by a distance of 1 from the finer schedule."""
WORTH = 30
"""Images that what is thought of a quality by its distance counts as."""


class Scores(Protocol):
    """What asks for samples."""

    def __call__(
        self,
        schedules: Sequence[Sequence[Step]],
        seed: int,
        num_images: int,
        finer: Sequence[Step] | None = None,
    ) -> Rewards:
        """Rewards on noise of a seed, and on a number of images each."""


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
        distances: of each from what a finer schedule makes of the same noise; empty where there
            was none.
    """

    num_steps: int
    kind: str
    masks: tuple[Kept, ...]
    qualities: tuple[float, ...]
    num_images: int
    calls: int
    distances: tuple[float, ...] = ()


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
        finer: steps that distances are from, where they are asked for.
    """

    def __init__(
        self,
        chain: Chain,
        num_steps: int,
        score: Scores,
        earlier: Sequence[Round] = (),
        finer: Sequence[Step] | None = None,
    ) -> None:
        self.count, self.spent = 0, 0
        self._chain, self._num_steps = chain, num_steps
        self._score, self._earlier, self._finer = score, earlier, finer

    def calls(self, masks: Sequence[Kept], alone: bool = False) -> int:
        """Network calls that an image under all of these masks, and the finer one, takes.

        `alone` leaves the finer one out.
        """
        schedules = [self._chain.steps(mask) for mask in masks]
        finer = None if alone else self._finer
        return count_calls(schedules if finer is None else [*schedules, finer])

    def take(
        self, kind: str, masks: Sequence[Kept], seed: int, num_images: int, alone: bool = False
    ) -> Round:
        """The next round; without the finer schedule if `alone`.

        Raises:
            DataError: the earlier one in its place is of another kind or has other masks.
        """
        if self.count < len(self._earlier):
            done = self._earlier[self.count]
            if (done.kind, done.masks) != (kind, tuple(masks)):
                raise DataError("the rounds that were scored are not those of this configuration")
        else:
            steps = [self._chain.steps(mask) for mask in masks]
            finer = None if alone else self._finer
            qualities, distances = self._score(steps, seed, num_images, finer)
            done = Round(
                self._num_steps, kind, tuple(masks), tuple(qualities), num_images,
                num_images * self.calls(masks, alone), tuple(distances),
            )  # fmt: skip
        self.count += 1
        self.spent += done.calls
        return done


def winner(final: Round) -> Kept:
    """The best mask of a round."""
    return min(zip(final.qualities, final.masks, strict=True))[1]


def standing(rounds: Sequence[Round]) -> dict[Kept, float]:
    """What is known of all masks of the rounds, up to a constant, the best first.

    By least squares with an effect of each mask and one of each round, its noise, every round
    weighing as its images: the analysis of incomplete blocks. Rounds must hang together by masks
    that they share.

    Where distances from a finer schedule are known, a mask's effect is drawn towards SLOPE times
    its distance, as if WORTH images had said so. For a mask that few images have met this is most
    of what is known: the energy score of x can be larger than that of y by 2 E|x - y| at most, and
    E|x - y| over pairs of the same noise varies far less between images than the score does. Masks
    that no distance is known of have their qualities alone.
    """
    held = [done for done in rounds if done.distances]
    distances = _effects(held, [done.distances for done in held], {}) if held else {}
    expected = {mask: SLOPE * distance for mask, distance in distances.items()}
    effects = _effects(rounds, [done.qualities for done in rounds], expected)
    return dict(sorted(effects.items(), key=lambda item: item[1]))


def _effects(
    rounds: Sequence[Round],
    values: Sequence[Sequence[float]],
    expected: Mapping[Kept, float],
) -> dict[Kept, float]:
    """An effect of each mask, up to a constant, by least squares over all values.

    Args:
        rounds: of which each has an effect too.
        values: of each round's masks.
        expected: of some masks, up to a constant: counts as WORTH images.
    """
    masks = list(dict.fromkeys(mask for done in rounds for mask in done.masks))
    place = {mask: index for index, mask in enumerate(masks)}
    size = len(masks) + len(rounds) + 1  # the last is the constant
    rows, right = [], []
    for number, (done, of_round) in enumerate(zip(rounds, values, strict=True)):
        weight = done.num_images**0.5
        for mask, value in zip(done.masks, of_round, strict=True):
            row = np.zeros(size)
            row[[place[mask], len(masks) + number]] = weight
            rows.append(row)
            right.append(weight * value)
    for mask, value in expected.items():
        row = np.zeros(size)
        row[[place[mask], -1]] = WORTH**0.5, -(WORTH**0.5)
        rows.append(row)
        right.append(WORTH**0.5 * value)
    effects = np.linalg.lstsq(np.stack(rows), np.array(right), rcond=None)[0]
    return dict(zip(masks, effects[: len(masks)].tolist(), strict=True))
