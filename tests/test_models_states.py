"""States that are kept of schedules: what they save, and that they change no bit."""

import pytest
import torch
from toy_population import (
    DDIM,
    DPM,
    SAMPLERS,
    SCHEDULES,
    SEED,
    SHAPE,
    alone,
    count_calls,
    prefixes,
    random_schedules,
    sample,
    together,
)

from models.states import State, StateCache


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("limit", [0, 10 * 2 * 8 * 32 * 4, 1 << 30])
def test_kept_states_save_calls_and_change_no_bit(sampler, limit):
    children = random_schedules(20, seed=1) + [steps[:-1] + [(0, 0.5)] for steps in SCHEDULES]
    states = StateCache(limit)
    for images in (range(8), range(8, 13)):
        for schedules in (SCHEDULES, children):
            expected = together(sampler, schedules, images)
            assert torch.equal(together(sampler, schedules, images, states), expected)
    assert states.bytes <= limit
    both = len(prefixes(SCHEDULES)) + len(prefixes(children) - prefixes(SCHEDULES))
    apart = len(prefixes(SCHEDULES)) + len(prefixes(children))
    if limit == 0:
        assert (states.calls, states.hits) == (2 * apart, 0)
    elif limit < 1 << 30:
        assert 2 * both < states.calls < 2 * apart
    else:
        assert states.calls == 2 * both


@pytest.mark.parametrize("tail", [((50, 1.0), (10, 1.0)), ((20, 0.5), (10, 1.0)), ((3, 1.0),)])
def test_a_kept_state_carries_the_history_of_a_multistep_solver(tail):
    """Schedules that part right after a kept state, where the solver looks back past it."""
    stem = ((90, 1.0), (60, 0.5))
    states, found = StateCache(1 << 30), []
    together(DPM, [stem], range(8), states)
    children = [(*stem, *tail)]
    calls = count_calls(lambda: found.append(together(DPM, children, range(8), states)))
    assert calls == len(tail)
    expected = alone(DPM, children[0], range(8))
    assert torch.equal(found[0][0], expected)
    first, second = states.trie.path(stem)
    assert states.get(SEED, range(8), first).previous is None
    kept = states.get(SEED, range(8), second)
    assert kept.previous.t == 90 and kept.previous.x_0.shape == (8, *SHAPE)
    assert kept.num_bytes == 3 * kept.x.nbytes
    forgetful = DPM.move(kept.x, kept.output, 60, tail[0][0])
    assert not torch.equal(forgetful, DPM.move(*kept[:2], 60, tail[0][0], None, kept.previous))


def test_a_child_pays_only_from_its_first_changed_step():
    parent = [(t, 1.0) for t in range(90, -1, -10)]
    children = [parent[:7] + [(20, width)] + parent[8:] for width in (0.5, 0.25)]
    states = StateCache(1 << 30)
    together(DDIM, [parent], range(8), states)
    assert count_calls(lambda: together(DDIM, [*children, parent], range(8), states)) == 6
    assert states.hits == 2  # the state before the change, and the parent's own end
    assert count_calls(lambda: together(DDIM, [parent], range(7), states)) == len(parent)


def test_retain_drops_all_but_the_prefixes_of_some_schedules():
    states = StateCache(1 << 30)
    for images in (range(8), range(8, 16)):
        together(DDIM, SCHEDULES, images, states)
    elite = SCHEDULES[:2]
    states.retain(elite)
    state_bytes = 2 * 8 * 2 * 4 * 4 * 4
    assert states.bytes == 2 * len(prefixes(elite)) * state_bytes
    assert len(states.trie.links) == len(prefixes(elite))
    assert len(states.trie.depths) == 1 + len(prefixes(elite))
    calls = count_calls(lambda: together(DDIM, SCHEDULES, range(8, 16), states))
    assert calls == len(prefixes(SCHEDULES) - prefixes(elite))


def test_where_room_is_short_a_child_pays_for_a_few_steps_more_on_all_images_alike():
    """Room for 20 of the 80 states of a parent of 16 steps and 5 blocks: every fourth is kept."""
    parent = [(t, 1.0) for t in range(95, 79, -1)]
    blocks = [range(8 * k, 8 * k + 8) for k in range(5)]
    state_bytes = 2 * 8 * 32 * 4
    states = StateCache(20 * state_bytes)
    for images in blocks:
        together(DDIM, [parent], images, states)
        assert states.bytes <= states.limit_bytes
    states.retain([parent])
    for images in blocks:
        kept = [states.get(SEED, images, prefix) for prefix in states.trie.path(parent)]
        assert [n for n, state in enumerate(kept, 1) if state is not None] == [4, 8, 12, 16]
    for changed in range(16):  # after the last state that is kept before it
        child = [*parent[:changed], (parent[changed][0], 0.5), *parent[changed + 1 :]]
        again = StateCache(20 * state_bytes)
        for images in blocks:
            together(DDIM, [parent], images, again)
        before = again.calls
        found = together(DDIM, [child], blocks[3], again)
        assert again.calls - before == 16 - changed // 4 * 4
        assert torch.equal(found[0], alone(DDIM, child, blocks[3]))


def test_after_a_generation_there_is_room_again_for_every_step():
    parent = [(t, 1.0) for t in range(95, 79, -1)]
    states = StateCache(8 * 2 * 8 * 32 * 4)
    together(DDIM, [parent], range(8), states)
    states.retain([])
    assert states.bytes == 0
    together(DDIM, [parent[:7]], range(8), states)
    assert count_calls(lambda: together(DDIM, [parent[:7]], range(8), states)) == 0


def test_states_of_other_seeds_are_not_taken():
    states = StateCache(1 << 30)
    together(DDIM, SCHEDULES, range(8), states)
    first = states.trie.path(SCHEDULES[0])[0]
    assert states.get(SEED, range(8), first) is not None
    assert states.get(SEED + 1, range(8), first) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_states_hold_no_padding_and_no_foreign_layout(dtype, layout):
    """A network may answer in half precision and channels-last; its padding must not live on."""
    states, steps = StateCache(1 << 30), [(50, 1.0)]
    network = {1.0: lambda x, t: x.to(dtype).to(memory_format=layout)}
    list(sample(network, DDIM, [steps], range(3), states))
    state = states.get(SEED, range(3), states.trie.path(steps)[-1])
    assert state.output.dtype == torch.float32 and state.output.is_contiguous()
    assert torch.equal(state.output, state.x.to(dtype).float())
    assert state.output.untyped_storage().nbytes() == state.x.nbytes == 3 * 32 * 4


def test_a_state_above_the_limit_is_not_kept():
    states = StateCache(100)
    x = torch.zeros(4, 1, 2, 2)
    (prefix,) = states.trie.path([(90, 1.0)])
    states.put(0, range(4), prefix, State(x, x))
    assert states.get(0, range(4), prefix) is None
    assert (states.bytes, states.calls, states.hits) == (0, 1, 0)
