"""What MLflow is told of a front: a run for each schedule, a view that charts them, a note.

All of the runs have the same metrics, for the UI compares runs by metrics that they share; one
that is not known of a schedule (the latency of a uniform one) is left out, never made up.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256

from orchestration.fidelity import Fidelity
from orchestration.figures import FOUND, FOUND_LIGHT, INK, width_colours
from orchestration.members import Front, Latency, NamedMember, all_schedules, strip_text
from orchestration.tables import front_rows

Metrics = dict[str, float]

COLOUR, VIEW = "mlflow.runColor", "mlflow.sharedViewState."
MAX_VIEWS = 20
"""Views of older commands go: at 40 MLflow's UI lets nobody save another one."""
STRIP = "schedule"
STRIP_COLUMN = f"tags.`{STRIP}`"
"""The widths over the steps as text, a tag: as a param it would crowd the comparison plots."""


@dataclass(frozen=True)
class ScheduleRun:
    """A run of MLflow's."""

    name: str
    metrics: Metrics
    params: dict[str, str]
    tags: dict[str, str]

    @property
    def identity(self) -> str:
        """Changes with any part of the content: a run is either up to date or another one."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def schedule_runs(front: Front, latency: Mapping[str, Latency]) -> list[ScheduleRun]:
    """A run for each schedule of the front: the baseline, the members, the uniform ones."""
    grid = [step["t"] for step in front["baseline"]["schedule"]["steps"]]
    return [
        ScheduleRun(
            name=entry.title,
            metrics=metrics_of(entry, front, latency.get(entry.member["key"])),
            params={
                "role": entry.role,
                "key": entry.member["key"],
                "num_steps": str(len(entry.member["schedule"]["steps"])),
                "metric": front["quality"],
            },
            tags={COLOUR: _colour(entry), STRIP: strip_text(entry.member["schedule"], grid)},
        )
        for entry in all_schedules(front)
    ]


def metrics_of(entry: NamedMember, front: Front, latency: Latency | None) -> Metrics:
    """Metrics by name; differences and intervals as in `front.json`."""
    member = entry.member
    metrics: Metrics = {
        "quality": member["quality"],
        "relative_quality": member["quality"] / front["baseline"]["quality"],
        "quality_low": member["quality_ci"][0],
        "quality_high": member["quality_ci"][1],
        "delta_low": member["delta_ci"][0],
        "delta_high": member["delta_ci"][1],
        "macs": member["macs"],
        "savings": member["savings"],
    }
    if member["savings_uniform"] is not None:
        metrics["savings_uniform"] = member["savings_uniform"]
    further = (*Fidelity._fields, "mae", "rmse")
    metrics |= {name: member[name] for name in further if name in member}
    if "latency_predicted_ms" in member:
        metrics["latency_predicted_ms"] = member["latency_predicted_ms"]
    if latency is not None:
        metrics |= latency
    return metrics


def search_metrics(front: Front, latency: Mapping[str, Latency]) -> Metrics:
    """What a search has come to, by which searches are compared: its recommended schedule."""
    chosen = next(e for e in all_schedules(front) if e.member["key"] == front["recommended"])
    metrics = metrics_of(chosen, front, latency.get(front["recommended"]))
    summary = {f"recommended/{name}": value for name, value in metrics.items()}
    if front["hypervolume_uniform"]:
        summary["front/hypervolume_ratio"] = front["hypervolume"] / front["hypervolume_uniform"]
    return summary


def front_note(front: Front, latency: Mapping[str, Latency]) -> str:
    """The front as a table in Markdown, for the description of its search."""
    head, *rows = front_rows(front, latency)
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{table}\n\nTo see it charted, choose its view under *Views* in the list of runs."


def front_view(name: str, run_filter: str, created_ms: int, quality: str = "quality") -> str:
    """A saved view of MLflow's UI that charts quality against cost; the value of its tag.

    Runs are sorted by savings, for sorted by anything but their age they are not folded away
    under their parents. The format is that of what the UI of MLflow 3.17 saves.

    Args:
        name: in the menu of views.
        run_filter: which runs, in MLflow's filter syntax.
        created_ms: time of creation, milliseconds since 1970.
        quality: the metric that is charted, `relative_quality` where data sets are compared.
    """
    charts = [
        {
            "uuid": f"stepwise-{metric}",
            "type": "SCATTER",
            "runsCountToCompare": 100,
            "metricSectionId": "stepwise",
            "deleted": False,
            "isGenerated": False,
            "xaxis": {"key": metric, "type": "METRIC"},
            "yaxis": {"key": quality, "type": "METRIC"},
        }
        for metric in ("macs", "savings", "latency_ms")
    ]
    metrics = (quality, "savings", "savings_uniform", "speedup")
    columns = [STRIP_COLUMN, *(f"metrics.`{metric}`" for metric in metrics)]
    section = {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}
    state = {
        "searchFilter": run_filter,
        "orderByKey": "metrics.`savings`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": columns,
        "columnWidths": {column: 500 if column == STRIP_COLUMN else 120 for column in columns},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": [{"uuid": "stepwise", "name": "Quality against cost", **section}],
    }
    return json.dumps({"name": name, "createdAt": created_ms, "state": json.dumps(state)})


def view_key(run_id: str) -> str:
    """By what the UI's address names the view of a command."""
    return f"stepwise-{run_id}"


def view_tag(run_id: str) -> str:
    """The tag of an experiment that holds the view of a command."""
    return VIEW + view_key(run_id)


def outdated_views(tags: Mapping[str, str]) -> list[str]:
    """Of an experiment's tags those that hold views of ours beyond the newest MAX_VIEWS."""
    ours = [tag for tag in tags if tag.startswith(view_tag(""))]
    return sorted(ours, key=lambda tag: json.loads(tags[tag])["createdAt"])[:-MAX_VIEWS]


def _colour(entry: NamedMember) -> str:
    if entry.role == "uniform":
        width = entry.member["schedule"]["steps"][0]["width"]
        return width_colours([width])[width]
    return {"baseline": INK, "member": FOUND_LIGHT, "recommended": FOUND}[entry.role]
