"""Operators on random genomes: what each may change and what it must keep."""

import numpy as np
import pytest
from numpy.random import RandomState

from search_spaces import operators
from search_spaces.operators import MUTATIONS, crossover, mutate, nearest_widths

NUM_WIDTHS = 4


def random_genome(rng, length=None):
    genome = rng.randint(1, NUM_WIDTHS + 1, size=length or rng.randint(1, 30))
    genome[rng.rand(len(genome)) < rng.rand()] = 0
    if not genome.any():
        genome[rng.randint(len(genome))] = NUM_WIDTHS
    return genome


def cases(name, count=300):
    """(old, new) pairs of one operator on random genomes; at least a tenth must differ."""
    rng = RandomState(0)
    pairs = []
    for _ in range(count):
        old = random_genome(rng)
        before = old.copy()
        new = getattr(operators, name)(old, rng, NUM_WIDTHS)
        assert old.tolist() == before.tolist()
        assert new.shape == old.shape and new.dtype == old.dtype
        assert new.min() >= 0 and new.max() <= NUM_WIDTHS
        pairs.append((old, new))
    assert sum(bool((old != new).any()) for old, new in pairs) > count / 10
    return pairs


def kept_run(old, positions):
    """Whether the positions are a run of the kept steps of `old`."""
    order = np.searchsorted(np.flatnonzero(old), positions)
    return (np.diff(order) == 1).all()


def test_every_operator_is_among_the_mutations():
    assert len(set(MUTATIONS)) == len(MUTATIONS) == 12


def test_change_widths_moves_up_to_four_kept_steps_one_width_the_same_way():
    for old, new in cases("change_widths"):
        difference = (new - old)[new != old]
        assert ((new > 0) == (old > 0)).all()
        assert len(difference) <= 4 and len(set(difference)) <= 1
        assert np.isin(difference, (-1, 1)).all()


def test_drop_steps_drops_one_to_three():
    for old, new in cases("drop_steps"):
        changed = new != old
        assert (new[changed] == 0).all() and 1 <= changed.sum() <= 3


def test_add_steps_takes_in_one_to_three_at_the_nearest_width():
    for old, new in cases("add_steps"):
        changed = np.flatnonzero(new != old)
        assert (old[changed] == 0).all()
        assert min(1, (old == 0).sum()) <= len(changed) <= 3
        assert (new[changed] == nearest_widths(old)[changed]).all()


def test_shift_steps_keeps_the_widths_in_their_order():
    for old, new in cases("shift_steps"):
        assert new[new > 0].tolist() == old[old > 0].tolist()
        moved = np.abs(np.flatnonzero(new) - np.flatnonzero(old))
        assert moved.max() <= 3 and moved.sum() <= 3


def test_set_segment_gives_a_run_of_kept_steps_one_width():
    for old, new in cases("set_segment"):
        changed = np.flatnonzero(new != old)
        assert ((new > 0) == (old > 0)).all()
        assert len(set(new[changed])) <= 1
        assert len(changed) <= (np.count_nonzero(old) + 1) // 2


def test_step_segment_moves_a_run_of_kept_steps_one_width():
    for old, new in cases("step_segment"):
        difference = (new - old)[new != old]
        assert ((new > 0) == (old > 0)).all()
        assert np.isin(difference, (-1, 1)).all() and len(set(difference)) <= 1


def test_drop_segment_drops_one_run():
    for old, new in cases("drop_segment"):
        dropped = np.flatnonzero(new != old)
        assert (new[dropped] == 0).all() and len(dropped) >= 1 and kept_run(old, dropped)


def test_thin_segment_drops_steps_at_one_stride():
    for old, new in cases("thin_segment"):
        dropped = np.flatnonzero(new != old)
        assert (new[dropped] == 0).all()
        strides = set(np.diff(np.searchsorted(np.flatnonzero(old), dropped)))
        assert strides <= {2} or strides <= {3} or strides <= {4}


def test_fill_segment_takes_in_middles():
    for old, new in cases("fill_segment"):
        added = np.flatnonzero(new != old)
        assert (old[added] == 0).all()
        for position in added:
            before = np.flatnonzero(old[:position])[-1]
            after = position + np.flatnonzero(old[position:])[0]
            assert position == (before + after) // 2 and new[position] == old[after]


