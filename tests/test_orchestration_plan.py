"""How subnets run is measured once, kept, and followed."""

import json

import numpy as np
import pytest

from models.intervals import Replicates
from orchestration import chains, setting, ways
from orchestration import config as configs
from orchestration.errors import DataError
from orchestration.execution import Execution
from orchestration.plan import follow_plan
from orchestration.plan_file import read_latency
from orchestration.rundir import RunDirectory
from orchestration.step_times import StepTimes
from orchestration.ways import Way

LAST = Way(memory_format="channels_last")
ROUGH = Way(dtype="bfloat16", memory_format="channels_last")
TIMES = {Way(): 1.0, LAST: 0.8, Way(dtype="bfloat16"): 0.5, ROUGH: 0.4}


class Actors:
    """A pool whose actors take a told time for each way, and whose bfloat16 changes qualities."""

    def __init__(self, milliseconds, has_bfloat16=False, change=0.0, slope=0.0):
        self.milliseconds = milliseconds
        self.has_bfloat16 = has_bfloat16
        self.change = change
        self.slope = slope
        self.measured = []
        self.timed = []
        self.runs = []
        self.judged = []

    def one(self, method, *args):
        if method == "hardware":
            return {"processor": "fake", "has_bfloat16": self.has_bfloat16}
        asked, batch_size = args
        if method == "step_times":
            self.timed.append((asked, batch_size))
            times = {width: self.milliseconds[way] * width for width, way in asked.items()}
            return StepTimes(times, 0.01, 0.05)
        self.measured.append((asked, batch_size))
        return {
            width: {way: self.milliseconds[way] * width for way in of_width}
            for width, of_width in asked.items()
        }

    def remake(self, make_scorer, args):
        (execution,) = args
        self.runs.append(execution.ways)

    def distances(self, schedules, seed, num_images):
        self.judged.append(list(schedules))
        is_rough = any(way.dtype == "bfloat16" for way in self.runs[-1].values())
        noise = np.random.default_rng(0).normal(0, 0.1, 8)
        found = []
        for i in range(len(schedules)):
            quality = 4.0 + 0.02 * i + is_rough * (self.change - self.slope * i)
            found.append(Replicates(quality, quality + noise, np.full(8, 5)))
        return found


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "runs" / "one")


def load(*overrides):
    return configs.load(None, ["search.budget=60", *overrides])


def follow(config, run, pool, say=lambda line: None):
    stub = setting.stub_setting(config)
    execution = setting.execution(config)
    network = setting.Setting(**{**vars(stub), "image_shape": (1, 4, 4), "args": (execution,)})
    return follow_plan(config, run, network, pool, say)


def plan_widths(plan):
    return [float(width) for width in plan["macs"]]


def test_each_width_runs_in_its_fastest_way_and_the_plan_says_so(run):
    pool = Actors({Way(): 1.0, LAST: 0.8})
    plan = follow(load(), run, pool)
    assert plan == json.loads(run.plan.read_text())
    assert plan["format"] == "step-plan/1" and plan["batch_size"] == 250
    assert plan["macs"] == {"1": 1_000_000, "0.75": 562_500, "0.5": 250_000, "0.25": 62_500}
    assert plan["latency_ms"] == {"1": 0.8, "0.75": pytest.approx(0.6), "0.5": 0.4, "0.25": 0.2}
    assert plan["beside_ms"] == {"step": 0.01, "sample": 0.05}
    assert plan["bfloat16_difference"] is None
    assert {w["memory_format"] for w in plan["ways"].values()} == {"channels_last"}
    assert pool.runs == [dict.fromkeys((1.0, 0.75, 0.5, 0.25), LAST)]
    assert [batch_size for _, batch_size in pool.measured] == [250, 250]
    assert pool.timed == [(dict.fromkeys((1.0, 0.75, 0.5, 0.25), LAST), 16)]


