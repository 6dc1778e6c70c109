"""Learning from generated quality, where the quality of a mask is known."""

import itertools
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from models.diffusion import noise_levels
from models.masking import top_k
from orchestration import config as configs
from orchestration.errors import ConfigError, DataError
from orchestration.files import write_json
from orchestration.mask_plan import Chain, finer_steps, indices, known_masks
from orchestration.mask_quality import (
    best_of,
    check_budget,
    num_images,
    pays_for_finer,
    refine,
)
from orchestration.mask_refine import finer_of, read_rounds
from orchestration.mask_rounds import Round, standing
from search_spaces.prefixes import count_calls

CHAIN = Chain(tuple(range(0, 1000, 25)), noise_levels(1000, "linear"), "respaced")
WINDOWS = ("data.name=weather", "sampler.clip_sample=false")
BEST = (700, 400, 200, 75)
SETTINGS = configs.load(None, ["search.budget=1", "mask.masks=24"]).mask
FIRST = ((0, 1, 2, 3), *known_masks(CHAIN, 4))


def quality(steps):
    """How far steps are from the best ones, in places; more or fewer cost much."""
    times = sorted((t for t, *_ in steps), reverse=True)
    gaps = sum(abs(a - b) for a, b in zip(times, BEST, strict=False))
    return 1 + gaps / 100 + 5 * abs(len(times) - len(BEST))


class Scores:
    def __init__(self, distance=lambda steps: 12.5 * quality(steps)):
        self.seeds = []
        self.distance = distance

    def __call__(self, schedules, seed, num_images, finer=None):
        self.seeds.append(seed)
        held = [] if finer is None else [self.distance(steps) for steps in schedules]
        return [quality(steps) for steps in schedules], held


class NoisyScores(Scores):
    """Of few images, which say little of quality."""

    def __call__(self, schedules, seed, num_images, finer=None):
        qualities, held = super().__call__(schedules, seed, num_images, finer)
        noise = np.random.default_rng(seed).normal(size=len(qualities)) / num_images**0.5
        return (np.array(qualities) + noise).tolist(), held


FINER = finer_steps(CHAIN, 4)


def learn(budget, earlier=(), scores=None, first=FIRST, finer=None):
    scores = scores or Scores()
    done = refine(SETTINGS, CHAIN, 4, budget, scores, first, earlier, finer=finer)
    return list(done), scores


def test_it_finds_steps_that_are_better_than_all_it_began_with():
    rounds, scores = learn(200_000)
    first, final = rounds[0][0], rounds[-1][0]
    assert (first.kind, final.kind) == ("known", "final")
    best = best_of([done for done, _ in rounds])
    assert quality(CHAIN.steps(best)) < 0.5 * (min(first.qualities) - 1) + 1
    assert len(best) == 4 and best in final.masks
    assert len(set(scores.seeds)) == len(scores.seeds) == len(rounds)  # noise is never the same


def test_the_first_masks_are_taken_once_each_and_the_last_ones_left_out():
    first = ((5, 6, 7, 8), *FIRST, (9, 10, 11, 12))
    assert len(FIRST) == 9
    scores = Scores()
    done, _ = next(refine(SETTINGS, CHAIN, 4, 50_000, scores, (*first[:2], *first), ()))
    assert done.masks == first[:9]


def test_known_masks_are_halved_until_one_is_left():
    known = [done for done, _ in learn(200_000)[0] if done.kind == "known"]
    assert [len(done.masks) for done in known] == [9, 4, 2]
    for before, after in itertools.pairwise(known):
        assert set(after.masks) < set(before.masks)
        assert sorted(after.qualities) == sorted(before.qualities)[: len(after.masks)]
    assert [done.kind for done, _ in learn(500)[0]] == ["known", "final"]  # halves not paid for


def test_each_round_has_the_best_two_so_far():
    rounds = [done for done, _ in learn(50_000)[0]]
    for number, done in enumerate(rounds):
        if done.kind == "drawn":
            four = [mask for mask in standing(rounds[:number]) if len(mask) <= 4]
            assert done.masks[:2] == tuple(four[:2])


@pytest.mark.parametrize("finer", [None, FINER])
@pytest.mark.parametrize("budget", [2_000, 20_000])
def test_the_budget_is_kept(budget, finer):
    rounds, _ = learn(budget, finer=finer)
    assert sum(done.calls for done, _ in rounds) <= budget
    assert 2 <= num_images(SETTINGS, 4, budget, finer) <= SETTINGS.num_images


