"""From a candidate's distances to its record in the journal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.intervals import Replicates, estimate, paired
from orchestration.journal import Record
from search_spaces.prefixes import Step

if TYPE_CHECKING:
    from orchestration.search import Problem


def make_record(
    problem: "Problem",
    index: int,
    generation: int,
    steps: Sequence[Step],
    scores: Replicates,
    baseline: Replicates,
    calls: int,
) -> Record:
    """The record of a candidate and of the baseline on the same images.

    Args:
        problem: what is searched.
        index: position in ask order.
        generation: of the optimizer.
        steps: of the candidate.
        scores: its distances.
        baseline: the baseline's.
        calls: network calls x images that it is charged with.
    """
    schedule = problem.schedule(steps)
    quality, delta = estimate(scores), paired(scores, baseline)
    return Record(
        index=index,
        generation=generation,
        key=schedule.key,
        steps=schedule.steps,
        quality=quality.value,
        quality_se=quality.se,
        delta=delta.value,
        delta_se=delta.se,
        macs=schedule.macs(problem.macs),
        calls=calls,
    )
