import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stub_search import InProcessPool, generations, records_of, stub_problem

from models.frechet import noise_floor
from models.intervals import estimate, paired
from orchestration import config as configs
from orchestration import results, setting
from orchestration.fidelity import Fidelity, fidelity, fidelity_facts
from orchestration.files import canonical_json
from orchestration.front import choose_rivals, recommend
from orchestration.results import quality_name, score_front, write_candidates, write_front
from orchestration.rundir import RunDirectory
from search_spaces.schedule import StepSchedule

PROBLEM = stub_problem(budget=60)
MEMBERS = 6


class TimedPool:
    """Samples at a pace that is told, and remembers by what."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.calls = []

    def one(self, method, *args):
        assert method == "sample"
        steps, seed, images = args
        self.calls.append((steps, seed, images))
        return np.full((len(images), 1, 4, 4), len(self.calls), "f4"), self.seconds.pop(0)


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


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [(2000, "fd_digits_2k"), (50_000, "fd_digits_50k"), (1000, "fd_digits_1k"),
     (500, "fd_digits_500"), (1500, "fd_digits_1500")],
)  # fmt: skip
def test_a_quality_is_named_by_its_features_and_count(num_images, expected):
    assert quality_name("digits", num_images) == expected


def test_a_distance_is_called_fid_on_inception_alone():
    assert quality_name("inception", 50_000) == "fid_inception_50k"
    assert quality_name("efficientnet", 2000) == "fd_efficientnet_2k"


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
    assert front["recommended"] == recommend(records).key
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
    assert front["noise_floor"] == noise_floor(chosen.real, 40, seed=0)
    assert front["noise_floor_num_images"] == 40
    assert front["num_reference"] is None  # the stub's are made up
    assert front["fidelity"] == fidelity_facts(40, 2000)


def test_each_schedule_has_kid_precision_and_recall_of_the_same_samples(config, front):
    real = setting.stub_setting(config).real
    schedules = [front["baseline"], *front["members"], *front["uniform"]]
    for m in schedules:
        steps = StepSchedule.from_json(m["schedule"]).steps
        (whole,) = InProcessPool().scorer.score([steps], 9, range(40), whole=True)
        assert {name: m[name] for name in Fidelity._fields} == fidelity(whole, real)._asdict()
    assert len({m["kid"] for m in schedules}) > 3


def test_a_noise_floor_of_few_real_images_says_of_how_many(config, records):
    chosen = setting.stub_setting(config)
    few = setting.Setting(**{**vars(chosen), "real": chosen.real[:31]})
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
    returned = write_candidates(run, records)
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


def test_damage_to_the_table_is_noticed(run, records):
    write_candidates(run, records)
    content = bytearray(run.candidates.read_bytes())
    content[200] ^= 1
    run.candidates.write_bytes(content)
    with pytest.raises((OSError, pa.ArrowException)):
        pq.read_table(run.candidates, page_checksum_verification=True)


def test_latency_is_of_one_image_and_speed_up_is_over_the_baseline(run, front):
    schedules = [front["baseline"], *front["members"]]
    paces = [0.8, 0.64, *(0.5 - 0.01 * i for i in range(2 * len(front["members"])))]
    pool = TimedPool(list(paces))
    samples = results.measure_latency(run, pool, front)
    latency = json.loads(run.latency.read_text())
    for i, m in enumerate(schedules):
        taken = min(paces[2 * i : 2 * i + 2])
        assert latency[m["key"]] == pytest.approx(
            {"latency_ms": 1000 * taken / 16, "speedup": 0.64 / taken}
        )
        steps = StepSchedule.from_json(m["schedule"]).steps
        assert [call[0] for call in pool.calls[2 * i : 2 * i + 2]] == [steps, steps]
        assert samples[m["key"]].shape == (16, 1, 4, 4)
    assert {call[1:] for call in pool.calls} == {(0, range(16))}  # the same noise for all
