"""Both ways of scoring that the benchmark times: the same results, and the calls it counts."""

from functools import partial

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from jobs.benchmarks import scoring
from jobs.benchmarks.offspring import evolve
from jobs.benchmarks.scoring import DDSM, OURS, Case, ladder, one_by_one, subject
from models.noise import normal
from models.population import StateCache, sample_population
from orchestration.execution import Execution
from orchestration.ways import Way
from search_spaces.prefixes import count_calls

CASE = Case(images=10, block_size=5, grid_steps=6, max_repetitions=1, ladder=True)
IMAGES = range(CASE.images)


@pytest.fixture(scope="module")
def generation():
    return evolve(CASE.grid_steps, population=8, generations=5, seed=0)


@pytest.fixture
def calls(monkeypatch):
    """Timesteps of the calls of any supernet or subnet, as they are made."""
    made = []
    forward = UNet2DModel.forward

    def noting(self, x, t, *args, **kwargs):
        made.append(int(t[0]))
        return forward(self, x, t, *args, **kwargs)

    monkeypatch.setattr(UNet2DModel, "forward", noting)
    return made


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_given_the_same_noise_a_schedule_alone_gives_the_engines_images(generation, sampler):
    digits = subject("digits", sampler)
    subnets = {width: digits.supernet.subnet(width) for width in digits.supernet.widths}
    networks = {w: lambda x, t, net=net: net(x, t).sample for w, net in subnets.items()}
    draw = partial(normal, 0, IMAGES, shape=digits.shape)
    for index, x_0 in sample_population(
        networks,
        digits.sampler,
        generation.offspring,
        seed=0,
        images=IMAGES,
        shape=digits.shape,
        batch=len(IMAGES),
    ):
        alone = scoring.sample_alone(digits, generation.offspring[index], draw)
        torch.testing.assert_close(alone, x_0, rtol=0, atol=1e-4)


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_each_rung_makes_the_calls_that_are_counted_every_time(generation, memory_format, calls):
    digits, way = subject("digits"), Way(memory_format=memory_format)
    execution = Execution(CASE.images, 1, 2**29, dict.fromkeys(digits.supernet.widths, way))
    rungs = ladder(digits, generation, CASE, execution, StateCache(2**29))
    counts, distances = generation.calls(), {}
    for _ in range(2):  # no state of the offspring is left from the round before
        for rung, call in rungs.items():
            calls.clear()
            distances[rung] = call()
            expected = {DDSM: "one_by_one", "+ prefixes": "prefixes"}.get(rung, "parents")
            assert len(calls) == counts[expected], rung
    assert list(rungs) == [DDSM, *(f"+ {part}" for part in scoring.PARTS[:-1]), OURS]
    for rung, found in distances.items():
        if rung != DDSM:  # whose noise is another
            np.testing.assert_allclose(found, distances[OURS], rtol=1e-3, err_msg=rung)


def test_ddsms_way_draws_new_noise_for_every_candidate(generation):
    steps = generation.offspring[0]
    first, second = one_by_one(subject("digits"), [steps, steps], CASE.images)
    assert first != second and np.isfinite([first, second]).all()


def test_the_generation_is_new_and_descends_from_the_parents(generation):
    assert len(set(generation.offspring)) == len(generation.parents) == 8
    assert not set(generation.offspring) & set(generation.parents)
    counts = generation.calls()
    assert counts["parents"] < counts["prefixes"] < counts["one_by_one"]
    assert counts["parents"] == count_calls(generation.offspring, generation.parents)
    assert generation.macs(dict.fromkeys(scoring.subjects.WIDTHS, 1)) == counts
