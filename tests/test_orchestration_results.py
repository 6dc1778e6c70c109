import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stub_search import InProcessPool, generations, records_of, stub_problem

from models.frechet import noise_floor
from models.intervals import estimate, paired
from orchestration import config as configs
from orchestration import setting
from orchestration.costs import Cost
from orchestration.fidelity import Fidelity, fidelity, fidelity_facts
from orchestration.files import canonical_json
from orchestration.front import choose_rivals, recommend
from orchestration.quality import FrechetQuality
from orchestration.results import (
    measure_latency,
    score_front,
    write_candidates,
    write_front,
)
from orchestration.rundir import RunDirectory
from search_spaces.schedule import StepSchedule

PROBLEM = stub_problem(budget=60)
MEMBERS = 6


@pytest.fixture(scope="module")
def config():
    few = ["search.budget=60", f"score.max_members={MEMBERS}", "score.noise_seed=9"]
    return configs.load(
        None, [*few, "score.num_images=40", "score.batch_size=20", "score.block_size=5"]
    )


@pytest.fixture(scope="module")
def records():
    return records_of(list(generations(PROBLEM, InProcessPool())))


@pytest.fixture(scope="module")
def front(config, records):
    return score_again(config, setting.stub_setting(config), InProcessPool(), records)


def score_again(config, chosen, pool, records, say=lambda line: None):
    return score_front(config, chosen, PROBLEM, pool, records, say)


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


def named(features, num_images):
    return FrechetQuality(features, np.zeros((4, 1)), None).name(num_images)


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [(2000, "fd_digits_2k"), (50_000, "fd_digits_50k"), (1000, "fd_digits_1k"),
     (500, "fd_digits_500"), (1500, "fd_digits_1500")],
)  # fmt: skip
def test_a_quality_is_named_by_its_features_and_count(num_images, expected):
    assert named("digits", num_images) == expected


def test_a_distance_is_called_fid_on_inception_alone():
    assert named("inception", 50_000) == "fid_inception_50k"
    assert named("efficientnet", 2000) == "fd_efficientnet_2k"


def test_rivals_and_members_are_scored_together_on_noise_that_the_search_did_not_see(
    config, records
):
    pool = InProcessPool()
    score_again(config, setting.stub_setting(config), pool, records)
    ((schedules, seed, num_images),) = pool.asked
    assert (seed, num_images) == (9, 40) and seed != PROBLEM.settings.noise_seed
    rivals = choose_rivals(records, PROBLEM)
    assert schedules[: len(rivals)] == rivals and rivals[0] == PROBLEM.chain.steps
    assert len(schedules) == len(rivals) + MEMBERS
    assert set(schedules[len(rivals) :]) <= {r.steps for r in records}


def test_the_front_holds_the_new_scores_and_what_the_search_recommended(config, records, front):
    assert front["recommended"] == recommend(records, PROBLEM.cost).key
    assert front["recommended"] in {m["key"] for m in front["members"]}
    assert front["baseline"]["key"] == records[0].key == front["uniform"][0]["key"]
    pool = InProcessPool()
    for m in [*front["members"], *front["uniform"], front["baseline"]]:
        steps = StepSchedule.from_json(m["schedule"]).steps
        scores, base = pool.distances([steps, PROBLEM.chain.steps], 9, 40)
        assert m["quality"] == scores.full
        assert m["quality_ci"] == list(estimate(scores).interval())
        assert m["delta_ci"] == list(paired(scores, base).interval())
    searched = {r.key: r.quality for r in records}
    assert all(m["quality"] != searched[m["key"]] for m in front["members"])


def test_the_front_names_what_its_numbers_are(config, front):
    chosen = setting.stub_setting(config)
    assert front["quality"] == "fd_stub_40" and front["num_images"] == 40
    assert (front["dataset"], front["supernet"]) == ("stub", "stub")
    assert front["noise_floor"] == noise_floor(chosen.quality.real, 40, seed=0)
    assert front["noise_floor_num_images"] == 40
    assert front["num_reference"] is None  # the stub's are made up
    assert front["fidelity"] == fidelity_facts(40, 2000)


