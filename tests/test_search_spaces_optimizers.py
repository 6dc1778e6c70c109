"""Optimizers: what they ask, that they repeat nothing and everything, and how well they search."""

import json

import numpy as np
import pytest
from toy_schedules import SPACE, toy_losses

from search_spaces import pareto
from search_spaces.optimizers import OPTIMIZERS, REFERENCE_POINT, make_optimizer
from search_spaces.per_step import PerStepSpace
from search_spaces.prefixes import count_calls
from search_spaces.spaces import SPACES, make_space

NUM_UNIFORM = len(SPACE.uniform())
SMALL = PerStepSpace((20, 10, 0), (1.0, 0.5))
EVOLVING = [name for name in OPTIMIZERS if name != "random"]
# Each optimizer on the per-step space, each space by each optimizer.
CHOICES = [(name, space) for space in SPACES for name in OPTIMIZERS]


def small_losses(genomes):
    """Wide steps at low noise are worth most; any formula will do."""
    weight = np.arange(1, 4)
    return np.array([(3 - (g * weight).sum() / 6, g.sum() / 6) for g in genomes])


def run(optimizer, losses_of, sizes):
    """Genomes and losses of generations asked and told in turn."""
    genomes, losses = [], []
    for size in sizes:
        candidates = optimizer.ask_generation(size)
        genomes.append([c.genome.tolist() for c in candidates])
        losses.append(losses_of([c.genome for c in candidates]))
        optimizer.tell_generation(candidates, losses[-1])
    return genomes, losses


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="nsga3.*nsga2, de, one-plus-one, random"):
        make_optimizer("nsga3", SPACE, 0, 8)


@pytest.mark.parametrize(("name", "space"), CHOICES)
def test_uniform_schedules_come_first_whatever_the_space(name, space):
    asked = make_optimizer(name, make_space(space, SPACE, 4), 0, 8).ask_generation(NUM_UNIFORM)
    assert [c.genome.tolist() for c in asked] == [g.tolist() for g in SPACE.uniform()]


@pytest.mark.parametrize(("name", "space"), CHOICES)
def test_same_seed_and_tells_same_candidates_another_seed_others(name, space):
    sizes, searched = [24, 12, 3, 3], make_space(space, SPACE, 4)
    first = run(make_optimizer(name, searched, 3, 8), toy_losses, sizes)[0]
    np.random.seed(0)  # the global state has no say
    assert run(make_optimizer(name, searched, 3, 8), toy_losses, sizes)[0] == first
    assert run(make_optimizer(name, searched, 4, 8), toy_losses, sizes)[0][-1] != first[-1]


@pytest.mark.parametrize(("name", "space"), CHOICES)
def test_replayed_losses_give_the_same_continuation(name, space):
    sizes, searched = [24, 12, 4, 3], make_space(space, SPACE, 4)
    original = make_optimizer(name, searched, 1, 8)
    genomes, losses = run(original, toy_losses, sizes)
    journal = iter(json.loads(json.dumps([pairs.tolist() for pairs in losses])))
    resumed = make_optimizer(name, searched, 1, 8)
    assert run(resumed, lambda _: np.array(next(journal)), sizes)[0] == genomes
    following = [[c.genome.tolist() for c in o.ask_generation(3)] for o in (original, resumed)]
    assert following[0] == following[1]


@pytest.mark.parametrize(("name", "space"), CHOICES)
def test_no_genome_is_asked_twice_and_all_are_schedules_of_the_space(name, space):
    searched = make_space(space, SPACE, 4)
    genomes, _ = run(make_optimizer(name, searched, 0, 8), toy_losses, [7, 33, 5, 5])
    asked = [tuple(genome) for generation in genomes for genome in generation]
    assert len(set(asked)) == len(asked) == 50
    for genome in asked[NUM_UNIFORM:]:
        searched.encode(SPACE.decode(np.array(genome)))


