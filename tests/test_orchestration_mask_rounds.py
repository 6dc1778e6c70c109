"""Which mask is the best where not all met the same noise."""

import numpy as np
import pytest
from scipy.optimize import minimize

from orchestration.mask_rounds import Kept, Round, ranking

A, B, C, D = MASKS = (1, 2), (3, 4), (5, 6), (7, 8)


def met(masks: tuple[Kept, ...], qualities: tuple[float, ...], num_images: int) -> Round:
    return Round(2, "drawn", masks, qualities, num_images, 2 * num_images * len(masks))


def test_masks_of_different_rounds_are_ranked_by_those_that_they_share():
    easy = met((A, B, C), (1.0, 1.2, 1.4), 10)
    hard = met((B, D), (9.2, 9.1), 10)  # D is .1 better than B, though 8 worse than A by itself
    assert ranking([easy, hard]) == [A, D, B, C]


@pytest.mark.parametrize(("num_images", "expected"), [(14, [A, B]), (16, [B, A])])
def test_a_round_weighs_as_its_images(num_images, expected):
    """A is .3 better on 10 images, and .2 worse on others: as much on 15."""
    assert ranking([met((A, B), (1.0, 1.3), 10), met((A, B), (2.2, 2.0), num_images)]) == expected


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
    assert ranking(rounds) == [MASKS[i] for i in np.argsort(effects)]
