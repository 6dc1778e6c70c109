"""What plan.json says, read back: how subnets run, how fast, on what device it was measured."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from orchestration import ways
from orchestration.costs import Cost
from orchestration.errors import DataError
from orchestration.files import Json, read_json
from orchestration.machine import gpu_kind
from orchestration.ways import Way


def read_ways(path: Path, widths: Collection[float]) -> dict[float, Way]:
    """The ways of a plan, or of the measured part of one in the cache.

    Raises:
        DataError: it cannot be read, or is of other widths.
    """
    content = read_json(path)
    try:
        found = ways.from_json(content["ways"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected how each width runs, under 'ways': {error}") from error
    if found.keys() != set(widths):
        raise DataError(f"{path}: got widths {sorted(found)}, expected {sorted(widths)}")
    return found


def read_latency(path: Path, widths: Collection[float]) -> Cost | None:
    """The latency of a schedule by a plan's measurements; None where the plan has none.

    Raises:
        DataError: the plan cannot be read, or is of other widths.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "beside_ms" not in content:
        return None
    try:
        beside = content["beside_ms"]
        of_step = {
            float(width): float(ms) + float(beside["step"])
            for width, ms in content["latency_ms"].items()
        }
        found = Cost("latency", of_step, float(beside["sample"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: expected milliseconds under 'latency_ms' and 'beside_ms': {error}"
        ) from error
    if found.of_step.keys() != set(widths):
        raise DataError(
            f"{path}: got latencies of widths {sorted(found.of_step)}, expected {sorted(widths)}"
        )
    if not all(0 < ms < math.inf for ms in found.of_step.values()):
        raise DataError(f"{path}: got latencies {content['latency_ms']}, expected them above 0")
    return found


def other_device(path: Path, hardware: Mapping[str, str | bool]) -> str | None:
    """How the device that scores differs from that of a plan; None where it does not.

    Only GPUs are told apart, from CPUs and from each other; plans of CPUs don't name them.
    """
    plan, found = read_json(path), gpu(hardware)
    # Plans used to have the name alone, which is nobody's kind
    if found.get("gpu_kind") == plan.get("gpu_kind", plan.get("gpu")):
        return None
    return f"{path} is of {_device_name(plan)}, but scoring runs on {_device_name(found)}"


def gpu(hardware: Mapping[str, str | bool]) -> dict[str, Json]:
    """What a plan says of a GPU; nothing of a CPU."""
    kind = gpu_kind(hardware)
    return {} if kind is None else {"gpu": hardware["processor"], "gpu_kind": kind}


def _device_name(plan: Mapping[str, Json]) -> str:
    named = (str(plan[key]) for key in ("gpu", "gpu_kind") if key in plan)
    return f"GPUs ({': '.join(named)})" if "gpu" in plan else "CPUs"