def test_move_switch_moves_one_switch_and_nothing_else():
    for old, new in cases("move_switch"):
        assert ((new > 0) == (old > 0)).all()
        changed = np.flatnonzero(new != old)
        assert len(changed) <= 4 and len(set(new[changed])) <= 1
        widths = old[old > 0]
        assert (len(changed) > 0) == (len(set(widths)) > 1)


def test_move_start_drops_the_head_or_stretches_towards_the_same_end():
    dropped, stretched = 0, 0
    for old, new in cases("move_start"):
        if not new.any():
            assert np.count_nonzero(old) <= 3
            continue
        assert np.flatnonzero(new)[-1] == np.flatnonzero(old)[-1]
        start = np.flatnonzero(new)[0]
        if (new[start:] == old[start:]).all():
            dropped += 1
        else:
            stretched += 1
            assert abs(start - np.flatnonzero(old)[0]) <= 6
    assert dropped > 50 and stretched > 50


def test_respace_keeps_ends_and_profile():
    genome = np.tile([1, 0, 0], 20)
    genome[30:] *= 4
    rng = RandomState(0)
    counts = set()
    for _ in range(200):
        child = operators.respace(genome, rng, NUM_WIDTHS)
        kept = np.flatnonzero(child)
        counts.add(len(kept))
        assert kept[0] == 0 and kept[-1] == 57
        # Evenly spread before, evenly spread after; the switch stays where it was.
        assert np.ptp(np.diff(kept)) <= 1
        assert set(child[:26]) <= {0, 1} and set(child[32:]) <= {0, 4}
    assert min(counts) == 14 and max(counts) == 26


@pytest.mark.parametrize("length", [1, 2, 50])
def test_mutate_keeps_a_step_and_depends_on_the_random_state_alone(length):
    genome = random_genome(RandomState(1), length)
    first, second = RandomState(2), RandomState(2)
    children = [mutate(genome, first, NUM_WIDTHS) for _ in range(200)]
    assert all(child.any() for child in children)
    again = [mutate(genome, second, NUM_WIDTHS) for _ in range(200)]
    assert [c.tolist() for c in children] == [c.tolist() for c in again]


def test_a_mutation_holds_from_a_place_on_that_is_late_more_often_than_early():
    """Its density rises linearly: of 40 places below the middle are a quarter."""
    genome, rng = np.ones(40, dtype=np.int64), RandomState(0)
    widen = (lambda parent, rng, num_widths: np.full_like(parent, 2),)
    places = []
    for _ in range(2000):
        changed = mutate(genome, rng, NUM_WIDTHS, widen) == 2
        places.append(int(changed.argmax()))
        assert changed[places[-1] :].all() and not changed[: places[-1]].any()
    assert np.mean(np.array(places) < 20) == pytest.approx(0.25, abs=0.03)
    assert np.mean(np.array(places) < 30) == pytest.approx(0.5625, abs=0.03)


def test_crossover_takes_one_segment_from_the_other_parent():
    rng = RandomState(0)
    first, second = np.full(20, 1), np.full(20, 2)
    to_the_end = 0
    for _ in range(200):
        child = crossover(first, second, rng)
        taken = np.flatnonzero(child == 2)
        assert set(child) <= {1, 2} and len(taken) >= 1 and (np.diff(taken) == 1).all()
        to_the_end += taken[-1] == 19
    assert 90 < to_the_end < 140
    assert first.tolist() == [1] * 20


def test_crossover_refuses_a_child_without_steps():
    rng = RandomState(0)
    first, second = np.array([0, 3]), np.array([3, 0])
    children = {tuple(crossover(first, second, rng)) for _ in range(100)}
    assert children == {(0, 3), (3, 0), (3, 3)}


def test_nearest_widths_against_brute_force():
    rng = RandomState(3)
    for _ in range(100):
        genome = random_genome(rng)
        kept = np.flatnonzero(genome)
        expected = [genome[min(kept, key=lambda k: (abs(k - i), k))] for i in range(len(genome))]
        assert nearest_widths(genome).tolist() == expected