def test_calls_of_the_finer_schedule_are_counted_in_all_rounds_but_the_last():
    rounds = [done for done, _ in learn(2_000, finer=FINER)[0]]
    for done in rounds:
        schedules = [CHAIN.steps(mask) for mask in done.masks]
        held = done.kind != "final"
        asked = [*schedules, FINER] if held else schedules
        assert done.calls == done.num_images * count_calls(asked)
        assert len(done.distances) == held * len(done.masks)


def test_distances_find_what_noisy_qualities_miss():
    """At equal calls, of which the finer schedule takes its part."""

    def found(finer, seed):
        settings = SETTINGS.model_copy(update={"seed": seed})
        done = refine(settings, CHAIN, 4, 4_000, NoisyScores(), FIRST, finer=finer)
        return quality(CHAIN.steps(best_of([one for one, _ in done])))

    alone, held = (np.mean([found(f, seed) for seed in range(8)]) for f in (None, FINER))
    assert held - 1 < 0.7 * (alone - 1)


def test_few_known_masks_are_halved_where_they_are_held_against_a_finer_schedule():
    known = [done for done, _ in learn(200_000, finer=FINER)[0] if done.kind == "known"]
    assert [len(done.masks) for done in known] == [9, 4]


def test_s_goes_where_masks_are_near_the_finer_schedule():
    """Qualities that say nothing leave it to the distances."""

    class Alike(Scores):
        def __call__(self, schedules, seed, num_images, finer=None):
            return [1.0] * len(schedules), super().__call__(schedules, seed, num_images, finer)[1]

    rounds, _ = learn(20_000, scores=Alike(), finer=FINER)
    first = min(quality(CHAIN.steps(mask)) for mask in FIRST)
    likeliest = indices(top_k(rounds[-1][1], 4))
    assert quality(CHAIN.steps(likeliest)) - 1 < 0.7 * (first - 1)


def test_a_finer_schedule_has_ten_steps_more_or_is_all_candidates():
    assert len(FINER) == 14 and FINER[0] == (975, 1.0)
    assert set(FINER) < set(CHAIN.steps(range(40)))
    assert finer_steps(CHAIN, 30) == finer_steps(CHAIN, 40) == CHAIN.steps(range(40))


def test_which_masks_are_held_against_a_finer_schedule():
    """Images of 10 steps and fewer, where calls suffice."""
    of_images = configs.load(None, ["search.budget=1"])
    assert finer_of(of_images, CHAIN, 10, 2347) == finer_steps(CHAIN, 10)
    assert finer_of(of_images, CHAIN, 10, 2346) is None
    assert finer_of(of_images, CHAIN, 11, 100_000) is None
    few = Chain(CHAIN.timesteps[:18], CHAIN.alphas_cumprod, "respaced")
    assert finer_of(of_images, few, 9, 100_000) == few.steps(range(18))
    assert finer_of(of_images, few, 10, 100_000) is None
    of_windows = configs.load(None, ["search.budget=1", *WINDOWS])
    assert finer_of(of_windows, CHAIN, 10, 100_000) is None


def test_a_finer_schedule_must_leave_calls_for_rounds():
    settings = configs.load(None, ["search.budget=1"]).mask
    finer = finer_steps(CHAIN, 10)
    assert pays_for_finer(settings, 10, 2347, finer)  # 4 rounds of 4 images, 90 + 20 calls each
    assert not pays_for_finer(settings, 10, 2346, finer)


@pytest.mark.parametrize("finer", [None, FINER])
def test_what_was_scored_before_an_interruption_is_not_scored_again(finer):
    whole, _ = learn(50_000, finer=finer)
    earlier = [done for done, _ in whole[:3]]
    again, scores = learn(50_000, earlier, first=(), finer=finer)  # which they know
    assert len(scores.seeds) == len(whole) - 3
    for (a, s), (b, r) in zip(whole, again, strict=True):
        assert a == b and torch.equal(s, r)
    with pytest.raises(DataError, match="not those of this configuration"):
        learn(50_000, earlier[1:])


def test_the_best_is_so_by_all_rounds_and_images():
    a, b, c = (1, 2), (3, 4), (5, 6)
    rounds = [
        Round(2, "known", (a, b, c), (1.0, 1.3, 1.1), 10, 60),
        Round(2, "final", (a, b, c), (2.5, 2.2, 2.45), 20, 120),  # b, which was worse
    ]
    assert best_of(rounds) == b
    assert best_of([rounds[0], replace(rounds[1], num_images=9)]) == a
    without_b = Round(2, "final", (a, c), (2.5, 2.45), 20, 80)
    assert best_of([rounds[0], without_b]) == a  # c: (10 x .1 - 20 x .05) / 30 is no better


