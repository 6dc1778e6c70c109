import numpy as np
import pytest

from search_spaces.guided import Guide, GuidedSpace, on_grid, steps_on_grid
from search_spaces.optimizers import make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.timesteps import TimestepsSpace

GRID = tuple(range(90, -1, -10))
KEPT = np.array([0, 0, 0.9, 0, 0.1, 0.8, 0, 0.1, 1, 0])
PER_STEP = PerStepSpace(GRID, (1.0, 0.5))
SPACES = {"per-step": PER_STEP, "timesteps": TimestepsSpace(PER_STEP)}


def asked(space):
    """Steps of all that is asked for before anything is known."""
    found = make_optimizer("nsga2", space, 0, 8).ask_generation(100)
    return [PER_STEP.decode(candidate.genome) for candidate in found]


def first_guesses(name, guide, number):
    """Steps of what is asked for right after the uniform schedules; all of the rest must come."""
    alone, guided = asked(SPACES[name]), asked(GuidedSpace(SPACES[name], guide))
    uniform = len(PER_STEP.uniform())
    assert guided[:uniform] == alone[:uniform]
    own = alone[uniform:]
    assert [steps for steps in guided[uniform:] if steps in own] == own
    return guided[uniform:][:number]


@pytest.mark.parametrize("name", SPACES)
def test_what_was_chosen_in_the_end_is_asked_for_and_not_the_likeliest(name):
    guide = Guide({3: KEPT, 2: KEPT}, {3: (90, 60, 0), 2: (50, 20)})
    first, second = first_guesses(name, guide, 2)
    assert first == ((90, 1.0), (60, 1.0), (0, 1.0)) and second == ((50, 1.0), (20, 1.0))


@pytest.mark.parametrize("name", SPACES)
def test_the_likeliest_steps_are_asked_for_where_nothing_else_is_known(name):
    likeliest = ((70, 1.0), (40, 1.0), (10, 1.0))
    assert first_guesses(name, Guide({3: KEPT}), 1) == [likeliest]
    assert first_guesses(name, Guide({3: KEPT, 2: KEPT}, {2: (50, 20)}), 1) == [likeliest]


def test_the_noisier_half_of_a_guess_is_a_width_narrower_when_it_comes_again():
    guided = GuidedSpace(PER_STEP, Guide({4: KEPT}, {4: (90, 60, 30, 0)}))
    whole = ((90, 1.0), (60, 1.0), (30, 1.0), (0, 1.0))
    assert first_guesses("per-step", guided.guide, 1) == [whole]
    assert asked(guided)[-1] == ((90, 0.5), (60, 0.5), (30, 1.0), (0, 1.0))


@pytest.mark.parametrize("name", SPACES)
def test_mutations_tend_to_the_steps_that_the_mask_keeps(name):
    own, guided = SPACES[name], GuidedSpace(SPACES[name], Guide({3: KEPT}))
    start = own.encode([(t, 1.0) for t in (90, 60, 0)])
    means = []
    for space in (own, guided):
        rng = np.random.RandomState(0)
        children = [space.expand(space.mutate(start, rng)) > 0 for _ in range(400)]
        means.append(np.mean([(KEPT * c).sum() / max(c.sum(), 1) for c in children]))
    assert means[1] > 1.3 * means[0]


def test_a_mutation_never_leaves_the_space_nor_keeps_nothing():
    space = GuidedSpace(PER_STEP, Guide({1: np.zeros(10), 4: KEPT}))
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


def test_steps_move_to_the_nearest_of_another_grid_each_to_its_own():
    assert steps_on_grid(GRID, (90, 40, 0)) == (90, 40, 0)
    assert steps_on_grid(GRID, (71, 69, 12.4)) == (80, 70, 10)
    assert steps_on_grid((5, 0), (900, 800)) == (5, 0)
