"""The per-step space: codes by hand, round trips, uniform schedules against diffusers' grids."""

import numpy as np
import pytest
from diffusers import DDIMScheduler

from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import even_grid

WIDTHS = (1.0, 0.75, 0.5, 0.25)
SPACE = PerStepSpace(even_grid(1000, 50), WIDTHS)


def test_genes_by_hand():
    space = PerStepSpace((30, 20, 10, 0), (1.0, 0.5))
    assert space.decode(np.array([1, 0, 2, 2])) == ((30, 0.5), (10, 1.0), (0, 1.0))
    assert space.encode(((30, 0.5), (10, 1.0), (0, 1.0))).tolist() == [1, 0, 2, 2]


def test_encode_inverts_decode():
    rng = np.random.RandomState(0)
    for _ in range(50):
        genome = SPACE.repair(rng.randint(0, 5, size=50))
        assert SPACE.encode(SPACE.decode(genome)).tolist() == genome.tolist()


@pytest.mark.parametrize("bad", [[0, 0, 0, 0], [1, 1, 1], [3, 0, 0, 0], [-1, 1, 1, 1]])
def test_decode_refuses_bad_genomes(bad):
    with pytest.raises(ValueError, match="genome"):
        PerStepSpace((30, 20, 10, 0), (1.0, 0.5)).decode(np.array(bad))


@pytest.mark.parametrize("steps", [[(15, 1.0)], [(20, 0.75)], []])
def test_encode_refuses_steps_outside(steps):
    with pytest.raises(ValueError, match="step"):
        PerStepSpace((30, 20, 10, 0), (1.0, 0.5)).encode(steps)


@pytest.mark.parametrize(
    ("grid", "widths"), [((), (1.0,)), ((1, 0), ()), ((0, 1), (1.0,)), ((1, 0), (0.5, 1.0))]
)
def test_bad_spaces_are_refused(grid, widths):
    with pytest.raises(ValueError, match="falling"):
        PerStepSpace(grid, widths)


def test_repair_changes_only_the_empty_genome():
    genome = np.array([0, 1, 0, 0])
    space = PerStepSpace((30, 20, 10, 0), (1.0, 0.5))
    assert space.repair(genome).tolist() == [0, 1, 0, 0]
    repaired = space.repair(np.zeros(4))
    assert space.decode(repaired) == ((10, 1.0),)


def test_uniform_schedules_are_each_width_at_each_count():
    schedules = [SPACE.decode(genome) for genome in SPACE.uniform()]
    found = [(steps[0][1], len(steps)) for steps in schedules]
    assert found == [(w, n) for w in WIDTHS for n in (50, 38, 25, 18, 13, 8)]
    assert all(len({width for _, width in steps}) == 1 for steps in schedules)
    assert schedules[0] == tuple((t, 1.0) for t in SPACE.grid)


def test_uniform_schedules_are_evenly_spaced_on_the_grid():
    rising = SPACE.grid[::-1]
    for genome in SPACE.uniform():
        kept = [t for t, _ in SPACE.decode(genome)]
        count = len(kept)
        assert kept[::-1] == [rising[i * 50 // count] for i in range(count)]


def test_half_of_the_steps_are_diffusers_own_grid():
    half = SPACE.decode(SPACE.uniform()[2])
    assert tuple(t for t, _ in half) == even_grid(1000, 25)


def test_uniform_schedules_of_tiny_spaces_do_not_repeat():
    space = PerStepSpace((0,), (1.0, 0.5))
    assert [g.tolist() for g in space.uniform()] == [[2], [1]]


def test_one_switch_schedules_are_narrow_then_wide_and_valid():
    genomes = SPACE.one_switch()
    assert len({g.tobytes() for g in genomes}) == len(genomes) >= 8
    for genome in genomes:
        widths = [width for _, width in SPACE.decode(genome)]
        assert widths == sorted(widths)
        assert len(set(widths)) <= 2
    assert any(len(set(g[g > 0])) == 2 for g in genomes)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7])
@pytest.mark.parametrize("num_widths", [1, 2, 4])
def test_one_switch_schedules_of_small_spaces_are_valid(num_steps, num_widths):
    space = PerStepSpace(even_grid(100, num_steps), WIDTHS[:num_widths])
    for genome in space.one_switch():
        assert len(space.decode(genome)) >= 1


def test_uniform_schedules_of_trailing_spacing_are_diffusers():
    space = PerStepSpace(even_grid(1000, 50, "trailing"), WIDTHS, "trailing")
    schedules = [space.decode(genome) for genome in space.uniform()]
    assert all(steps[0][0] == 999 for steps in schedules)
    scheduler = DDIMScheduler(1000, timestep_spacing="trailing")
    scheduler.set_timesteps(25)
    half = tuple((t, 1.0) for t in scheduler.timesteps.tolist())
    assert half in schedules and [len(s) for s in schedules[:6]] == [50, 38, 25, 18, 13, 8]