def test_a_resume_follows_the_plan_without_measuring(run):
    follow(load(), run, Actors({Way(): 1.0, LAST: 0.8}))
    before = run.plan.read_bytes()
    again = Actors({Way(): 0.1, LAST: 1.0})
    follow(load(), run, again)
    assert again.measured == again.timed == [] and run.plan.read_bytes() == before
    assert again.runs == [dict.fromkeys((1.0, 0.75, 0.5, 0.25), LAST)]


def test_the_next_run_on_the_same_hardware_decides_alike(run, tmp_path):
    follow(load(), run, Actors({Way(): 1.0, LAST: 0.8}))
    other = Actors({Way(): 0.1, LAST: 1.0})
    two = RunDirectory(tmp_path / "runs" / "two")
    follow(load(), two, other)
    assert two.plan.read_bytes() == run.plan.read_bytes()  # latencies too
    assert other.runs == [dict.fromkeys((1.0, 0.75, 0.5, 0.25), LAST)]


def test_compiling_is_tried_where_it_pays_for_itself(run):
    compiled = Way(True, "float32", "contiguous")
    pool = Actors({Way(): 1.0, LAST: 1.0, compiled: 0.5})
    config = load("search.budget_calls=2000000", "search.budget=null", "score.compile=auto")
    follow(config, run, pool)
    # 15 % of 500,000 calls of 1 ms are 75 s, of .5 ms 37 s
    assert pool.runs[-1] == {1.0: compiled, 0.75: compiled, 0.5: Way(), 0.25: Way()}


def test_nothing_is_compiled_where_the_configuration_says_never(run):
    pool = Actors({Way(): 1.0, LAST: 1.0})
    follow(load("search.budget=null", "search.patience=3", "score.compile=never"), run, pool)
    assert pool.runs[-1] == dict.fromkeys((1.0, 0.75, 0.5, 0.25), Way())


@pytest.mark.parametrize(("change", "taken"), [(0.0, ROUGH), (0.03, ROUGH), (0.3, LAST)])
def test_bfloat16_is_taken_where_it_leaves_the_qualities_alone(run, change, taken):
    """Qualities lie from 4 on; a change of .3 is 7 % of the least."""
    pool = Actors(TIMES, has_bfloat16=True, change=change)
    plan = follow(load("score.compile=never"), run, pool)
    assert set(pool.runs[-1].values()) == {taken}
    assert plan["bfloat16_difference"] == pytest.approx(change / 4, abs=1e-9)


@pytest.mark.parametrize("steps", [50, 8, 6, 2, 1])
def test_bfloat16_is_judged_on_few_and_many_steps_of_every_width_which_is_said(run, steps):
    pool, said = Actors(TIMES, has_bfloat16=True), []
    config = load(f"search.steps={steps}")
    follow(config, run, pool, said.append)
    exact, rough = pool.judged
    counts = {width: [len(s) for s in exact if s[0][1] == width] for width in (1, 0.75, 0.5, 0.25)}
    assert exact == rough and len(exact) == sum(map(len, counts.values()))
    assert exact[0] == chains.baseline(config).steps
    for of_width in counts.values():
        assert len(of_width) == min(2, steps) and len(set(of_width)) == len(of_width)
    assert len(set(sum(counts.values(), []))) >= min(steps, 4)
    (line,) = said
    assert line.startswith(f"plan    {len(exact)} schedules in bfloat16 and in float32")
    follow(config, run, pool, said.append)
    assert len(said) == 1


def test_bfloat16_that_changes_the_order_of_schedules_is_not_taken(run):
    """By less than 1 %: each is .02 worse than the one before it, and comes out .001 better."""
    pool = Actors(TIMES, has_bfloat16=True, slope=0.021)
    plan = follow(load("score.compile=never", "search.steps=4"), run, pool)
    assert set(pool.runs[-1].values()) == {LAST} and plan["bfloat16_difference"] is not None


