import itertools

import numpy as np
import pytest

from models.frechet import Reference, distance
from models.moments import moments
from orchestration.stub import MACS, NUM_FEATURES, StubSource, macs_table, shift

T = 1000
WIDTHS = (0.25, 0.5, 0.75, 1.0)


def features_of(steps, seed, images):
    ((_, features),) = StubSource(T).features([steps], seed, images)
    return features


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(800, 1.0)], 1 + 4 * 0.8**2 / 0.9),
        ([(900, 0.5)], 1 + 0.9 * 0.5 * (1 - 0.81) + 4 * 0.9**2 / 1.0),
        ([(500, 1.0)], 1 + 4 * 0.5**2 / 0.6 + 4 * 0.3**2),  # starts .3 below .8
        (
            [(800, 0.25), (200, 1.0)],
            1 + 0.6 * 0.75 * (1 - 0.72) + 4 * 0.6**2 / 0.9 + 4 * 0.2**2 / 0.3,
        ),
    ],
)
def test_the_shift_worked_out_by_hand(steps, expected):
    assert shift(steps, T) == pytest.approx(expected, rel=1e-12)


def test_a_wider_step_is_always_better():
    for widths in itertools.product(WIDTHS[:3], repeat=3):
        steps = list(zip((900, 500, 100), widths, strict=True))
        for i, (t, width) in enumerate(steps):
            wider = [*steps[:i], (t, WIDTHS[WIDTHS.index(width) + 1]), *steps[i + 1 :]]
            assert shift(wider, T) < shift(steps, T)


def test_a_start_far_below_the_noisiest_timestep_costs_more_than_the_steps_it_saves():
    grid = (600, 400, 200, 0)
    shifts = [shift([(t, 1.0) for t in grid if t <= start], T) for start in grid]
    assert shifts == sorted(shifts)


def test_one_more_step_between_two_others_is_always_better():
    for t in range(10, 900, 50):
        assert shift([(900, 1.0), (t, 1.0)], T) < shift([(900, 1.0)], T)


def test_a_narrow_step_costs_more_the_less_noise_there_is():
    grid = (800, 600, 400, 200)
    costs = [shift([(t, 0.5 if t == narrow else 1.0) for t in grid], T) for narrow in grid]
    assert costs == sorted(costs) and costs[0] > shift([(t, 1.0) for t in grid], T)


def test_noise_belongs_to_the_seed_and_the_image_alone():
    wide, narrow = [(900, 1.0), (300, 1.0)], [(700, 0.25)]
    all_of_them = features_of(wide, 5, range(20))
    assert all_of_them.shape == (20, NUM_FEATURES) and all_of_them.dtype == np.float32
    np.testing.assert_array_equal(features_of(wide, 5, range(7, 12)), all_of_them[7:12])
    apart = features_of(narrow, 5, range(20)) - all_of_them
    np.testing.assert_allclose(apart, np.broadcast_to(apart[0], apart.shape), atol=1e-5)
    gap = shift(narrow, T) - shift(wide, T)
    assert np.linalg.norm(apart[0]) == pytest.approx(gap, rel=1e-5)
    assert abs(features_of(wide, 6, range(20)) - all_of_them).min() > 0


def test_a_population_is_scored_like_each_of_its_schedules():
    schedules = [[(900, 1.0)], [(500, 0.25), (100, 1.0)], [(900, 1.0)]]
    found = dict(StubSource(T).features(schedules, 3, range(4)))
    assert sorted(found) == [0, 1, 2]
    for index, steps in enumerate(schedules):
        np.testing.assert_array_equal(found[index], features_of(steps, 3, range(4)))


@pytest.mark.parametrize("steps", [[(990, 1.0), (400, 1.0), (100, 1.0)], [(600, 0.25)]])
def test_the_distance_from_the_unit_normal_is_the_squared_shift(steps):
    n = 4000
    reference = Reference(np.zeros(NUM_FEATURES), np.eye(NUM_FEATURES))
    found = distance(moments(features_of(steps, 0, range(n))), reference)
    expected = shift(steps, T) ** 2
    # |mean|^2 has a standard deviation of 2 shift / sqrt(n)
    assert abs(found - expected) < 4 * 2 * shift(steps, T) / n**0.5


def test_macs_fall_with_the_square_of_the_width():
    assert macs_table(WIDTHS) == {
        0.25: MACS // 16,
        0.5: MACS // 4,
        0.75: MACS * 9 // 16,
        1.0: MACS,
    }