@pytest.mark.parametrize(("name", "space"), CHOICES)
def test_a_space_can_be_used_up(name, space):
    """A first generation larger than the warm start comes in parts, the last ones are empty."""
    searched = make_space(space, SMALL, 3)
    sizes = [12, 2, 2] if space == "timesteps" else [12, 8, 4, 2, 2]
    genomes, _ = run(make_optimizer(name, searched, 0, 8), small_losses, sizes)
    asked = [tuple(genome) for generation in genomes for genome in generation]
    # 3^3 - 1 genomes; 2^3 - 1, and the uniform schedules of 3, 2 and 1 narrow steps
    there = 10 if space == "timesteps" else 26
    assert there - 5 <= len(set(asked)) == len(asked) <= there
    assert len(genomes[0]) > 0


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "bad", [[[1.0, np.nan], [1.0, 1.0]], [[np.inf, 1.0], [1.0, 1.0]], [[1.0, 1.0]]]
)
def test_bad_losses_are_refused_before_anything_is_told(name, bad):
    optimizer, twin = (make_optimizer(name, SMALL, 0, 8) for _ in range(2))
    candidates = optimizer.ask_generation(2)
    with pytest.raises(ValueError, match="expected 2 finite pairs"):
        optimizer.tell_generation(candidates, np.array(bad))
    good = small_losses([c.genome for c in candidates])
    optimizer.tell_generation(candidates, good)
    twin.tell_generation(twin.ask_generation(2), good)
    sizes = [4, 4, 4]
    assert run(optimizer, small_losses, sizes)[0] == run(twin, small_losses, sizes)[0]


@pytest.mark.parametrize("name", EVOLVING)
def test_survivors_are_of_the_scored_and_no_more_than_the_population(name):
    optimizer = make_optimizer(name, make_space("timesteps", SPACE, 1), 0, 6)
    assert optimizer.survivors().shape == (0, 50)
    genomes, losses = run(optimizer, toy_losses, [24, 12, 12])
    asked = {tuple(genome): loss for generation, values in zip(genomes, losses, strict=True)
             for genome, loss in zip(generation, values.tolist(), strict=True)}  # fmt: skip
    survivors = [tuple(genome) for genome in optimizer.survivors().tolist()]
    assert len(set(survivors)) == len(survivors) == 6 and set(survivors) <= set(asked)
    # Uniform schedules of other widths are no parents: the space has no children of theirs.
    assert all(set(genome) <= {0, 4} for genome in survivors)
    best = min(loss for genome, (loss, _) in asked.items() if set(genome) <= {0, 4})
    if name != "one-plus-one":  # there, by its share of the hypervolume
        assert min(asked[genome][0] for genome in survivors) == best


def test_a_child_replaces_the_parent_that_it_dominates_and_goes_where_it_is_dominated():
    """One parent dominated by its child, one that dominates its child, and two that stay."""
    optimizer = make_optimizer("de", SPACE, 0, 4)
    first = optimizer.ask_generation(4)
    optimizer.tell_generation(first, np.array([(0.8, 0.9), (1.2, 0.6), (1.5, 0.3), (1.9, 0.1)]))
    parents = {tuple(c.genome): c for c in first}
    optimizer._first.clear()  # the warm start has no parents
    children = optimizer.ask_generation(4)
    known = {c.parameter.uid: c.parameter.losses for c in first}
    by_parent = dict(zip(known, [(0.1, 0.1), (1.3, 0.7), (1.55, 0.35), (1.95, 0.15)],
                         strict=True))  # fmt: skip
    told = np.array([by_parent[c.parameter.heritage["lineage"]] for c in children])
    optimizer.tell_generation(children, told)
    expected = {tuple(c.genome) for c, loss in zip(children, told, strict=True) if loss[0] == 0.1}
    assert len(expected) == 1
    gone = {tuple(first[0].genome)}
    survivors = {tuple(genome) for genome in optimizer.survivors().tolist()}
    assert survivors == expected | (set(parents) - gone)


