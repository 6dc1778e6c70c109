"""What the benchmarks share, and the small ones: numbers, never times."""

import json
import time
from functools import partial
from inspect import signature
from itertools import pairwise

import numpy as np
import pytest

from jobs.benchmarks import frechet, latency, roofline, subjects
from jobs.benchmarks.report import Report, Row, write_report
from jobs.benchmarks.side_by_side import Timing, piece_by_piece, ratio, side_by_side
from jobs.benchmarks.sleeping_actor import SleepingActor
from models.cost import macs_by_width
from models.frechet import Reference
from models.moments import moments
from orchestration.scoring_actors import ScorerActor


def test_rivals_are_called_in_turn_and_every_other_round_backwards():
    called = []
    rivals = {name: lambda name=name: called.append(name) for name in "abc"}
    timings = side_by_side(rivals, repetitions=3)
    assert "".join(called) == "abc" + "abc" + "cba" + "abc"
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {
        "a": 3, "b": 3, "c": 3
    }  # fmt: skip
    called.clear()
    side_by_side(rivals, repetitions=1, warm_up=False)
    assert "".join(called) == "abc"


def test_long_rivals_run_in_turn_from_one_yield_to_the_next(monkeypatch):
    clock, called = iter(range(100)), []
    monkeypatch.setattr("jobs.benchmarks.side_by_side.time.perf_counter", lambda: next(clock))

    def rival(name, pieces):
        for _ in range(pieces):
            called.append(name)
            yield

    rivals = {name: partial(rival, name, pieces) for name, pieces in (("a", 1), ("b", 3))}
    timings = piece_by_piece(rivals, repetitions=2)
    assert "".join(called) == 2 * "abbb"
    # Every piece takes a tick of this clock, the one that finds the end too
    assert {name: timing.seconds for name, timing in timings.items()} == {"a": (2, 2), "b": (4, 4)}


def test_a_ratio_is_the_median_over_rounds():
    timings = {"slow": Timing((4.0, 9.0, 80.0)), "fast": Timing((2.0, 3.0, 1.0))}
    assert ratio(timings, "slow", "fast") == 3.0
    assert ratio(timings, "fast", "slow") == pytest.approx(1 / 3)


def test_a_report_is_figures_timings_machine_and_versions(tmp_path):
    report = Report("x", {"speedup": 2.0}, [Row("case", "rival", Timing((3.0, 1.0, 2.0)))])
    content = json.loads(write_report(report, tmp_path).read_text())
    assert content["name"] == "x" and content["figures"] == {"speedup": 2.0}
    assert content["timings"] == [
        {"case": "case", "rival": "rival", "median_s": 2.0, "min_s": 1.0, "max_s": 3.0,
         "repetitions": 3}
    ]  # fmt: skip
    assert content["machine"]["cpus"] >= 1 and "torch" in content["versions"]


@pytest.mark.parametrize("count", [5, 12, 40])
def test_both_sides_of_the_frechet_benchmark_agree(count):
    rng = np.random.default_rng(count)
    reference = Reference.of(moments(rng.normal(size=(60, 12))))
    features = rng.normal(1, 2, (count, 12)).astype("f4")
    assert frechet.ours(features, reference) == pytest.approx(
        frechet.fid(features, reference), rel=1e-6
    )


MACS = {1.0: 6222, 0.75: 3533, 0.5: 1600, 0.25: 422}


@pytest.mark.parametrize("percent", [0, 25, 50, 75])
def test_a_schedule_saves_as_near_to_its_aim_as_its_steps_allow(percent):
    steps = latency.schedule(MACS, percent)
    assert len(steps) == latency.STEPS
    assert [t for t, _ in steps] == sorted((t for t, _ in steps), reverse=True)
    widths = [width for _, width in steps]
    assert widths == sorted(widths)  # narrow first
    count = len(steps)
    target = (1 - percent / 100) * count * MACS[1.0]
    nearest = min(
        abs(num_wide * MACS[wide] + (count - num_wide) * MACS[narrow] - target)
        for wide, narrow in pairwise(sorted(MACS, reverse=True))
        for num_wide in range(count + 1)
    )
    assert abs(sum(MACS[width] for width in widths) - target) == nearest


def test_a_prediction_is_compared_with_its_schedule_within_each_round():
    """Calls of 3 and 1 s and .5 s for the rest: 2 wide and 1 narrow steps are 7.5 s."""
    timings = {
        "a call at width 1": Timing((3.0, 3.0, 30.0)),
        "a call at width 0.5": Timing((1.0, 1.0, 10.0)),
        latency.BESIDE: Timing((0.5, 0.5, 5.0)),
        "mixed": Timing((7.5, 10.0, 60.0)),
        "narrow": Timing((2.5, 2.5, 25.0)),
    }
    schedules = {
        "mixed": ((900, 0.5), (500, 1.0), (3, 1.0)),
        "narrow": ((900, 0.5), (500, 0.5), (3, 0.5)),
    }
    errors = latency.prediction_errors(timings, schedules)
    assert errors == {"mixed": 0.0, "narrow": pytest.approx(0.4)}  # of 0, -.25 and .25


