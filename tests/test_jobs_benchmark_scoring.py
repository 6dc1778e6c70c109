"""Both ways of scoring that the benchmark times: the same results, and the calls it counts."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from jobs.benchmarks import scoring
from jobs.benchmarks.offspring import evolve
from jobs.benchmarks.scoring import DDSM, OURS, Case, ladder, one_by_one, subject
from models.chain_noise import ChainNoise
from models.population import sample_population
from models.states import StateCache
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
    for index, x_0 in sample_population(
        networks,
        digits.sampler,
        generation.offspring,
        seed=0,
        images=IMAGES,
        shape=digits.shape,
        batch=len(IMAGES),
    ):
        steps = generation.offspring[index]
        moves = pairwise([None, *(t for t, _ in steps)])
        noise = ChainNoise(digits.sampler, 0, IMAGES, digits.shape, "cpu", moves)
        alone = scoring.sample_alone(digits, steps, noise.take)
        torch.testing.assert_close(alone, x_0, rtol=0, atol=1e-4)


def test_each_rung_makes_the_calls_that_are_counted_every_time(generation, calls):
    digits, cache = subject("digits"), StateCache(2**29)
    chosen = {
        "materialised": dict.fromkeys(digits.supernet.widths, Way()),
        "layout": dict.fromkeys(digits.supernet.widths, Way(memory_format="channels_last")),
    }
    chosen |= dict.fromkeys(("precision", "compilation"), chosen["layout"])  # which change nothing
    rungs = ladder(digits, generation, CASE, chosen, cache)
    counts, distances = generation.calls(), {}
    for _ in range(2):  # no state of the offspring is left from the round before
        for rung, call in rungs.items():
            calls.clear()
            distances[rung] = dict(call())
            expected = {DDSM: "one_by_one", "+ prefixes": "prefixes"}.get(rung, "parents")
            assert len(calls) == counts[expected], rung
    parts = ("prefixes", "parents", "materialised", "layout")
    assert list(rungs) == [DDSM, *(f"+ {part}" for part in parts), OURS]
    for rung, found in distances.items():
        assert sorted(found) == list(range(8)), rung
        if rung != DDSM:  # whose noise is another
            pairs = np.array([[found[index], distances[OURS][index]] for index in range(8)])
            np.testing.assert_allclose(*pairs.T, rtol=1e-3, err_msg=rung)


def test_a_rung_has_the_fastest_of_its_ways_and_of_those_before(monkeypatch):
    taken = {Way(): 4.0, Way(memory_format="channels_last"): 3.0, Way(dtype="bfloat16"): 2.0,
             Way(True, memory_format="channels_last"): 2.5}  # fmt: skip

    def measure(self, of_widths, batch_size):
        return {width: {w: taken.get(w, 9.0) for w in ws} for width, ws in of_widths.items()}

    monkeypatch.setattr(scoring.SupernetSource, "measure", measure)
    for units, compiled, expected in (
        (False, True, [0, 1, 1, 3]), (True, True, [0, 1, 2, 2]), (False, False, [0, 1, 1, 1]),
    ):  # fmt: skip
        monkeypatch.setattr(scoring, "has_bfloat16", lambda units=units: units)
        chosen = scoring.chosen_ways(subject("digits"), replace(CASE, ladder=compiled))
        assert [set(chosen[rung].values()) for rung in scoring.RUNS] == [
            {list(taken)[i]} for i in expected
        ]


def test_ddsms_way_draws_new_noise_for_every_candidate(generation):
    steps = generation.offspring[0]
    (_, first), (_, second) = one_by_one(subject("digits"), [steps, steps], CASE.images)
    assert first != second and np.isfinite([first, second]).all()


def test_the_generation_is_new_and_descends_from_the_parents(generation):
    assert len(set(generation.offspring)) == len(generation.parents) == 8
    assert not set(generation.offspring) & set(generation.parents)
    counts = generation.calls()
    assert counts["parents"] < counts["prefixes"] < counts["one_by_one"]
    assert counts["parents"] == count_calls(generation.offspring, generation.parents)
    assert generation.macs(dict.fromkeys(scoring.subjects.WIDTHS, 1)) == counts
