"""plan.json: how the subnets run here, and how fast.

Measured once, on an actor; every actor and every resume of the run does as it says. What is found
for a network is kept beside the prepared data too, so that the next run on the same hardware
decides alike, and searches of it go by the same latencies.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from orchestration import stub, ways
from orchestration.chains import baseline, noise_kind, space
from orchestration.config import Config
from orchestration.errors import MachineError
from orchestration.files import Json, canonical_json, read_json, write_json
from orchestration.plan_file import gpu, other_device, read_ways
from orchestration.pool import Pool
from orchestration.precision import (
    JUDGED_OF_A_WIDTH,
    Difference,
    difference,
    few_of_each_width,
    is_rough,
)
from orchestration.rundir import RunDirectory
from orchestration.setting import Setting, execution
from orchestration.step_times import StepTimes
from orchestration.ways import Way

FORMAT = "step-plan/1"

# Images sampled at once where a latency is told.
NUM_SAMPLES = 16

Milliseconds = dict[float, dict[Way, float]]
Say = Callable[[str], None]


def follow_plan(
    config: Config, run: RunDirectory, chosen: Setting, pool: Pool, say: Say
) -> dict[str, Json]:
    """Has the pool run as the plan says, which is written first where there is none.

    Returns:
        The plan.

    Raises:
        DataError: a plan that cannot be read.
    """
    if not run.plan.exists():
        write_json(run.plan, _plan(config, run, chosen, pool, say))
    if chosen.image_shape is not None:
        use_plan(config, chosen, pool, run.plan)
    return read_json(run.plan)


def use_plan(config: Config, chosen: Setting, pool: Pool, path: Path) -> None:
    """Has every actor run the subnets as a plan says.

    Raises:
        DataError: it cannot be read, or is of other widths.
        MachineError: it is of another device, which would give other bits.
    """
    found = read_ways(path, chosen.macs)
    different = other_device(path, pool.one("hardware"))
    if different is not None:
        raise MachineError(
            f"{different}, which gives other bits; expected the same (see score.device and"
            " ray.accelerator_type), or another --out"
        )
    use_ways(config, chosen, pool, found)


def use_ways(config: Config, chosen: Setting, pool: Pool, found: Mapping[float, Way]) -> None:
    """Has every actor run the subnets in these ways."""
    runs = replace(execution(config), ways=dict(found))
    pool.remake(chosen.make_scorer, chosen.args_with(runs))


def _plan(
    config: Config, run: RunDirectory, chosen: Setting, pool: Pool, say: Say
) -> dict[str, Json]:
    plan: dict[str, Json] = {
        "format": FORMAT,
        "batch_size": config.score.batch_size,
        "macs": _named(chosen.macs),
    }
    if chosen.image_shape is None:
        made_up = stub.step_times(chosen.macs)
        return plan | (_latencies(made_up) if config.search.cost == "latency" else {})
    hardware = pool.one("hardware")
    path = _cached_ways(config, run, chosen, pool, hardware, say)
    latencies = _cached_latencies(config, run, chosen, pool, path)
    return {**plan, **gpu(hardware), **read_json(path), **latencies}


def _cached_latencies(
    config: Config, run: RunDirectory, chosen: Setting, pool: Pool, of_ways: Path
) -> dict[str, Json]:
    """The latencies of subnets that run in the ways of a cached file, cached themselves."""
    found = read_ways(of_ways, chosen.macs)
    known_by = {
        "of": of_ways.stem,
        "ways": ways.to_json(found),
        **config.sampler.model_dump(mode="json"),
        "prediction": config.diffusion.prediction,
        "num_images": NUM_SAMPLES,
        **noise_kind(config),
    }
    path = run.cache / f"latency-{_name(known_by)}.json"
    if not path.exists():
        write_json(path, _latencies(pool.one("step_times", found, NUM_SAMPLES)))
    return read_json(path)


def _latencies(times: StepTimes) -> dict[str, Json]:
    """The part of a plan that `read_latency` reads, milliseconds an image."""
    return {
        "latency_ms": _named(times.call_ms),
        "beside_ms": {"step": times.step_ms, "sample": times.sample_ms},
    }


def _cached_ways(
    config: Config,
    run: RunDirectory,
    chosen: Setting,
    pool: Pool,
    hardware: Mapping[str, str | bool],
    say: Say,
) -> Path:
    """The file in the cache that holds the chosen ways; written if it is not there."""
    known_by = {
        **hardware,
        "shape": list(chosen.image_shape),
        "macs": _named(chosen.macs),
        **_network_of(config),
        **config.score.model_dump(mode="json", include={"memory_format", "dtype"}),
        "batch_size": execution(config).batch_size,
        "compiled_for": str(_image_calls(config)),
    }
    if config.score.tf32:
        known_by["tf32"] = True
    if hardware["has_bfloat16"]:  # whether it does harm is judged on a supernet's own samples
        known_by |= {
            "judged_on": [chosen.supernet, chosen.quality.judged_on],
            "noise": _judged_by(config),
        }
    path = run.cache / f"ways-{_name(known_by)}.json"
    if not path.exists():
        candidates = ways.eager_ways(config.score, hardware["has_bfloat16"])
        write_json(path, _measure(config, chosen, pool, candidates, say))
    return path


def _network_of(config: Config) -> dict[str, Json]:
    """What tells networks of equal MACs apart."""
    if config.data.is_windows:
        return config.imputer.model_dump(mode="json")
    return config.network.model_dump(mode="json", exclude={"conditional"})  # it costs nothing


def _measure(
    config: Config, chosen: Setting, pool: Pool, candidates: Sequence[Way], say: Say
) -> dict[str, Json]:
    """Ways and what they were chosen by; `candidates` are the eager ones, the plainest first."""
    score, rows = config.score, execution(config).batch_size
    found: Milliseconds = pool.one("measure", dict.fromkeys(chosen.macs, candidates), rows)
    best = {width: ways.fastest(of_way) for width, of_way in found.items()}
    judged: Difference | None = None
    if score.dtype == "auto" and is_rough(best):
        searched = space(config)
        schedules = few_of_each_width([searched.decode(g) for g in searched.uniform()])
        say(
            f"plan    {len(schedules)} schedules in bfloat16 and in float32, to see what it does"
            " to their qualities ..."
        )
        judged = difference(
            pool, partial(use_ways, config, chosen, pool), best, schedules,
            config.search.noise_seed, config.search.num_images,
        )  # fmt: skip
        if not judged.is_harmless:
            found = {
                width: {way: ms for way, ms in of_way.items() if way.dtype == "float32"}
                for width, of_way in found.items()
            }
            best = {width: ways.fastest(of_way) for width, of_way in found.items()}
    taken = {width: found[width][way] for width, way in best.items()}
    worth = ways.worth_compiling(taken, _image_calls(config))
    pairs = {width: [best[width], replace(best[width], compiled=True)] for width in worth}
    for width, of_way in pool.one("measure", pairs, rows).items():
        best[width] = ways.fastest(of_way)
        found[width] |= {way: ms for way, ms in of_way.items() if math.isfinite(ms)}
    return {
        "ways": ways.to_json(best),
        "ways_ms": {
            ways.name_of(width): [{**asdict(way), "ms": ms}
                           for way, ms in of_way.items()]
            for width, of_way in found.items()
        },
        "bfloat16_difference": None if judged is None else judged.largest,
    }  # fmt: skip


def _judged_by(config: Config) -> list[Json]:
    """What bfloat16 was judged by, beside the networks."""
    search = config.search
    chain = [*config.sampler.model_dump(mode="json").values(), search.steps]
    return [*chain, search.noise_seed, search.num_images, JUDGED_OF_A_WIDTH]


def _image_calls(config: Config) -> float:
    """Network calls x images that are planned; 0 where nothing may be compiled for them."""
    search = config.search
    if config.score.compile == "never":
        return 0.0
    calls = search.steps * baseline(config).calls_per_step
    return ways.planned_calls(search.budget, search.budget_calls, calls, search.num_images)


def _name(known_by: Mapping[str, Json]) -> str:
    """Of a file in the cache, by what it depends on."""
    return hashlib.sha256(canonical_json(known_by)).hexdigest()[:16]


def _named(values: Mapping[float, float]) -> dict[str, Json]:
    return {ways.name_of(width): value for width, value in sorted(values.items(), reverse=True)}
