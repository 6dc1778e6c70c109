"""`latency`: how much of a saving in MACs arrives as time, by width alone.

On the CIFAR-10-size network: of STEPS steps each runs at one of the two neighbouring widths that
save just less and just more than 25, 50 and 75 %, in such numbers that the whole comes nearest to
it. Measured is the sampling of a batch from noise to images, as the scoring actors do it.
`ratio_50`: the speed-up at 50 %, divided by the MACs of the baseline over the schedule's.

Single calls of each width are timed in the same rounds, and a step and a sample beside the
network: `prediction_error` is the largest difference between a schedule's time and the sum of its
parts, as a share of the former, in the median over rounds.
"""

import statistics
from collections.abc import Mapping
from copy import copy
from functools import partial

import torch

from jobs.benchmarks import subjects
from jobs.benchmarks.report import Report, Row, Say
from jobs.benchmarks.side_by_side import Timing, ratio, side_by_side
from models.cost import macs_by_width
from models.diffusion import alphas_cumprod, linear_betas
from models.sampling import Sampler
from orchestration.execution import Execution
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way

NAME, STEPS, BATCH_SIZE = "cifar10", 12, 4
SAVINGS = (25, 50, 75)
BESIDE = f"{STEPS} steps without a network"

Steps = tuple[tuple[int, float], ...]


def run(repetitions: int, say: Say) -> Report:
    """Measures with all the cores that torch uses."""
    supernet = subjects.supernet(NAME)
    subnets = {width: supernet.subnet(width) for width in supernet.widths}
    macs = macs_by_width(subnets, subjects.shape(NAME))
    sampler = Sampler("ddim", alphas_cumprod(linear_betas(1000)), 0.0, True)
    ways = dict.fromkeys(subnets, Way(memory_format="channels_last"))
    execution = Execution(BATCH_SIZE, torch.get_num_threads(), 0, ways)
    source = SupernetSource(subnets, sampler, None, subjects.shape(NAME), execution)
    schedules = {"baseline": schedule(macs, 0)}
    schedules |= {f"saves {percent} %": schedule(macs, percent) for percent in SAVINGS}
    rivals = {name: partial(_sample, source, steps) for name, steps in schedules.items()}
    bare = copy(source)
    bare.networks = dict.fromkeys(subnets, _no_network)
    rivals[BESIDE] = partial(_sample, bare, schedules["baseline"])
    rivals |= {_call_name(width): partial(_call, source, width) for width in macs}
    say(f"{len(rivals)} rivals, {repetitions} rounds and one to warm up")
    timings = side_by_side(rivals, repetitions)
    figures = {}
    for percent in SAVINGS:
        name = f"saves {percent} %"
        fewer_macs = _macs(schedules["baseline"], macs) / _macs(schedules[name], macs)
        figures[f"speedup_{percent}"] = ratio(timings, "baseline", name)
        figures[f"ratio_{percent}"] = figures[f"speedup_{percent}"] / fewer_macs
    errors = prediction_errors(timings, schedules)
    figures["prediction_error"] = max(abs(errors[f"saves {percent} %"]) for percent in SAVINGS)
    case = f"{NAME}, {STEPS} steps of {BATCH_SIZE} images"
    rows = [Row(case, name, timing) for name, timing in timings.items()]
    saved = {
        name: 1 - _macs(steps, macs) / _macs(schedules["baseline"], macs)
        for name, steps in schedules.items()
    }
    return Report(
        "latency",
        figures,
        rows,
        {
            "macs": {f"{w:g}": m for w, m in macs.items()},
            "savings": saved,
            "prediction_errors": errors,
        },
    )


def schedule(macs: dict[float, int], percent: int) -> Steps:
    """STEPS steps at two neighbouring widths that save as near to `percent` as can be.

    The narrower one comes first, at high noise, as in the schedules that a search finds.
    """
    widths = sorted(macs, reverse=True)
    target = (1 - percent / 100) * macs[widths[0]]
    wide, narrow = next(
        (a, b) for a, b in zip(widths, widths[1:], strict=False) if macs[b] <= target
    )
    num_wide = round(STEPS * (target - macs[narrow]) / (macs[wide] - macs[narrow]))
    falling = [1000 * (STEPS - k) // STEPS - 1 for k in range(STEPS)]
    return tuple((t, narrow if k < STEPS - num_wide else wide) for k, t in enumerate(falling))


def prediction_errors(
    timings: Mapping[str, Timing], schedules: Mapping[str, Steps]
) -> dict[str, float]:
    """How much longer each schedule is predicted to take than it does, as a share of that.

    Predicted is the sum of its calls and of what STEPS steps take without a network; compared
    within each round, of which the median counts.
    """
    errors = {}
    for name, steps in schedules.items():
        parts = [timings[_call_name(width)] for _, width in steps] + [timings[BESIDE]]
        rounds = zip(timings[name].seconds, *(part.seconds for part in parts), strict=True)
        errors[name] = statistics.median(sum(of) / whole - 1 for whole, *of in rounds)
    return errors


def _call_name(width: float) -> str:
    return f"a call at width {width:g}"


@torch.inference_mode()
def _call(source: SupernetSource, width: float) -> None:
    x = torch.zeros(BATCH_SIZE, *source.image_shape)
    source.networks[width](x, torch.zeros(BATCH_SIZE, dtype=torch.int64))


def _no_network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return x


def _macs(steps: Steps, macs: dict[float, int]) -> int:
    return sum(macs[width] for _, width in steps)


def _sample(source: SupernetSource, steps: Steps) -> torch.Tensor:
    ((_, x_0),) = source.samples([steps], 0, range(BATCH_SIZE), BATCH_SIZE)
    return x_0
