import pytest

from search_spaces.spacing import known_grids, late_grid, nearest, quadratic_grid


def test_quadratic_steps_are_ddims():
    assert quadratic_grid(1000, 5) == (800, 450, 200, 50, 0)
    assert quadratic_grid(1000, 1) == (0,)


def test_late_steps_start_at_their_share():
    assert late_grid(1001, 4, 0.8) == (800, 520, 283, 100)  # 800 (i / 4)^1.5


@pytest.mark.parametrize("num_steps", [1, 2, 5, 20, 50])
def test_known_grids_are_schedules(num_steps):
    for name, grid in known_grids(100, num_steps).items():
        assert len(grid) == num_steps and list(grid) == sorted(set(grid), reverse=True), name
        assert 0 <= grid[-1] and grid[0] < 100


def test_the_nearest_candidates_are_distinct():
    assert nearest([0, 20, 40, 60], [41, 5, 1]) == [0, 1, 2]
    assert nearest([0, 20, 40, 60], [60, 61, 62]) == [1, 2, 3]
