"""What a search tells the terminal in the end: the front as a table."""

from collections.abc import Mapping

from rich.table import Table

from orchestration.costs import unit_of
from orchestration.members import (
    Front,
    Latency,
    Member,
    NamedMember,
    counted,
    front_members,
    percent,
    rounded,
)

NOTHING = "–"
STAR = "★"

MUCH = 0.1
"""A share of the baseline's quality."""


def front_table(front: Front, latency: Mapping[str, Latency]) -> Table:
    """The baseline and the members by rising savings, all of it re-scored; for rich to print.

    Args:
        front: content of `front.json`.
        latency: by key; schedules that are not in it were not measured.
    """
    table = Table(
        title=f"{front['dataset']}: the front, re-scored on {counted(front)}",
        caption=_caption(front, latency),
        caption_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # Fits a terminal of 80 columns.
    )
    head, *rows = front_rows(front, latency)
    for name in head:
        left = name in ("schedule", "key")
        table.add_column(name, style="dim" * (name == "key"), justify="left" if left else "right")
    for cells in rows:
        table.add_row(*cells, style="bold" * cells[0].endswith(STAR))
    return table


def front_rows(front: Front, latency: Mapping[str, Latency]) -> list[list[str]]:
    """The table's head and its rows, as text."""
    rows = [["schedule", "key", "steps", "saves", "vs unif.", "faster"]]
    rows[0] += [front["quality"], "loses"]
    for entry in [NamedMember("baseline", "baseline", front["baseline"]), *front_members(front)]:
        chosen = entry.member["key"] == front["recommended"]
        name = f"{entry.name} {STAR}" if chosen else entry.name
        rows.append([name, *_cells(entry, front, latency.get(entry.member["key"]))])
    return rows


def surely_better(front: Front) -> Member | None:
    """The best uniform schedule that is better than the baseline by MUCH, beyond its interval.

    A network whose own fewer steps are so much better is no measure of loss.
    """
    baseline = front["baseline"]
    found = [m for m in front["uniform"] if m["delta_ci"][1] < -MUCH * baseline["quality"]]
    return min(found, key=lambda member: member["quality"], default=None)


def quality_text(member: Member) -> str:
    """Quality and half the width of its 95 % interval: "8.04 ± 0.32"."""
    low, high = member["quality_ci"]
    return f"{rounded(member['quality'])} ± {rounded((high - low) / 2, 2)}"


def loss_text(member: Member, baseline: Member) -> str:
    """The paired difference in percent of the baseline's quality: "+3.3 ± 2.4 %"."""
    low, high = (100 * end / baseline["quality"] for end in member["delta_ci"])
    return f"{(low + high) / 2:+.1f} ± {(high - low) / 2:.1f} %"


def _cells(entry: NamedMember, front: Front, latency: Latency | None) -> list[str]:
    member = entry.member
    is_baseline = entry.role == "baseline"
    against_uniform = member["savings_uniform"]
    return [
        member["key"],
        str(len(member["schedule"]["steps"])),
        NOTHING if is_baseline else percent(member["savings"]),
        NOTHING if is_baseline or against_uniform is None else percent(against_uniform),
        NOTHING if latency is None else f"{latency['speedup']:.2f}x",
        quality_text(member),
        NOTHING if is_baseline else loss_text(member, front["baseline"]),
    ]


def _caption(front: Front, latency: Mapping[str, Latency]) -> str:
    sentences = [
        "± are 95 % intervals. ★ recommended: the cheapest that the search believed to lose "
        "nothing, fixed before re-scoring. vs unif.: saves so much against the cheapest "
        "uniform schedule that is as good.",
        _landmark_text(front),
    ]
    if front["hypervolume_uniform"]:
        ratio = front["hypervolume"] / front["hypervolume_uniform"]
        sentences.append(f"Hypervolume {ratio:.2f} times that of the uniform schedules.")
    better = surely_better(front)
    if better is not None:
        steps = better["schedule"]["steps"]
        which = f"{len(steps)} uniform steps at width {steps[0]['width']:g}"
        how_good = f"{quality_text(better)} ({loss_text(better, front['baseline'])})"
        sentences.append(
            f"The baseline is weak: {which} reach {how_good}. To lose nothing against it says"
            " little; a supernet trained for longer may say more."
        )
    if unit_of(front).key == "latency_predicted_ms":
        sentences.append(_latency_text(latency))
    return "\n" + " ".join(sentences)


def _landmark_text(front: Front) -> str:
    """What else there is to hold a quality against."""
    if "imputers" in front:
        found = ", ".join(
            f"{name.replace('_', ' ')} {of['crps']:.3g}" for name, of in front["imputers"].items()
        )
        return f"Without a model, on the same entries: {found}."
    return (
        f"Noise floor {rounded(front['noise_floor'])}: {front['noise_floor_num_images']:,} real"
        " images against as many others."
    )


def _latency_text(latency: Mapping[str, Latency]) -> str:
    """What savings are, and how well what they are of was predicted."""
    errors = [abs(of["latency_error"]) for of in latency.values() if "latency_error" in of]
    text = "Savings are of the predicted latency"
    if not errors:
        return f"{text}."
    mean, most = (f"{100 * error:.1f} %" for error in (sum(errors) / len(errors), max(errors)))
    return f"{text}, which is off by {mean} in the mean and {most} at most; faster is measured."
