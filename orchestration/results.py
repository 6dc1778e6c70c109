"""The files that a finished search leaves in its run directory.

All of them are made from the journal, the supernet and fresh noise, so they can be made again;
`front.json` comes out to the same bytes.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.config import Config
from orchestration.costs import Cost
from orchestration.durations import clock
from orchestration.files import Json, disk_errors, write_bytes, write_json
from orchestration.front import (
    assemble,
    choose_members,
    choose_rivals,
    member,
    recommend,
)
from orchestration.journal import Record
from orchestration.latency import time_schedules
from orchestration.members import Front, Member
from orchestration.pool import Pool
from orchestration.rundir import RunDirectory
from orchestration.search import Problem, Step
from orchestration.setting import Setting
from search_spaces.schedule import StepSchedule


def score_front(
    config: Config,
    setting: Setting,
    problem: Problem,
    pool: Pool,
    records: Sequence[Record],
    say: Callable[[str], None],
) -> Front:
    """Scores the chosen members and their rivals on fresh noise; the content of `front.json`."""
    cost = problem.cost
    chosen = choose_members(records, config.score.max_members, cost)
    recommended = recommend(records, cost).key
    rivals = choose_rivals(records, problem)
    schedules = [*rivals, *(record.steps for record in chosen)]
    scored, facts = score_again(
        config, setting, problem, pool, schedules, config.score.num_images, say
    )
    return assemble(
        baseline=scored[0],
        uniform=scored[: len(rivals)],
        members=scored[len(rivals) :],
        recommended=recommended,
        facts=facts,
    )


def score_again(
    config: Config,
    setting: Setting,
    problem: Problem,
    pool: Pool,
    schedules: Sequence[Sequence[Step]],
    num_images: int,
    say: Callable[[str], None],
) -> tuple[list[Member], dict[str, Json]]:
    """Scores schedules on fresh noise.

    Args:
        config: its `score.noise_seed` is the noise's.
        setting: of the pool.
        problem: what the schedules are of.
        pool: scores.
        schedules: steps of each, the baseline's first.
        num_images: for each.
        say: takes lines of progress.

    Returns:
        A MEMBER for each, and what a front says of its numbers.
    """
    start = time.monotonic()
    what = "windows" if config.data.is_windows else "images"

    def tell(done: int, total: int) -> None:
        elapsed_s = time.monotonic() - start
        images = min(num_images, done * pool.batch_size)
        say(
            f"front   {len(schedules)} schedules scored again on {images:,} of {num_images:,}"
            f" fresh {what}   {clock(elapsed_s * (total - done) / done)} left"
        )

    quality = setting.quality
    scores, opinions = pool.appraise(
        schedules, config.score.noise_seed, num_images, quality.compared, tell
    )
    scored: list[Member] = [
        {**member(problem, steps, of_steps, scores[0]), **opinion._asdict()}
        for steps, of_steps, opinion in zip(schedules, scores, opinions, strict=True)
    ]
    return scored, {
        "dataset": setting.dataset,
        "supernet": setting.supernet,
        "quality": quality.name(num_images),
        "num_images": num_images,
        **quality.facts(num_images, scores[0]),
        **({} if problem.cost.name == "macs" else {"cost": problem.cost.name}),
    }


def write_front(run: RunDirectory, front: Front) -> None:
    """Writes `front.json` and a file for each member's schedule."""
    with disk_errors(run.schedules):
        shutil.rmtree(run.schedules, ignore_errors=True)
    for entry in [front["baseline"], *front["members"]]:
        write_json(run.schedules / f"{entry['key']}.json", entry["schedule"])
    write_json(run.front, front)


def write_candidates(run: RunDirectory, records: Sequence[Record], cost: Cost) -> pd.DataFrame:
    """Writes the journal as a table, one row a candidate, and returns it; savings are by `cost`.

    Where that is not MACs, there is a column of it too.
    """
    costs = [cost.of_record(record) for record in records]
    table = pd.DataFrame(
        {
            "index": [r.index for r in records],
            "generation": [r.generation for r in records],
            "key": [r.key for r in records],
            "quality": [r.quality for r in records],
            "quality_se": [r.quality_se for r in records],
            "delta": [r.delta for r in records],
            "delta_se": [r.delta_se for r in records],
            "macs": [r.macs for r in records],
            "savings": [1 - each / costs[0] for each in costs],
            "num_steps": [len(r.steps) for r in records],
            "calls": [r.calls for r in records],
            "steps": [json.dumps(r.steps) for r in records],
        }
    )
    if cost.name == "latency":
        table[cost.unit.key] = costs
    if records[0].num_images is not None:  # a race
        table["num_images"] = [r.num_images for r in records]
        table["complete"] = [r.complete for r in records]
    content = BytesIO()
    pq.write_table(pa.Table.from_pandas(table), content, write_page_checksum=True)
    write_bytes(run.candidates, content.getvalue())
    return table


def measure_latency(
    run: RunDirectory, pool: Pool, front: Front, predicted: Cost | None
) -> dict[str, np.ndarray]:
    """Samples a few images by the baseline and each member and times it; writes `latency.json`.

    Returns:
        The samples by key, float32 (NUM_SAMPLES, C, H, W) in [-1, 1].
    """
    schedules = {
        entry["key"]: StepSchedule.from_json(entry["schedule"]).steps
        for entry in [front["baseline"], *front["members"]]
    }
    latency, samples = time_schedules(pool, schedules, predicted)
    write_json(run.latency, latency)
    return samples
