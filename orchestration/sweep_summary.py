"""What a sweep has come to: a row for each search, and medians over its seeds. Pure.

Derived from the fronts; it holds no times, so that the same fronts give the same bytes. Quality is
relative to the baseline of its own data set, the only way in which data sets can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, TypedDict

from orchestration.members import Front

FORMAT = "step-sweep/1"


class Swept(NamedTuple):
    """A search of a sweep: what it was, and its front, or why there is none."""

    name: str
    dataset: str
    optimizer: str
    seed: int
    front: Front | None
    failure: str | None


class SearchRow(TypedDict):
    """One search; all but the first five are None where it is not done.

    Attributes:
        failure: why it is not done, in a line.
        quality: name of the metric.
        baseline_quality: of the baseline, re-scored.
        hypervolume_ratio: of the front against the uniform schedules'; None where those have none.
        recommended: key of the recommended schedule ...
        savings: ... the share of the baseline's cost that it saves ...
        loss, loss_low, loss_high: ... and its quality less the baseline's, as a share of that
            (above 0 is worse), with the paired 95 % interval.
        num_members: of the front.
    """

    name: str
    dataset: str
    optimizer: str
    seed: int
    failure: str | None
    quality: str | None
    baseline_quality: float | None
    hypervolume_ratio: float | None
    recommended: str | None
    savings: float | None
    loss: float | None
    loss_low: float | None
    loss_high: float | None
    num_members: int | None


class MedianRow(TypedDict):
    """A data set and optimizer: medians over the seeds that are done, None where none is."""

    dataset: str
    optimizer: str
    num_seeds: int
    hypervolume_ratio: float | None
    savings: float | None
    loss: float | None
    num_members: float | None


class Summary(TypedDict):
    """Content of `summary.json`."""

    format: str
    searches: list[SearchRow]
    medians: list[MedianRow]


def summarize_sweep(searches: Sequence[Swept]) -> Summary:
    """The summary; rows go by data set, optimizer and seed, in the order given."""
    order: dict[str, int] = {}
    for swept in searches:
        order.setdefault(swept.dataset, len(order))
        order.setdefault(f"/{swept.optimizer}", len(order))
    placed = sorted(
        searches, key=lambda s: (order[s.dataset], order[f"/{s.optimizer}"], s.seed)
    )
    rows = [search_row(swept) for swept in placed]
    groups: dict[tuple[str, str], list[SearchRow]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["optimizer"]), []).append(row)
    medians = [_median_row(*key, of_key) for key, of_key in groups.items()]
    return {"format": FORMAT, "searches": rows, "medians": medians}


def search_row(swept: Swept) -> SearchRow:
    """One search's row."""
    empty = dict.fromkeys(SearchRow.__annotations__)
    row = {**empty, **{name: getattr(swept, name) for name in Swept._fields if name != "front"}}
    front = swept.front
    if front is None:
        return row
    base = front["baseline"]["quality"]
    known = {m["key"]: m for m in [*front["members"], front["baseline"]]}
    chosen = known[front["recommended"]]
    low, high = chosen["delta_ci"]
    uniform = front["hypervolume_uniform"]
    return {
        **row,
        "quality": front["quality"],
        "baseline_quality": base,
        "hypervolume_ratio": front["hypervolume"] / uniform if uniform else None,
        "recommended": front["recommended"],
        "savings": chosen["savings"],
        "loss": chosen["quality"] / base - 1,
        "loss_low": low / base,
        "loss_high": high / base,
        "num_members": len(front["members"]),
    }


def _median_row(dataset: str, optimizer: str, rows: Sequence[SearchRow]) -> MedianRow:
    done = [row for row in rows if row["failure"] is None]
    middle: Callable[[str], float | None] = lambda name: _median(done, name)  # noqa: E731
    return {
        "dataset": dataset,
        "optimizer": optimizer,
        "num_seeds": len(done),
        "hypervolume_ratio": middle("hypervolume_ratio"),
        "savings": middle("savings"),
        "loss": middle("loss"),
        "num_members": middle("num_members"),
    }


def _median(rows: Sequence[Mapping[str, object]], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return float(median(values)) if values else None