def tiny(monkeypatch, *names):
    """Networks of an instant in place of the ones that are measured."""
    small = {**subjects.NETWORKS["digits"], "block_out_channels": (8, 8), "norm_group_size": 2,
             "head_size": 2}  # fmt: skip
    for name in names:
        monkeypatch.setitem(subjects.NETWORKS, name, small)


def test_frechet_names_its_least_speed_up_of_each_dimension(monkeypatch):
    monkeypatch.setattr(frechet, "CASES", ((6, 4), (6, 30), (9, 20)))
    seconds = iter([(6.0, 2.0), (8.0, 2.0), (5.0, 1.0)])

    def timed(rivals, *_):
        return dict(zip(rivals, (Timing((s,)) for s in next(seconds)), strict=True))

    monkeypatch.setattr(frechet, "side_by_side", timed)
    report = frechet.run(1, print)
    difference = report.figures["max_relative_difference"]
    assert report.figures == {
        "speedup_6": 3.0, "speedup_9": 5.0, "max_relative_difference": difference
    }  # fmt: skip
    assert 0 <= difference < 1e-6 and len(report.rows) == 6


def test_latency_divides_a_speed_up_by_the_ratio_of_macs(monkeypatch):
    """Where time goes as MACs, but for a tenth that every schedule has, by that less."""
    tiny(monkeypatch, "cifar10")
    macs = macs_by_width(
        {width: subjects.supernet("cifar10").subnet(width) for width in subjects.WIDTHS},
        subjects.shape("cifar10"),
    )
    whole = latency.STEPS * macs[1.0]

    def timed(rivals, repetitions):
        seconds = {latency.BESIDE: 0.0}
        seconds |= {f"a call at width {width:g}": m / whole for width, m in macs.items()}
        for name, percent in [("baseline", 0), *((f"saves {p} %", p) for p in latency.SAVINGS)]:
            steps = latency.schedule(macs, percent)
            seconds[name] = sum(macs[width] for _, width in steps) / whole + 0.1
        for call in rivals.values():  # that each can be called
            call()
        return {name: Timing((seconds[name],) * repetitions) for name in rivals}

    monkeypatch.setattr(latency, "side_by_side", timed)
    report = latency.run(2, print)
    for percent in latency.SAVINGS:
        share = 1 - report.notes["savings"][f"saves {percent} %"]
        assert report.figures[f"speedup_{percent}"] == pytest.approx(1.1 / (share + 0.1))
        assert report.figures[f"ratio_{percent}"] == pytest.approx(1.1 * share / (share + 0.1))
    share = 1 - report.notes["savings"]["saves 75 %"]
    assert report.figures["prediction_error"] == pytest.approx(0.1 / (share + 0.1))


def test_a_share_of_the_peak_is_of_twice_the_macs(monkeypatch):
    tiny(monkeypatch, "cifar10")
    monkeypatch.setattr(roofline, "SIZES", (32, 64))
    monkeypatch.setattr(roofline, "BATCH", {"cifar10": 3})

    def timed(rivals, repetitions):
        for call in rivals.values():
            call()
        products = {"32": 0.5, "64": 2.0}  # an eighth of the work in a quarter of the time
        return {
            name: Timing((products.get(str(name), 4.0),) * repetitions) for name in rivals
        }

    monkeypatch.setattr(roofline, "side_by_side", timed)
    report = roofline.run(1, print)
    peak = 2 * 64**3 / 2.0
    net = subjects.supernet("cifar10").subnet(1.0)
    flops = 2 * 3 * macs_by_width({1.0: net}, subjects.shape("cifar10"))[1.0] / 4.0
    assert report.notes["peak_bfloat16_gflops"] == report.notes["peak_float32_gflops"]
    assert report.notes["peak_float32_gflops"] == pytest.approx(peak / 1e9)
    assert report.figures["width_1"] == report.figures["width_1_float32"]
    assert report.figures["width_1"] == pytest.approx(flops / peak)
    assert report.notes["cifar10_1_gflops"] == pytest.approx(flops / 1e9)


def test_an_actor_that_sleeps_is_asked_and_answers_as_one_that_scores():
    for method in ("call", "score", "judge"):
        sleeping, scoring = (
            # Ray, where it has made actors of a class, adds a parameter of its own
            [name for name in signature(getattr(kind, method)).parameters if name[:5] != "_ray_"]
            for kind in (SleepingActor, ScorerActor)
        )
        assert sleeping == scoring
    actor = SleepingActor(0.05)
    wide, narrow = [(900, 1.0), (300, 1.0)], [(900, 0.5)]
    start = time.perf_counter()
    batches = [actor.score(None, [wide, narrow], 0, range(k, k + 5)) for k in (0, 5)]
    assert 0.2 <= time.perf_counter() - start < 2  # a candidate's batch at a time
    assert isinstance(actor.score(None, [narrow], 0, range(5)), float)
    blocks = [batch[i] for i in range(2) for batch in batches]
    found = actor.judge(None, 2, *blocks)
    assert [scores.full for scores in found] == [blocks[0], blocks[2]]
    assert found[0].full < found[1].full
