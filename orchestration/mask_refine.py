"""Learning s from generated quality through the scoring pool, round by round on disk.

Images are judged by their energy score, windows of time series by the fair CRPS on the validation
windows: the test's are met by nothing but the final scores. All rounds lie in `quality.json`; an
interrupted run goes on after the last of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from models.masking import undecided
from orchestration import chains
from orchestration.config import Config
from orchestration.data import DataSet
from orchestration.deferred import deferred
from orchestration.errors import DataError
from orchestration.files import Json, read_json, write_json
from orchestration.judge import ensure_judge, judged_setting
from orchestration.mask_plan import FINER_BY, Budgets, Chain, calls_each, finer_steps
from orchestration.mask_quality import best_of, num_images, pays_for_finer, refine
from orchestration.mask_rounds import SLOPE, WORTH, Kept, Rewards, Round, Scores
from orchestration.rundir import RunDirectory
from orchestration.scoring import scoring_pool
from orchestration.search import Step
from orchestration.window_formats import WindowHeader
from orchestration.windows import check_count

QUALITY = "quality.json"

History = dict[int, list[tuple[int, list[float]]]]
Say = Callable[[str], None]


class RewardsPool(Protocol):
    """What is needed of a pool."""

    def rewards(
        self,
        schedules: Sequence[Sequence[Step]],
        seed: int,
        num_images: int,
        real: np.ndarray | None,
        first: int = 0,
        finer: Sequence[Step] | None = None,
    ) -> Rewards:
        """See `Pool`."""


@dataclass(frozen=True, eq=False)
class Found:
    """What was learned for one number of steps.

    Args:
        mask: indices of kept candidates.
        s: float64 (S,), in the end.
        calls: network calls x images for its quality.
    """

    mask: tuple[int, ...]
    s: Tensor
    calls: int


def check_images(config: Config, header: object) -> None:
    """ConfigError where masks are to be judged by more windows than the validation has."""
    if isinstance(header, WindowHeader) and config.mask.reward == "quality":
        check_count("mask.num_images", config.mask.num_images, header, "validation")


def by_quality(
    config: Config,
    run: RunDirectory,
    images: DataSet,
    supernet: Path,
    chain: Chain,
    budgets: Budgets,
    first: Mapping[int, Sequence[Kept]],
    asked: dict[str, Json],
    history: History,
    say: Say,
) -> dict[int, Found]:
    """Refines s for each number of steps; `history` takes s after each round.

    Args:
        config: of the run.
        run: where the rounds lie.
        images: the prepared data.
        supernet: folder of the network.
        chain: the candidates.
        budgets: of which the quality's is shared evenly.
        first: masks to begin with, for each number of steps, the most promising ones first.
        asked: what decides the result.
        history: (updates, s) of each number of steps so far.
        say: takes lines of progress.

    Raises:
        DataError: the rounds on disk are of another configuration, or an artifact is damaged.
    """
    path = run.path / QUALITY
    most = most_images(images)
    what = "images" if most is None else "windows"
    found: dict[int, Found] = {}
    each = calls_each(config)
    budget = budgets.quality // len(config.mask.steps) // each
    finer_than = {k: finer_of(config, chain, k, budget) for k in config.mask.steps}
    if any(finer_than.values()):  # rounds of before are not gone on with
        asked = {**asked, "finer": {"by": FINER_BY, "slope": SLOPE, "worth": WORTH}}
    rounds = read_rounds(path, asked)
    for k, finer in finer_than.items():
        count = num_images(config.mask, k, budget, finer)
        earlier = [r for r in rounds if r.num_steps == k]
        with scores(config, run, images, supernet, count, say) as score:
            at = history[k][-1][0]
            for done, s in refine(
                config.mask, chain, k, budget, score, first[k], earlier, most, finer
            ):
                at += 1
                history[k].append((at, s.tolist()))
                if done not in rounds:
                    rounds.append(done)
                    write_json(path, {"asked": asked, "rounds": [asdict(r) for r in rounds]})
                spent = each * sum(r.calls for r in rounds if r.num_steps == k)
                of_budget = f"{spent:,} of {each * budget:,} calls"
                say(f"{_line(done, what)}, {of_budget}, undecided {undecided(s):.0%}")
        found[k] = Found(best_of([r for r in rounds if r.num_steps == k]), s, spent)
    return found


def _line(done: Round, what: str) -> str:
    masks = f"{len(done.masks)} masks on {done.num_images} {what}"
    best = min(done.qualities)
    return f"mask    {done.num_steps} steps, {done.kind}: {masks}, best {best:.3g}"


def finer_of(config: Config, chain: Chain, num_steps: int, budget: int) -> tuple[Step, ...] | None:
    """What masks of so many steps are held against.

    None where it would not be twice as fine, for masks of many steps are told apart no better by
    it; where calls are few; and of windows.
    """
    finer = finer_steps(chain, num_steps)
    if config.data.is_windows or len(finer) < 2 * num_steps:
        return None
    return finer if pays_for_finer(config.mask, num_steps, budget, finer) else None


def most_images(images: DataSet) -> int | None:
    """What schedules can be judged by at most: the validation windows; None of images."""
    header = images.header
    return header.counts["validation"] if isinstance(header, WindowHeader) else None


@contextmanager
def scores(
    config: Config, run: RunDirectory, images: DataSet, supernet: Path, count: int, say: Say
) -> Iterator[Scores]:
    """Rewards by a pool of scoring actors, which start when the first are asked for.

    Args:
        config: of the run.
        run: beside which prepared data and features lie.
        images: the prepared data.
        supernet: folder of the network.
        count: images that a schedule is scored on, for the most part.
        say: takes lines of progress.
    """
    own = scored_on(config, count)

    @contextmanager
    def started() -> Iterator[Scores]:
        judge = ensure_judge(config, images, run.cache, say)
        chosen = judged_setting(own, chains.baseline(config), supernet, judge)
        with scoring_pool(own, chosen, say) as pool:
            yield scores_of(pool, chosen.quality.compared, most_images(images))

    with deferred(started) as score:
        yield lambda *asked: score()(*asked)


def scored_on(config: Config, count: int) -> Config:
    """The configuration of scoring on so few images, or windows, at a time.

    In batches without a rest, for that would be padded with calls that nobody counts: halves, or
    smaller parts of windows, each of which is sampled several times.
    """
    most = count // 2
    if config.data.is_windows:
        most = min(most, config.score.batch_size)
    size = next(size for size in range(max(1, most), 0, -1) if count % size == 0)
    block_size = 1 if config.data.is_windows else size
    score = {"batch_size": size, "block_size": block_size}
    return config.model_copy(update={"score": config.score.model_copy(update=score)})


def scores_of(
    pool: RewardsPool, real: np.ndarray | None = None, most: int | None = None
) -> Scores:
    """Rewards by a pool, as `Scores` asks for them.

    Args:
        pool: of scorers.
        real: what samples are compared with; None of windows.
        most: windows that there are, of which another seed takes others: the next seed those that
            follow; None of images, which are others by their noise.
    """

    def score(
        schedules: Sequence[Sequence[Step]],
        seed: int,
        num_images: int,
        finer: Sequence[Step] | None = None,
    ) -> Rewards:
        first = 0 if most is None else seed * num_images % most
        return pool.rewards(schedules, seed, num_images, real, first, finer)

    return score


def read_rounds(path: Path, asked: dict[str, Json]) -> list[Round]:
    """The rounds of an interrupted run; DataError where they are of another one."""
    if not path.exists():
        return []
    content = read_json(path)
    if content.get("asked") != asked:
        raise DataError(f"{path} belongs to another mask: expected another --out")
    return [
        Round(
            **{
                **row,
                "masks": tuple(tuple(mask) for mask in row["masks"]),
                "qualities": tuple(row["qualities"]),
                "distances": tuple(row.get("distances", ())),
            }
        )
        for row in content["rounds"]
    ]