def test_parents_of_one_plus_one_are_the_front_by_its_hypervolume():
    optimizer = make_optimizer("one-plus-one", SPACE, 0, 3)
    candidates = optimizer.ask_generation(7)
    dominated, outside = (1.6, 0.95), (2.5, 0.01)
    front = [(1.0, 0.9), (1.01, 0.89), (1.2, 0.5), (1.9, 0.2)]
    optimizer.tell_generation(candidates, np.array([front[0], dominated, outside, *front[1:],
                                                    (1.95, 0.95)]))  # fmt: skip
    own = pareto.contributions(np.array(front), REFERENCE_POINT)
    places = [(0, 3, 4, 5)[i] for i in np.argsort(-own)[:3]]
    expected = [candidates[i].genome.tolist() for i in places]
    assert optimizer.survivors().tolist() == expected


@pytest.mark.filterwarnings("error")
def test_one_plus_one_takes_a_point_on_the_edge_of_the_box_in_silence():
    """Nevergrad gives it an infinite loss, and warns on stderr."""
    optimizer = make_optimizer("one-plus-one", SPACE, 0, 3)
    candidates = optimizer.ask_generation(4)
    losses = np.array([(1.0, 1.0), (0.9, 1.0), (2.0, 0.1), (1.5, 0.5)])
    optimizer.tell_generation(candidates, losses)
    assert optimizer.survivors()[0].tolist() == candidates[3].genome.tolist()


def test_parents_are_the_best_ranks_in_the_box_then_the_least_crowded():
    optimizer = make_optimizer("nsga2", SPACE, 0, 4)
    candidates = optimizer.ask_generation(8)
    outside = [(2.5, 0.01), (3.0, 0.005)]
    front = [(0.9, 0.9), (1.8, 0.2), (1.0, 0.5), (1.01, 0.49), (1.4, 0.3)]
    optimizer.tell_generation(candidates, np.array([*outside, *front, (1.9, 0.9)]))
    # The ends, then of the middle ones those with the widest gaps around them.
    expected = [candidates[i].genome.tolist() for i in (2, 3, 6, 5)]
    assert sorted(optimizer.survivors().tolist()) == sorted(expected)


def test_nsga2_beats_uniform_schedules_and_random_search_on_the_toy_landscape():
    """144 candidates beyond the uniform ones; the landscape has the measured qualities."""
    box_of_uniform = pareto.hypervolume(toy_losses(SPACE.uniform()), REFERENCE_POINT)
    gain, savings = {}, {}
    for name in OPTIMIZERS:
        losses = np.concatenate(run(make_optimizer(name, SPACE, 0, 24), toy_losses, [24] * 7)[1])
        gain[name] = pareto.hypervolume(losses, REFERENCE_POINT) / box_of_uniform
        savings[name] = 1 - losses[losses[:, 0] <= 1.03, 1].min()
        if name == "nsga2":
            front = losses[pareto.non_dominated(losses)]
            assert (front <= REFERENCE_POINT).all(axis=1).sum() >= 12
    assert gain["nsga2"] > 1.19 and gain["nsga2"] > gain["random"] + 0.15
    assert min(gain["de"], gain["one-plus-one"]) > gain["random"] + 0.08
    assert savings["nsga2"] > 0.44 and savings["random"] < 0.1


def test_children_share_prefixes_with_survivors():
    """Random mutants of 8 to 50 steps share a few; the chosen ones must share most."""
    optimizer = make_optimizer("nsga2", SPACE, 0, 24)
    run(optimizer, toy_losses, [24] * 4)
    known = [SPACE.decode(genome) for genome in optimizer.survivors()]
    steps = [SPACE.decode(c.genome) for c in optimizer.ask_generation(24)]
    assert count_calls(steps, known) < 0.75 * sum(map(len, steps))


def test_random_candidates_are_spread_over_savings():
    optimizer = make_optimizer("random", SPACE, 0, 8)
    run(optimizer, toy_losses, [24])
    costs = toy_losses([c.genome for c in optimizer.ask_generation(200)])[:, 1]
    assert np.histogram(costs, bins=5, range=(0, 1))[0].min() >= 10
