"""The format of `front.json`, and what its members are called wherever a person meets them.

`front.json` ("step-front/1") holds re-scored values only. Members are named by their place when
sorted by savings: m01 saves least, so a name tells which end of the front it is from, and the
table, the pictures and MLflow agree on it.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict

from orchestration.errors import DataError
from orchestration.files import read_json

FORMAT = "step-front/1"

BARS = "▁▂▃▄▅▆▇█"
MAX_BARS = 100

Role = Literal["baseline", "member", "recommended", "uniform"]


class StepRecord(TypedDict):
    """One step: timestep 0 .. T-1 and width in (0, 1]."""

    t: int
    width: float


class ScheduleRecord(TypedDict):
    """The JSON of a `StepSchedule`, "step-schedule/1"; steps fall in t."""

    format: str
    num_train_timesteps: int
    betas: str
    prediction: str
    sampler: str
    eta: float
    clip_sample: bool
    rescale_zero_terminal_snr: NotRequired[bool]
    guidance: NotRequired[float]
    steps: list[StepRecord]


class Member(TypedDict):
    """A re-scored schedule. Intervals are 95 %; savings are shares of the baseline's cost.

    The cost is MACs unless the front names another one.

    Attributes:
        key: of the schedule.
        quality: lower is better, above 0.
        delta_ci: paired difference of quality from the baseline's.
        macs: multiply-accumulates of one sample.
        savings_uniform: of a member, the share saved against the cheapest uniform schedule that
            is at least as good; None where none is.
        kid, precision, recall: further numbers on the same features, see `fidelity.py`; older
            fronts have none.
        mae, rmse: of the medians of imputed windows, with intervals that older fronts lack.
        latency_predicted_ms: of one sample; in fronts whose cost it is.
    """

    key: str
    schedule: ScheduleRecord
    quality: float
    quality_ci: list[float]
    delta_ci: list[float]
    macs: int
    savings: float
    savings_uniform: float | None
    latency_predicted_ms: NotRequired[float]
    kid: NotRequired[float]
    precision: NotRequired[float]
    recall: NotRequired[float]
    mae: NotRequired[float]
    mae_ci: NotRequired[list[float]]
    rmse: NotRequired[float]
    rmse_ci: NotRequired[list[float]]


class ImputerNumbers(TypedDict):
    """What an imputer without a model reaches on the same windows; it says one value an entry.

    Older fronts have no intervals, nor shares.

    Attributes:
        baseline_share: the baseline's CRPS as a share of this one, paired; missing where this one
            is 0.
    """

    crps: float
    crps_ci: NotRequired[list[float]]
    mae: float
    mae_ci: NotRequired[list[float]]
    rmse: float
    rmse_ci: NotRequired[list[float]]
    baseline_share: NotRequired[float]
    baseline_share_ci: NotRequired[list[float]]


class FidelityFacts(TypedDict):
    """On what KID, precision and recall are taken.

    Attributes:
        num_images: samples of each schedule, the first of them.
        num_real: real images, chosen at random where there are more.
        neighbors: k of precision and recall.
        subset_size: images of a subset of KID ...
        num_subsets: ... and how many of them there are.
    """

    num_images: int
    num_real: int
    neighbors: int
    subset_size: int
    num_subsets: int


class Front(TypedDict):
    """Content of `front.json`.

    Attributes:
        supernet: sha256 of its manifest.
        quality: name of the metric with its features and count, such as "fd_digits_2k".
        num_images: that each schedule is scored on; windows of time series.
        noise_floor: of images, the metric between two halves of the real data ...
        noise_floor_num_images: ... of this many images each.
        num_reference: real images that `quality` compares with; None where their statistics were
            given (or made up, for the stub).
        fidelity: what `kid`, `precision` and `recall` of the members are taken on.
        num_samples: of each window ...
        imputers: ... and what others reach on them, by name: `mean`, `last_observation`,
            `linear_interpolation`.
        recommended: key of one of the members, or of the baseline.
        hypervolume: of the members below the reference point, (cost, quality) ...
        hypervolume_uniform: ... and of the uniform schedules.
        cost: what was searched for beside quality, where it is not MACs.
        bfloat16: where subnets run in it: by how much the qualities of the baseline and the
            members differ from those in float32, at most, relative; and whether those that
            float32 tells apart are in the same order.
    """

    format: str
    dataset: str
    supernet: str
    quality: str
    num_images: int
    noise_floor: NotRequired[float]
    noise_floor_num_images: NotRequired[int]
    num_reference: NotRequired[int | None]
    fidelity: NotRequired[FidelityFacts]
    num_samples: NotRequired[int]
    imputers: NotRequired[dict[str, ImputerNumbers]]
    baseline: Member
    uniform: list[Member]
    members: list[Member]
    recommended: str
    hypervolume: float
    hypervolume_uniform: float
    reference_point: list[float]
    cost: NotRequired[Literal["latency"]]
    bfloat16: NotRequired[dict[str, float | bool]]


class Latency(TypedDict):
    """Measured time of one sample, and how many times faster that is than the baseline's.

    Attributes:
        latency_predicted_ms: from the widths of its steps; missing where it is not known.
        latency_error: how much larger that is than what was measured, as a share of it.
    """

    latency_ms: float
    speedup: float
    latency_predicted_ms: NotRequired[float]
    latency_error: NotRequired[float]


def read_front(path: Path) -> Front:
    """A `front.json`; DataError where it is none."""
    front = read_json(path)
    found = front.get("format") if isinstance(front, dict) else None
    if found != FORMAT:
        raise DataError(f"{path}: got format {found!r}, expected {FORMAT!r}")
    return front


class Landmark(NamedTuple):
    """A quality that the others are seen beside, with what it is in two parts."""

    value: float
    name: str
    explanation: str


def landmark(front: Mapping[str, Any]) -> Landmark:
    """The noise floor of images; of windows, what linear interpolation reaches.

    `front` is a front, or what else says of its numbers what a front does.
    """
    if "imputers" in front:
        value = front["imputers"]["linear_interpolation"]["crps"]
        name = f"linear interpolation {rounded(value)}"
        return Landmark(value, name, "on the same hidden entries")
    floor, number = front["noise_floor"], front["noise_floor_num_images"]
    explanation = f"real images against other real images, {number:,} each"
    return Landmark(floor, f"noise floor {rounded(floor)}", explanation)


def counted(front: Front) -> str:
    """What a front is scored on: "2,000 images", "36 windows"."""
    return f"{front['num_images']:,} {'windows' if 'imputers' in front else 'images'}"


class NamedMember(NamedTuple):
    """A schedule of a front under its name and in its role."""

    name: str
    role: Role
    member: Member

    @property
    def title(self) -> str:
        """Name and savings, such as "m03 saves 52 %"."""
        if self.role == "baseline":
            return self.name
        return f"{self.name} saves {percent(self.member['savings'])}"


def by_savings(members: Sequence[Member]) -> list[Member]:
    """The members, those that save least first; ties by key, so that names are settled."""
    return sorted(members, key=lambda member: (member["savings"], member["key"]))


def front_members(front: Front) -> list[NamedMember]:
    """The members of a front by rising savings, named m01, m02, ...; without the baseline."""
    others = [m for m in by_savings(front["members"]) if m["key"] != front["baseline"]["key"]]
    digits = max(2, len(str(len(others))))
    return [
        NamedMember(
            f"m{i:0{digits}d}",
            "recommended" if member["key"] == front["recommended"] else "member",
            member,
        )
        for i, member in enumerate(others, start=1)
    ]


def all_schedules(front: Front) -> list[NamedMember]:
    """Every schedule of a front once: the baseline, the members, the other uniform schedules."""
    named = [NamedMember("baseline", "baseline", front["baseline"]), *front_members(front)]
    known = {entry.member["key"] for entry in named}
    for member in by_savings(front["uniform"]):
        if member["key"] not in known:
            steps = member["schedule"]["steps"]
            name = f"uniform {len(steps)} x {steps[0]['width']:g}"
            named.append(NamedMember(name, "uniform", member))
    return named


def widths_of(front: Front) -> list[float]:
    """The widths that a front's schedules use, falling."""
    schedules = [entry.member["schedule"] for entry in all_schedules(front)]
    return sorted({s["width"] for schedule in schedules for s in schedule["steps"]}, reverse=True)


