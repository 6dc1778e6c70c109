import numpy as np
import pytest

from search_spaces.guided import GuidedSpace, on_grid
from search_spaces.optimizers import make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.timesteps import TimestepsSpace

GRID = tuple(range(90, -1, -10))
KEPT = np.array([0, 0, 0.9, 0, 0.1, 0.8, 0, 0.1, 1, 0])
PER_STEP = PerStepSpace(GRID, (1.0, 0.5))
SPACES = {"per-step": PER_STEP, "timesteps": TimestepsSpace(PER_STEP)}


@pytest.mark.parametrize("name", SPACES)
def test_what_was_learned_is_asked_for_right_after_the_uniform_schedules(name):
    space = GuidedSpace(SPACES[name], {3: KEPT})
    optimizer = make_optimizer("nsga2", space, 0, 8)
    num_uniform = len(PER_STEP.uniform())
    asked = optimizer.ask_generation(num_uniform + 1)
    assert space.per_step.decode(asked[-1].genome) == ((70, 1.0), (40, 1.0), (10, 1.0))


@pytest.mark.parametrize("name", SPACES)
def test_mutations_tend_to_the_steps_that_the_mask_keeps(name):
    own, guided = SPACES[name], GuidedSpace(SPACES[name], {3: KEPT})
    start = own.encode([(t, 1.0) for t in (90, 60, 0)])
    means = []
    for space in (own, guided):
        rng = np.random.RandomState(0)
        children = [space.expand(space.mutate(start, rng)) > 0 for _ in range(400)]
        means.append(np.mean([(KEPT * c).sum() / max(c.sum(), 1) for c in children]))
    assert means[1] > 1.3 * means[0]


def test_a_mutation_never_leaves_the_space_nor_keeps_nothing():
    space = GuidedSpace(PER_STEP, {1: np.zeros(10), 4: KEPT})
    rng = np.random.RandomState(1)
    code = space.uniform()[0]
    for _ in range(200):
        code = space.mutate(code, rng)
        assert space.decode(space.expand(code))


def test_probabilities_move_to_the_nearest_timestep_of_another_grid():
    found = on_grid((8, 4, 0), (0, 1, 5, 9), (0.1, 0.9, 0.0, 0.8), 2)
    assert found.tolist() == [0.8, 0.0, 0.9]
    crowded = on_grid((8, 4, 0), (0, 1, 9), (1.0, 0.9, 0.2), 2)
    assert crowded.tolist() == [0.2, 0.9, 1.0]  # the likeliest keep places of their own