def test_masks_and_indices_are_each_others_inverse():
    assert indices(CHAIN.mask((1, 5, 39))) == (1, 5, 39)
    assert CHAIN.steps((1, 5)) == ((125, 1.0), (25, 1.0))


def test_a_budget_that_pays_for_no_rounds_is_refused():
    values = ("search.budget=1", "mask.steps=[20, 5]")
    check_budget(configs.load(None, [*values, "mask.evaluations=2200"]), 1797)
    # 2,198 - 439 for the ELBO = 1,759: of 2 x 880 there is one too few
    expected = (
        r"mask.evaluations: got 2198, which leaves 879 to judge masks of each of mask.steps"
        r" \[20, 5\] by where 20 steps need 880, expected at least 2199, or fewer"
    )
    with pytest.raises(ConfigError, match=expected):
        check_budget(configs.load(None, [*values, "mask.evaluations=2198"]), 1797)
    with pytest.raises(ConfigError, match="got null, which leaves 40 .* expected at least 2199"):
        check_budget(configs.load(None, values), 50)


GUIDED = ("network.conditional=true", "sampler.guidance=2")  # each step is two calls


@pytest.mark.parametrize(
    "values",
    [
        ("mask.evaluations=100",),
        ("mask.evaluations=100", "mask.steps=[3]", "mask.elbo_share=0.9"),
        ("mask.evaluations=1000", "mask.elbo_share=0.37"),
        ("mask.evaluations=6000", *GUIDED),
        ("mask.evaluations=3000", *WINDOWS, "search.num_samples=4", "mask.steps=[7, 5]"),
        ("mask.evaluations=3000", "mask.weights=tuned"),
        ("mask.weights=scratch", "mask.elbo_share=0.01"),  # an iteration is to be paid, too
    ],
)
def test_the_evaluations_that_are_named_do_and_one_less_does_not(values):
    def check(*more):
        check_budget(configs.load(None, ["search.budget=1", *values, *more]), 50)

    with pytest.raises(ConfigError, match=r"expected at least \d+, or fewer") as raised:
        check()
    enough = int(re.search(r"expected at least (\d+)", str(raised.value)).group(1))
    check(f"mask.evaluations={enough}")
    with pytest.raises(ConfigError, match=f"mask.evaluations: got {enough - 1}"):
        check(f"mask.evaluations={enough - 1}")


@pytest.mark.parametrize(
    ("num_steps", "budget", "expected"),
    [
        (5, 2875, 14),  # 3/4 of the budget, in 3 rounds of 8 masks and the leader
        (20, 2875, 12),  # which would be 3: instead as many as tell the known ones apart
        (20, 958, 4),  # nor does it pay for that
        (20, 96_000, 50),  # as many as are asked for
    ],
)
def test_images_a_mask(num_steps, budget, expected):
    settings = configs.load(None, ["search.budget=1"]).mask
    assert num_images(settings, num_steps, budget) == expected


@pytest.mark.parametrize(
    ("num_steps", "budget", "expected"),
    [
        (5, 2875, 4),  # the least
        (5, 27_000, 26),  # 3/4 of it, in 13 rounds of 45 + 14 calls
        (5, 96_000, 50),
    ],
)
def test_images_a_mask_that_is_held_against_a_finer_schedule(num_steps, budget, expected):
    settings = configs.load(None, ["search.budget=1"]).mask
    assert num_images(settings, num_steps, budget, FINER) == expected


def test_the_default_budget_of_digits_pays_for_its_rounds():
    config = configs.load(None, ["search.budget=1"])
    check_budget(config, 1797)


def test_rounds_are_read_as_they_were_written(tmp_path):
    rounds = [done for done, _ in learn(2_000, finer=FINER)[0]]
    path = tmp_path / "quality.json"
    rows = [asdict(done) for done in rounds]
    write_json(path, {"asked": {}, "rounds": rows})
    assert read_rounds(path, {}) == rounds
    for row in rows:
        del row["distances"]  # as windows, and evolution, had them before
    write_json(path, {"asked": {}, "rounds": rows})
    assert read_rounds(path, {}) == [replace(done, distances=()) for done in rounds]