def strip_text(schedule: ScheduleRecord, grid: Sequence[int]) -> str:
    """A schedule as a row of bars, one for each timestep of the grid, in its order.

    The height says the width; a skipped timestep is the lowest bar, which no width has, for in
    proportional type a blank would not be as wide as a bar. On a grid of more than MAX_BARS
    timesteps a bar stands for the widest of several.
    """
    widths = {step["t"]: step["width"] for step in schedule["steps"]}
    num_bars = min(len(grid), MAX_BARS)
    ends = [i * len(grid) // num_bars for i in range(num_bars + 1)]
    widest = [max(widths.get(t, 0) for t in grid[a:b]) for a, b in pairwise(ends)]
    return "".join(BARS[max(1, round(8 * width) - 1)] if width else BARS[0] for width in widest)


def percent(share: float) -> str:
    """A share in whole percent: .523 is "52 %"."""
    return f"{100 * share:.0f} %"


def with_interval(value: float, interval: Sequence[float]) -> str:
    """A value with three digits that count, and its interval: "7.43 [7.21, 7.65]"."""
    low, high = interval
    return f"{rounded(value)} [{rounded(low)}, {rounded(high)}]"


def rounded(value: float, digits: int = 3) -> str:
    """To so many digits, but never by a power of ten: 0.123, 12.3, 1,234."""
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e+" in text else text
