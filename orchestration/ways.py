"""How a subnet can run, and which way is chosen for each width.

A way is a layout in memory, a precision, and whether the network is compiled. All of them give the
same numbers but for rounding, so the choice is one of time alone, made once by measuring on the
device that scores. The plainest way is kept unless another one is clearly faster. Compiling costs
tens of seconds a width, so it is only tried where the planned work would win them back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from orchestration.search_sections import Score

# What another way must win to be preferred, and what compiling is expected to win.
CLEARLY_FASTER = 0.95
EXPECTED_GAIN = 0.15
COMPILE_S = 45.0  # of one width, the first time on a machine


@dataclass(frozen=True, order=True)
class Way:
    """One way to run a subnet.

    Args:
        compiled: by `torch.compile`.
        dtype: `float32` or `bfloat16`, of weights and activations; noise, moves and features stay
            in float32.
        memory_format: `contiguous` or `channels_last`.
    """

    compiled: bool = False
    dtype: str = "float32"
    memory_format: str = "contiguous"


def eager_ways(score: Score, has_bfloat16: bool) -> list[Way]:
    """The ways that are worth measuring, the plainest first.

    Args:
        score: of the configuration: what it names is not measured.
        has_bfloat16: whether the device has units for it; elsewhere it is emulated, and slow.
    """
    layouts = (
        ("contiguous", "channels_last")
        if score.memory_format == "auto"
        else (score.memory_format,)
    )
    dtypes = (score.dtype,)
    if score.dtype == "auto":
        dtypes = ("float32", "bfloat16") if has_bfloat16 else ("float32",)
    return [Way(False, dtype, layout) for dtype in dtypes for layout in layouts]


def fastest(milliseconds: Mapping[Way, float]) -> Way:
    """The way to take: the plainest, unless a later one is clearly faster than what is taken.

    Args:
        milliseconds: of an image, by way, the plainest first.
    """
    best, *others = milliseconds
    for way in others:
        if milliseconds[way] < CLEARLY_FASTER * milliseconds[best]:
            best = way
    return best


def worth_compiling(milliseconds: Mapping[float, float], image_calls: float) -> list[float]:
    """The widths for which compiling would win more time than it costs.

    Args:
        milliseconds: of an image, for each width, in its eager way.
        image_calls: network calls x images that are planned, all widths together.
    """
    share = image_calls / len(milliseconds)
    return [
        width
        for width, ms in milliseconds.items()
        if EXPECTED_GAIN * share * ms / 1000 > COMPILE_S
    ]


def name_of(width: float) -> str:
    """A width as a key: the shortest digits that give it back, such as `1` and `0.75`."""
    return np.format_float_positional(width, trim="-")


def to_json(ways: Mapping[float, Way]) -> dict[str, dict[str, bool | str]]:
    """By width, for `plan.json`."""
    return {name_of(width): asdict(ways[width]) for width in sorted(ways, reverse=True)}


def from_json(content: Mapping[str, Mapping[str, bool | str]]) -> dict[float, Way]:
    """What `to_json` gave; AttributeError, TypeError or ValueError for anything else."""
    return {float(width): Way(**fields) for width, fields in content.items()}


def planned_calls(
    budget: int | None, budget_calls: int | None, calls: int, num_images: int
) -> float:
    """Network calls x images of a search, at half the baseline's calls a candidate.

    0 without a budget in candidates or calls: it may end at any moment. Of the configuration
    alone: what is decided by it must not depend on the number of actors.
    """
    bounds: Sequence[float] = [
        bound
        for bound in (
            budget_calls,
            None if budget is None else budget * num_images * calls / 2,
        )
        if bound is not None
    ]
    return min(bounds, default=0.0)
