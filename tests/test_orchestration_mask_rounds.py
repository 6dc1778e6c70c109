"""Which mask is the best where not all met the same noise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from orchestration.mask_rounds import SLOPE, WORTH, Kept, Round, standing

A, B, C, D = MASKS = (1, 2), (3, 4), (5, 6), (7, 8)


def met(masks: tuple[Kept, ...], qualities: tuple[float, ...], num_images: int) -> Round:
    return Round(2, "drawn", masks, qualities, num_images, 2 * num_images * len(masks))


def test_masks_of_different_rounds_are_ranked_by_those_that_they_share():
    easy = met((A, B, C), (1.0, 1.2, 1.4), 10)
    hard = met((B, D), (9.2, 9.1), 10)  # D is .1 better than B, though 8 worse than A by itself
    assert list(standing([easy, hard])) == [A, D, B, C]


@pytest.mark.parametrize(("num_images", "expected"), [(14, [A, B]), (16, [B, A])])
def test_a_round_weighs_as_its_images(num_images, expected):
    """A is .3 better on 10 images, and .2 worse on others: as much on 15."""
    rounds = [met((A, B), (1.0, 1.3), 10), met((A, B), (2.2, 2.0), num_images)]
    assert list(standing(rounds)) == expected


def test_the_ranking_is_that_of_least_squares():
    noise = np.random.default_rng(0)
    rounds = [
        met(tuple(MASKS[i] for i in chosen), tuple(noise.normal(size=len(chosen))), num_images)
        for chosen, num_images in (((0, 1, 2, 3), 3), ((0, 2), 11), ((1, 2, 3), 7), ((3, 1), 5))
    ]

    def squares(effects: np.ndarray) -> float:
        return sum(
            done.num_images * (quality - effects[MASKS.index(mask)] - effects[4 + number]) ** 2
            for number, done in enumerate(rounds)
            for mask, quality in zip(done.masks, done.qualities, strict=True)
        )

    effects = minimize(squares, np.zeros(8)).x[:4]
    assert list(standing(rounds)) == [MASKS[i] for i in np.argsort(effects)]


@pytest.mark.parametrize(("num_images", "expected"), [(59, [B, A]), (61, [A, B])])
def test_a_distance_counts_as_so_many_images(num_images, expected):
    """A is better by d on so many images, and thought worse by 2 d: as much on twice WORTH."""
    done = replace(met((A, B), (1.0, 1.1), num_images), distances=(0.2 / SLOPE, 0.0))
    assert list(standing([done])) == expected
    assert list(standing([replace(done, distances=())])) == [A, B]


def test_what_is_known_of_a_mask_is_between_its_quality_and_what_its_distance_says():
    done = replace(met((A, B), (1.0, 1.3), 20), distances=(2.0, 1.0))
    found = standing([done])
    share = 20 / (20 + WORTH)
    assert found[B] - found[A] == pytest.approx(share * 0.3 - (1 - share) * SLOPE)


def test_distances_are_compared_within_their_round():
    """C is nearer than A by 2 and B by 1, though C's and B's are equal."""
    one = replace(met((A, B), (1.0, 1.0), 10), distances=(3.0, 2.0))
    other = replace(met((A, C), (5.0, 5.0), 10), distances=(4.0, 2.0))
    assert list(standing([one, other])) == [C, B, A]


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_a_mask_that_no_distance_is_known_of_has_its_quality_alone(shift):
    """However far all the others are; and they are drawn no further together by it."""
    held = replace(met((A, B), (1.0, 1.3), 20), distances=(shift + 1.0, shift + 1.0))
    last = met((A, B, C), (2.0, 2.3, 2.1), 1000)
    found = standing([held, last])
    share = 1020 / (1020 + WORTH)
    assert found[B] - found[A] == pytest.approx(share * 0.3)
    # All but what A and B, whose effects have changed, leave of the last round's own
    assert found[C] - (found[A] + found[B]) / 2 == pytest.approx(2.1 - 2.15)
