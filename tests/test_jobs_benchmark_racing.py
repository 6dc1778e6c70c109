"""The benchmark of racing: its pool is what it says, and its searches are real ones."""

import numpy as np
import pytest

from jobs.benchmarks import landscape, racing
from jobs.benchmarks.landscape import SPACE
from models.intervals import estimate, paired

SCHEDULES = [SPACE.decode(genome) for genome in SPACE.uniform()]


def test_qualities_are_the_landscapes_with_noise_of_the_stated_size():
    pool, scale = racing.LandscapePool(0.04), []
    true = landscape.losses(SPACE.uniform())[:, 0]
    for seed in range(20):
        scores = pool.distances(SCHEDULES, seed, 1000)
        assert (scores[0].full, estimate(scores[0]).se) == (1, 0)  # the baseline
        found = np.array([s.full for s in scores])
        scale.append((found[1:] - true[1:]) / (0.04 * true[1:] ** 2))
        errors = [paired(s, scores[0]).se for s in scores[1:]] / (0.04 * true[1:] ** 2)
        assert errors.mean() == pytest.approx(1, abs=0.1)
    assert np.std(scale) == pytest.approx(1, abs=0.1)
    assert np.mean(scale) == pytest.approx(0, abs=0.2)


def test_what_is_scored_in_parts_comes_to_the_same():
    pool = racing.LandscapePool(0.04)
    first = pool.blocks(SCHEDULES[1:3], 3, [range(250), range(250, 500)])
    rest = pool.blocks(SCHEDULES[1:3], 3, [range(500, 750), range(750, 1000)])
    parts = pool.judge([a + b for a, b in zip(first, rest, strict=True)])
    for one, other in zip(parts, pool.distances(SCHEDULES[1:3], 3, 1000), strict=True):
        assert one.full == other.full and one.without.tolist() == other.without.tolist()


def test_costs_are_the_landscapes():
    genomes = [*SPACE.uniform(), *SPACE.one_switch()]
    for genome in genomes:
        steps = SPACE.decode(genome)
        macs = sum(racing.MACS[width] for _, width in steps) / 5000
        assert racing.true_point(steps)[1] == pytest.approx(macs, rel=1e-12)
        assert racing.true_point(steps)[1] == pytest.approx(landscape.cost(genome), rel=1e-12)


def test_a_search_hands_over_what_it_truly_found():
    """Without noise what it believes is the truth: the recommended one loses nothing."""
    found = racing.searched(1e-9, 0, calls=700_000, num_images=1000, racing=True)
    assert found.loss <= 0 and found.wrongly_dropped == 0
    assert 0 < found.hypervolume < 1 and found.candidates % 16 == 0