def test_each_schedule_has_kid_precision_and_recall_of_the_same_samples(config, front):
    real = setting.stub_setting(config).quality.real
    schedules = [front["baseline"], *front["members"], *front["uniform"]]
    for m in schedules:
        steps = StepSchedule.from_json(m["schedule"]).steps
        (whole,) = InProcessPool().scorer.score([steps], 9, range(40), whole=True)
        assert {name: m[name] for name in Fidelity._fields} == fidelity(whole, real)._asdict()
    assert len({m["kid"] for m in schedules}) > 3


def test_a_noise_floor_of_few_real_images_says_of_how_many(config, records):
    chosen = setting.stub_setting(config)
    quality = replace(chosen.quality, real=chosen.quality.real[:31])
    few = setting.Setting(**{**vars(chosen), "quality": quality})
    found = score_again(config, few, InProcessPool(), records)
    assert found["noise_floor_num_images"] == 15


def test_scoring_again_tells_how_far_it_is(config, records):
    lines = []
    score_again(config, setting.stub_setting(config), InProcessPool(), records, lines.append)
    (line,) = lines  # of two batches, one is not the last
    assert "scored again on 20 of 40 fresh images" in line and line.endswith(" left")


def test_each_schedule_of_the_front_has_a_file_of_its_own(run, front):
    run.schedules.mkdir()
    (run.schedules / "0123456789ab.json").write_text("of an earlier front")
    write_front(run, front)
    found = {path.stem: StepSchedule.from_json(json.loads(path.read_text()))
             for path in run.schedules.iterdir()}  # fmt: skip
    assert set(found) == {front["baseline"]["key"]} | {m["key"] for m in front["members"]}
    assert all(schedule.key == key for key, schedule in found.items())
    assert run.front.read_bytes() == canonical_json(front)


def test_candidates_are_the_journal_as_a_table(run, records):
    returned = write_candidates(run, records, PROBLEM.cost)
    found = pd.read_parquet(run.candidates)
    pd.testing.assert_frame_equal(found, returned)
    for name in ("index", "generation", "key", "quality", "quality_se", "delta", "delta_se",
                 "macs", "calls"):  # fmt: skip
        assert found[name].tolist() == [getattr(r, name) for r in records]
    assert found["savings"].tolist() == [1 - r.macs / 8_000_000 for r in records]
    assert found["num_steps"].tolist() == [len(r.steps) for r in records]
    steps = [tuple(map(tuple, json.loads(text))) for text in found["steps"]]
    assert steps == [r.steps for r in records]
    assert [path.name for path in run.path.iterdir()] == ["candidates.parquet"]


def test_of_latency_the_table_has_a_column_and_savings(run, records):
    cost = Cost("latency", {1.0: 1.0, 0.5: 0.75, 0.25: 0.625}, 0.5)
    found = write_candidates(run, records, cost)
    expected = [0.5 + sum((1 + w) / 2 for _, w in r.steps) for r in records]
    assert found["latency_predicted_ms"].tolist() == expected
    assert found["savings"].tolist() == [1 - ms / 8.5 for ms in expected]
    assert found["macs"].tolist() == [r.macs for r in records]


def test_damage_to_the_table_is_noticed(run, records):
    write_candidates(run, records, PROBLEM.cost)
    content = bytearray(run.candidates.read_bytes())
    content[200] ^= 1
    run.candidates.write_bytes(content)
    with pytest.raises((OSError, pa.ArrowException)):
        pq.read_table(run.candidates, page_checksum_verification=True)


def test_samples_are_timed_and_their_latencies_written(run, front):
    """Of the baseline and of each member, in turn; the fake takes a second a step."""

    class Pool:
        def one(self, method, steps, seed, images):
            return np.full((len(images), 1, 4, 4), len(steps), "f4"), float(len(steps))

    predicted = Cost("latency", dict.fromkeys((1.0, 0.5, 0.25), 2000 / 16))
    samples = measure_latency(run, Pool(), front, predicted)
    latency = json.loads(run.latency.read_text())
    schedules = [front["baseline"], *front["members"]]
    assert list(samples) == [m["key"] for m in schedules] and set(samples) == set(latency)
    for m in schedules:
        count = len(m["schedule"]["steps"])
        assert (samples[m["key"]] == count).all()
        assert latency[m["key"]] == {
            "latency_ms": 1000 * count / 16, "speedup": 8 / count,
            "latency_predicted_ms": 2000 * count / 16, "latency_error": 1,
        }  # fmt: skip