def test_where_a_network_cannot_be_compiled_it_runs_as_it_is(run):
    pool = Actors({Way(): 1.0, LAST: 1.0, Way(compiled=True): float("inf")})
    config = load("search.budget_calls=9000000", "search.budget=null", "score.compile=auto")
    plan = follow(config, run, pool)
    assert pool.runs[-1] == dict.fromkeys((1.0, 0.75, 0.5, 0.25), Way())
    assert not any(entry["compiled"] for entries in plan["ways_ms"].values() for entry in entries)


def test_a_plan_of_other_widths_is_refused(run):
    run.path.mkdir(parents=True)
    run.plan.write_text(json.dumps({"ways": ways.to_json({1.0: Way()})}))
    with pytest.raises(DataError, match=r"plan\.json: got widths \[1.0\], expected \[0.25, 0.5, "):
        follow(load(), run, Actors({}))


def test_a_damaged_plan_is_told(run):
    run.path.mkdir(parents=True)
    run.plan.write_text('{"ways": 3}')
    with pytest.raises(DataError, match=r"plan\.json: expected how each width runs"):
        follow(load(), run, Actors({}))


def test_the_stub_has_nothing_to_measure(run):
    config = load()
    plan = follow_plan(config, run, setting.stub_setting(config), None, print)
    assert "latency_ms" not in plan and "ways" not in plan
    assert read_latency(run.plan, config.supernet.widths) is None


def test_a_latency_is_the_sum_of_what_the_plan_says_of_its_parts(run):
    plan = follow(load(), run, Actors({Way(): 1.0, LAST: 0.8}))
    found = read_latency(run.plan, plan_widths(plan))
    assert found.name == "latency" and found.of_sample == 0.05
    assert found.of([(900, 1.0), (500, 0.25), (3, 0.5)]) == pytest.approx(1.4 + 0.03 + 0.05)
    assert found.of([(9, 0.5)]) == pytest.approx(0.46)


def test_moves_that_draw_noise_are_measured_for_themselves(run, tmp_path):
    pool = Actors({Way(): 1.0, LAST: 0.8})
    for i, overrides in enumerate(([], ["sampler.eta=1.0"], [])):
        follow(load(*overrides), RunDirectory(tmp_path / "runs" / str(i)), pool)
    assert (len(pool.timed), len(pool.measured)) == (2, 2)


def test_the_stub_makes_up_latencies_where_they_are_searched_for(run):
    config = load("search.cost=latency")
    follow_plan(config, run, setting.stub_setting(config), None, print)
    found = read_latency(run.plan, config.supernet.widths)
    assert found.of([(900, 1.0), (0, 0.5)]) == pytest.approx(1 + 0.75 + 2 * 0.02 + 0.05)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"latency_ms": None}, "expected milliseconds under 'latency_ms' and 'beside_ms'"),
        ({"beside_ms": {"step": 0.1}}, "expected milliseconds under 'latency_ms' and"),
        ({"latency_ms": {"1": 2.0}}, r"got latencies of widths \[1.0\], expected \[0.25, 0.5, "),
        (
            {"latency_ms": {"1": 1, "0.75": 1, "0.5": 1, "0.25": -3}},
            "got .*, expected them above 0",
        ),
    ],
)
def test_a_plan_whose_latencies_are_damaged_is_told(run, change, expected):
    plan = follow(load(), run, Actors({Way(): 1.0, LAST: 0.8}))
    run.plan.write_text(json.dumps(plan | change))
    with pytest.raises(DataError, match=rf"plan\.json: {expected}"):
        read_latency(run.plan, plan_widths(plan))


def test_an_execution_is_put_in_place_of_the_other():
    config = load()
    execution = setting.execution(config)
    network = setting.Setting(
        **{**vars(setting.stub_setting(config)), "args": (1, execution, "x")}
    )
    other = Execution(7, 1, 0)
    assert network.args_with(other) == (1, other, "x")
