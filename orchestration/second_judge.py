"""A finished front, judged once more: does it keep its order on other features, or other noise?

Samples are those of the front where its noise and ways of running are; what is measured on them is
the configuration's. Two judges agree as far as they rank the schedules alike: Spearman's rank
correlation of their qualities is 1 where they do, 0 where one says nothing of the other.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from orchestration.config import Config
from orchestration.errors import DataError
from orchestration.files import Json
from orchestration.members import Front, all_schedules
from orchestration.rundir import RunDirectory
from orchestration.scoring import score_schedules
from orchestration.supernet_description import supernet_sha
from search_spaces.schedule import StepSchedule

FORMAT = "step-second-judge/1"
BESIDE = ("precision", "recall", "mae", "rmse")


def judge_again(
    config: Config,
    front: Front,
    supernet: Path,
    run: RunDirectory,
    num_images: int,
    plan: Path,
    say: Callable[[str], None],
) -> dict[str, Json]:
    """Scores every schedule of a front anew.

    Args:
        config: of the run, with other features.
        front: to judge.
        supernet: folder of the one that it was searched for.
        run: beside which prepared data and features lie.
        num_images: for each schedule.
        plan: says how subnets run, if it is there; else they run in the plainest way.
        say: takes lines of progress.

    Returns:
        What a front says of its numbers, the `schedules` (MEMBERs with `name`, `role` and
        `quality_before`, in the front's order), and `spearman`.

    Raises:
        DataError: it is the front of another supernet.
    """
    sha = supernet_sha(supernet)
    if sha != front["supernet"]:
        raise DataError(f"{supernet} has sha256 {sha}, expected the front's, {front['supernet']}")
    chain = StepSchedule.from_json(front["baseline"]["schedule"])
    named = all_schedules(front)
    steps = [StepSchedule.from_json(entry.member["schedule"]).steps for entry in named]
    scored, facts = score_schedules(config, chain, steps, supernet, run, num_images, plan, say)
    schedules = [
        {
            **member,
            "name": entry.name,
            "role": entry.role,
            "quality_before": entry.member["quality"],
            "savings_uniform": entry.member["savings_uniform"],
        }
        for entry, member in zip(named, scored, strict=True)
    ]
    found = [entry for entry in schedules if entry["role"] != "uniform"]
    return {
        "format": FORMAT,
        **facts,
        "quality_before": front["quality"],
        "schedules": schedules,
        "spearman": {
            "front": rank_correlation(found),
            "num_front": len(found),
            "all": rank_correlation(schedules),
            "num_all": len(schedules),
        },
    }


def rank_correlation(schedules: Sequence[dict[str, Json]]) -> float | None:
    """Spearman's, of `quality_before` and `quality`; None where either ranks nothing."""
    pairs = np.array([[entry["quality_before"], entry["quality"]] for entry in schedules])
    if any(len(set(column)) < 2 for column in pairs.T):
        return None
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def lines(judged: dict[str, Json]) -> list[str]:
    """What to say of it: a line a schedule, and how far the judges agree."""
    before, after = judged["quality_before"], judged["quality"]
    beside = [name for name in BESIDE if name in judged["schedules"][0]]
    head = "".join(f"  {name:>9}" for name in beside)
    told = [f"{'schedule':20} {'saves':>6}  {before:>20}  {after:>20}{head}"]
    for entry in judged["schedules"]:
        further = "".join(f"  {entry[name]:9.3f}" for name in beside)
        told.append(
            f"{entry['name']:20} {entry['savings']:6.1%}  {entry['quality_before']:20.3f}"
            f"  {entry['quality']:20.3f}{further}"
        )
    spearman = judged["spearman"]
    for part, whom in (("front", "the baseline and the members"), ("all", "all schedules")):
        rho = spearman[part]
        value = "none, for all are alike" if rho is None else f"{rho:.3f}"
        number = spearman[f"num_{part}"]
        told.append(f"Spearman's rank correlation over {whom} ({number}): {value}")
    return told
