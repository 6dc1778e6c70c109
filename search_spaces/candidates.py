"""What optimizers ask for and are told, and what they start from."""

from collections.abc import Sequence
from dataclasses import dataclass

import nevergrad as ng
import numpy as np

from search_spaces.spaces import Space

# (quality, cost), relative: a front is judged in the box below twice the baseline's quality and
# once its cost.
REFERENCE_POINT = np.array([2.0, 1.0])


@dataclass(frozen=True)
class Candidate:
    """A genome (S,) that an optimizer asked for.

    `parameter` is Nevergrad's own record of it; None where no code of the space gives the genome,
    or Nevergrad has no part in it.
    """

    genome: np.ndarray
    parameter: ng.p.Parameter | None


def first_schedules(space: Space) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """The warm start: (genome, code) of the uniform schedules, then of the space's guesses.

    The uniform schedules are all here, whatever the space, for the front is held against them; the
    code is None where the space cannot express one.
    """
    codes = {space.expand(code).tobytes(): code for code in space.uniform()}
    uniform = [(genome, codes.get(genome.tobytes())) for genome in space.per_step.uniform()]
    return uniform + [(space.expand(code), code) for code in space.guesses()]


def is_new(genome: np.ndarray, asked: set[bytes]) -> bool:
    """Whether the genome was not asked before; from now on it was."""
    key = genome.tobytes()
    new = key not in asked
    asked.add(key)
    return new


def checked_losses(losses: np.ndarray, candidates: Sequence[Candidate]) -> np.ndarray:
    """Losses (n, 2) of n candidates; ValueError if one is missing or not finite."""
    losses = np.asarray(losses, dtype=float).reshape(-1, 2)
    if len(losses) != len(candidates) or not np.isfinite(losses).all():
        raise ValueError(f"losses are {losses}, expected {len(candidates)} finite pairs")
    return losses
