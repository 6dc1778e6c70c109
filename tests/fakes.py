"""Fakes that tests share: a front as a real search on digits leaves it, without searching.

Quality follows a closed form that resembles what was measured on digits: narrow steps cost much
late (at low noise) and nearly nothing early, wide gaps between steps cost much, and starting
somewhat below T costs nothing. The genomes were found by evolution on that form.
"""

import numpy as np

from orchestration.members import Front, Latency, Member
from search_spaces.pareto import hypervolume
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import Step
from search_spaces.schedule import StepSchedule, even_grid

NUM_TRAIN_TIMESTEPS = 1000
MACS = {1.0: 9_800_000, 0.75: 5_590_000, 0.5: 2_540_000, 0.25: 680_000}
LOSS_OF_WIDTH = {1.0: 0.0, 0.75: 0.3, 0.5: 4.0, 0.25: 12.0}
SPACE = PerStepSpace(even_grid(NUM_TRAIN_TIMESTEPS, 50), tuple(MACS))
GENOMES = (
    "00000000444444444444444444444444444444444444444444",
    "00000000333334444444444444444444444444444444444444",
    "00000000333333333333333333444444444444444444444444",
    "00000000003333333333333333333333333333444444444444",
    "00000000002233333333333333333333333333333333334444",
    "00000000002222222222333333333333333333333333333333",
    "00000000002222221121222222222222233333333333333333",
    "00000000001111111111111111222020222232223333333333",
    "00000000000101010101020202020202020203030303030302",
    "00000000000101010101010101010101010101010202020230",
)
RECOMMENDED = 4


def fake_front() -> Front:
    """A front with 10 members, 24 uniform schedules (the baseline is the first) and a baseline.

    Members are non-dominated, the fifth by savings is recommended; they are not in the order of
    their savings.
    """
    uniform = [SPACE.decode(genome) for genome in SPACE.uniform()]
    found = [SPACE.decode(np.array([int(gene) for gene in genome])) for genome in GENOMES]
    members, rivals = fake_members(found, uniform), fake_members(uniform, [])
    reference_point = [50 * MACS[1.0], 2 * fake_quality(uniform[0])]
    return {
        "format": "step-front/1",
        "dataset": "digits",
        "supernet": "5e" * 32,
        "quality": "fd_digits_2k",
        "num_images": 2000,
        "noise_floor": 4.512,
        "noise_floor_num_images": 898,
        "baseline": rivals[0],
        "uniform": rivals,
        "members": members[5:] + members[:5],
        "recommended": members[RECOMMENDED]["key"],
        "hypervolume": _hypervolume(members, reference_point),
        "hypervolume_uniform": _hypervolume(rivals, reference_point),
        "reference_point": reference_point,
    }


def fake_latency(front: Front) -> dict[str, Latency]:
    """Latencies of the baseline and the members: narrow calls are slower than their MACs say.

    What was predicted is by .2 ms too much, that is, by 9 to 1 percent.
    """
    slowest = _latency_ms(front["baseline"])
    measured = {m["key"]: _latency_ms(m) for m in [front["baseline"], *front["members"]]}
    return {
        key: {
            "latency_ms": ms,
            "speedup": slowest / ms,
            "latency_predicted_ms": ms + 0.2,
            "latency_error": 0.2 / ms,
        }
        for key, ms in measured.items()
    }


def fake_latency_front() -> Front:
    """The same schedules as found by a search for latency, at what `fake_latency` predicts."""
    front = fake_front()
    most = _latency_ms(front["baseline"]) + 0.2
    priced = {}
    for member in [*front["uniform"], *front["members"]]:
        cost = _latency_ms(member) + 0.2
        priced[member["key"]] = {
            **member, "latency_predicted_ms": cost, "savings": 1 - cost / most
        }  # fmt: skip
    return {
        **front,
        "cost": "latency",
        "baseline": priced[front["baseline"]["key"]],
        "uniform": [priced[member["key"]] for member in front["uniform"]],
        "members": [priced[member["key"]] for member in front["members"]],
    }


def fake_schedule(steps: tuple[Step, ...]) -> StepSchedule:
    """A DDIM schedule on the usual chain."""
    return StepSchedule(NUM_TRAIN_TIMESTEPS, "linear", "epsilon", "ddim", 0.0, True, steps)


def fake_quality(steps: tuple[Step, ...]) -> float:
    """A Fréchet distance for steps on the grid, about 8 for the baseline."""
    times = np.array([t for t, _ in steps]) / NUM_TRAIN_TIMESTEPS
    gaps = times - np.append(times[1:], -0.02)
    spacing = 7150 * np.sum(gaps**3 * np.exp(-2.2 * times))
    late_start = 40 * max(0.0, 0.83 - times[0]) ** 2
    loss = np.array([LOSS_OF_WIDTH[width] for _, width in steps])
    narrow = np.sum(np.minimum(gaps, 0.1) * 4 * np.exp(-4 * times) * loss)
    return round(float(6.6 + spacing + late_start + narrow), 4)


def fake_members(
    schedules: list[tuple[Step, ...]], uniform: list[tuple[Step, ...]]
) -> list[Member]:
    """MEMBER records of schedules; savings_uniform against the `uniform` ones."""
    best, most = fake_quality(SPACE.decode(SPACE.uniform()[0])), 50 * MACS[1.0]
    rivals = [(fake_schedule(steps).macs(MACS), fake_quality(steps)) for steps in uniform]
    members: list[Member] = []
    for steps in schedules:
        schedule, quality = fake_schedule(steps), fake_quality(steps)
        macs, delta = schedule.macs(MACS), quality - best
        as_good = [cost for cost, rival in rivals if rival <= quality]
        error = 0.0 if delta == 0 else 0.02 * best + 0.1 * abs(delta)
        members.append(
            {
                "key": schedule.key,
                "schedule": schedule.to_json(),
                "quality": quality,
                "quality_ci": [round(0.96 * quality, 4), round(1.04 * quality, 4)],
                "delta_ci": [round(delta - error, 4), round(delta + error, 4)],
                "macs": macs,
                "savings": 1 - macs / most,
                "savings_uniform": 1 - macs / min(as_good) if as_good else None,
            }
        )
    return members


def _hypervolume(members: list[Member], reference_point: list[float]) -> float:
    points = [[member["macs"], member["quality"]] for member in members]
    return hypervolume(np.array(points), np.array(reference_point))


def _latency_ms(member: Member) -> float:
    calls = member["schedule"]["steps"]
    return round(sum(0.1 + MACS[step["width"]] / 30e6 for step in calls), 3)
