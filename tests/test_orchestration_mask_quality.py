"""Learning from generated quality, where the quality of a mask is known."""

import itertools
from dataclasses import replace

import pytest
import torch

from models.diffusion import noise_levels
from orchestration import config as configs
from orchestration.errors import ConfigError, DataError
from orchestration.mask_plan import Chain, indices, known_masks, plan_budgets
from orchestration.mask_quality import best_of, check_budget, num_images, refine
from orchestration.mask_rounds import Round, ranking

CHAIN = Chain(tuple(range(0, 1000, 25)), noise_levels(1000, "linear"), "respaced")
BEST = (700, 400, 200, 75)
SETTINGS = configs.load(None, ["search.budget=1", "mask.masks=24"]).mask
FIRST = ((0, 1, 2, 3), *known_masks(CHAIN, 4))


def quality(steps):
    """How far steps are from the best ones, in places; more or fewer cost much."""
    times = sorted((t for t, *_ in steps), reverse=True)
    gaps = sum(abs(a - b) for a, b in zip(times, BEST, strict=False))
    return 1 + gaps / 100 + 5 * abs(len(times) - len(BEST))


class Scores:
    def __init__(self):
        self.seeds = []

    def __call__(self, schedules, seed, number):
        self.seeds.append(seed)
        return [quality(steps) for steps in schedules]


def learn(budget, earlier=(), scores=None, first=FIRST):
    scores = scores or Scores()
    return list(refine(SETTINGS, CHAIN, 4, budget, scores, first, earlier)), scores


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
            four = [mask for mask in ranking(rounds[:number]) if len(mask) <= 4]
            assert done.masks[:2] == tuple(four[:2])


@pytest.mark.parametrize("budget", [2_000, 20_000])
def test_the_budget_is_kept(budget):
    rounds, _ = learn(budget)
    assert sum(done.calls for done, _ in rounds) <= budget
    assert 2 <= num_images(SETTINGS, 4, budget) <= SETTINGS.num_images


def test_what_was_scored_before_an_interruption_is_not_scored_again():
    whole, _ = learn(50_000)
    earlier = [done for done, _ in whole[:3]]
    again, scores = learn(50_000, earlier, first=())  # which the earlier rounds know
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
    settings = SETTINGS.model_copy(update={"steps": (20, 5)})
    check_budget(settings, 11 * 4 * 20)
    with pytest.raises(ConfigError, match="mask.evaluations: 879 are left .* at least 880 for 20"):
        check_budget(settings, 879)


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


def test_the_default_budget_of_digits_pays_for_its_rounds():
    config = configs.load(None, ["search.budget=1"])
    budgets = plan_budgets(config, 1797)
    check_budget(config.mask, budgets.quality // len(config.mask.steps))
