"""What bfloat16 does to qualities, on pools that are told what it does."""

import numpy as np
import pytest

from models.intervals import Replicates
from orchestration import chains, pipeline, setting, ways
from orchestration import config as configs
from orchestration.files import write_json
from orchestration.precision import compare, difference, is_rough
from orchestration.rundir import RunDirectory
from orchestration.ways import Way

EXACT = Way(memory_format="channels_last")
ROUGH = Way(dtype="bfloat16", memory_format="channels_last")
NOISE = np.linspace(-0.1, 0.1, 8)


def replicates(*qualities, noise=NOISE):
    return [Replicates(q, q + noise, np.full(8, 5)) for q in qualities]


class Pool:
    """Whose schedules are .1 apart, and .02 apart in bfloat16, which may turn them round."""

    def __init__(self, sign=1):
        self.sign, self.runs, self.asked = sign, [], []

    def distances(self, schedules, seed, num_images):
        self.asked.append((list(schedules), seed, num_images))
        step = 0.02 * self.sign if is_rough(self.runs[-1]) else 0.1
        return replicates(*(4 + step * i for i in range(len(schedules))))


def test_a_difference_is_the_far_end_of_the_widest_paired_interval():
    exact = replicates(4.0, 2.0)
    assert compare(exact, replicates(4.04, 1.9)).largest == pytest.approx(0.05)  # .1 of 2
    assert compare(exact, exact).largest == 0
    # Noise that the two don't share makes the interval wide
    assert compare(exact, replicates(4.04, 1.9, noise=-NOISE)).largest > 0.1


@pytest.mark.parametrize(("rough", "same"), [((1.0, 1.001), True), ((1.001, 1.0), False)])
def test_the_order_is_that_of_what_float32_tells_apart(rough, same):
    assert compare(replicates(1.0, 1.5), replicates(*rough)).same_order is same
    assert compare(replicates(1.0, 1.0), replicates(*rough)).same_order  # nothing to tell apart


def test_harmless_is_both_near_and_in_the_same_order():
    assert compare(replicates(1.0, 2.0), replicates(1.019, 2.0)).is_harmless
    assert not compare(replicates(1.0, 2.0), replicates(1.021, 2.0)).is_harmless
    assert not compare(replicates(1.0, 1.001), replicates(1.001, 1.0)).is_harmless


def test_the_pool_goes_on_in_the_ways_that_were_compared():
    pool, chosen = Pool(), {1.0: ROUGH, 0.5: EXACT}
    found = difference(pool, pool.runs.append, chosen, ["a", "b"], 7, 40)
    assert pool.runs == [{1.0: EXACT, 0.5: EXACT}, chosen]
    assert pool.asked == 2 * [(["a", "b"], 7, 40)]
    assert found.largest == pytest.approx(0.08 / 4.1) and found.same_order


@pytest.mark.parametrize("sign", [1, -1])
def test_a_front_tells_what_bfloat16_has_done_to_it(tmp_path, monkeypatch, sign):
    config = configs.load(None, ["search.budget=60", "search.steps=4"])
    run, pool, said = RunDirectory(tmp_path / "runs" / "one"), Pool(sign), []
    baseline = chains.baseline(config)
    stub = setting.stub_setting(config)
    chosen = setting.Setting(**{**vars(stub), "image_shape": (1, 4, 4)})

    def use(config, setting, pool, found):
        assert config.score.state_bytes == 0
        pool.runs.append(found)

    monkeypatch.setattr(pipeline, "use_ways", use)
    members = [{"schedule": baseline.to_json()} for _ in range(3)]
    front = {"baseline": members[0], "members": members[1:], "recommended": "m01"}

    def checked(way):
        write_json(run.plan, {"ways": ways.to_json(dict.fromkeys(chosen.macs, way))})
        return pipeline._checked_in_float32(config, run, chosen, pool, front, said.append)

    assert checked(EXACT) == front and not said and not pool.asked
    found = checked(ROUGH)
    assert {key: found[key] for key in front} == front
    assert found["bfloat16"]["same_order"] is (sign > 0)
    assert found["bfloat16"]["largest"] == pytest.approx((0.2 - 0.04 * sign) / 4.2)
    assert pool.asked == 2 * [(3 * [baseline.steps], config.score.noise_seed, 2000)]
    assert len(said) == 2 and ("ANOTHER" in said[1]) is (sign < 0)
