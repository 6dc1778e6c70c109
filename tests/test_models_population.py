"""A population through shared prefixes against every schedule sampled alone, to the bit."""

import random
import weakref
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from models import chain_noise
from models.chain_noise import ChainNoise
from models.conditioning import Conditioning
from models.diffusion import noise_levels
from models.noise import INIT
from models.population import sample_population
from models.sampling import Sampler
from models.states import State, StateCache

DDIM = Sampler("ddim", noise_levels(100, "linear"))
DPM = replace(DDIM, kind="dpmsolver++2m")
SAMPLERS = [
    DDIM,
    replace(DDIM, eta=0.7),
    replace(DDIM, kind="ddpm", prediction="v_prediction"),
    replace(DPM, alphas_cumprod=noise_levels(100, "squaredcos_cap_v2")),
]
SHAPE, BATCH, SEED = (2, 4, 4), 8, 11


class Network(nn.Module):
    """A network with convolutions, a matrix product and the time in it, which notes its calls."""

    def __init__(self, width):
        super().__init__()
        torch.manual_seed(round(1000 * width))
        self.inside, self.outside = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1)
        self.time = nn.Linear(4, 8)
        self.labels = nn.Embedding(4, 8)
        self.times = []

    def forward(self, x, t, labels=None):
        assert x.shape == (BATCH, *SHAPE)
        assert t.dtype == torch.int64 and t.shape == (BATCH,) and t.unique().numel() == 1
        self.times.append(t[0].item())
        embedding = self.time((t[:, None] / 100 * torch.arange(1.0, 5.0)).sin())
        if labels is not None:
            embedding = embedding + self.labels(labels)
        return self.outside(torch.tanh(self.inside(x) + embedding[:, :, None, None]))


NETWORKS = {width: Network(width) for width in (1.0, 0.5, 0.25)}


def random_schedules(num, seed=0, grid=range(95, -1, -16)):
    """Schedules with long common prefixes, doubles, and some that are the prefix of others."""
    rng = random.Random(seed)
    schedules = []
    for _ in range(num):
        head = list(rng.choice(schedules)[: rng.randint(0, 6)]) if schedules else []
        rest = [t for t in grid if not head or t < head[-1][0]]
        tail = [(t, rng.choice((1.0, 0.5, 0.25))) for t in rest if rng.random() < 0.8]
        schedules.append((head + tail) or [(rng.choice(grid), 1.0)])
    return [*schedules, schedules[3], schedules[0][:2], schedules[1][:-1] or schedules[1]]


SCHEDULES = random_schedules(20)


def alone(sampler, steps, images, guidance=None):
    """x_0 of one schedule, step by step, as the definition has it."""
    noise_of = ChainNoise(sampler, SEED, images, SHAPE, "cpu").of
    with torch.no_grad():
        x, previous = noise_of(None, steps[0][0]), None
        for (t, width), (s, _) in pairwise([*steps, (None, None)]):
            padded = torch.cat([x, torch.ones(BATCH - len(images), *SHAPE)])
            times = torch.full((BATCH,), t)
            if guidance is None:
                eps = NETWORKS[width](padded, times)
            else:
                labels = torch.tensor([k % 3 for k in images] + [0] * (BATCH - len(images)))
                eps = NETWORKS[width](padded, times, labels)
                if guidance != 1:
                    none = NETWORKS[width](padded, times, torch.full((BATCH,), 3))
                    eps = none + guidance * (eps - none)
            eps = eps[: len(images)]
            noise = None if s is None else noise_of(t, s)
            moved = sampler.move(x, eps, t, s, noise, previous)
            x, previous = moved, sampler.remember(x, eps, t)
    return x


def sample(networks, sampler, schedules, images, states=None, conditioning=None):
    return sample_population(
        networks,
        sampler,
        schedules,
        seed=SEED,
        images=images,
        shape=SHAPE,
        batch=BATCH,
        states=states,
        conditioning=conditioning,
    )


def together(sampler, schedules, images, states=None, conditioning=None):
    """x_0 of every schedule, in the order of `schedules`."""
    pairs = list(sample(NETWORKS, sampler, schedules, images, states, conditioning))
    samples = dict(pairs)
    assert len(pairs) == len(samples) == len(schedules)
    assert not any(x_0.requires_grad for x_0 in samples.values())
    return torch.stack([samples[index] for index in range(len(schedules))])


def count_calls(run):
    """Network calls made while `run` runs."""
    for network in NETWORKS.values():
        network.times.clear()
    run()
    return sum(len(network.times) for network in NETWORKS.values())


def prefixes(schedules):
    return {tuple(steps[:n]) for steps in schedules for n in range(1, len(steps) + 1)}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("images", [range(8), range(3, 8)])
def test_together_is_one_by_one(sampler, images):
    expected = torch.stack([alone(sampler, steps, images) for steps in SCHEDULES])
    assert torch.equal(together(sampler, SCHEDULES, images), expected)
    assert len(expected.flatten(1).unique(dim=0)) > len(SCHEDULES) // 2


@pytest.mark.parametrize("sampler", [DDIM, DPM])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_together_is_one_by_one_where_images_have_labels(sampler, guidance):
    told, states = Conditioning(3, guidance), StateCache(1 << 20)
    for images in (range(8), range(3, 8), range(10, 14)):
        expected = torch.stack([alone(sampler, s, images, guidance) for s in SCHEDULES])
        assert torch.equal(together(sampler, SCHEDULES, images, states, told), expected)
    calls = count_calls(lambda: together(sampler, SCHEDULES, images, None, told))
    assert calls == len(prefixes(SCHEDULES)) * (1 if guidance == 1 else 2)
    assert states.calls == 3 * len(prefixes(SCHEDULES))  # each kept, none found again


def test_samples_differ_by_label_and_by_guidance():
    def labelled(*arguments):
        return together(DDIM, SCHEDULES[:1], range(8), None, Conditioning(3, *arguments))[0]

    in_turn, zeros, ones = labelled(), labelled(1.0, 0), labelled(1.0, 1)
    is_zero = torch.tensor([k % 3 == 0 for k in range(8)])
    assert torch.equal(in_turn[is_zero], zeros[is_zero])
    assert ((zeros - ones).abs().flatten(1).amax(1) > 1e-3).all()
    assert ((zeros - labelled(2.0, 0)).abs().flatten(1).amax(1) > 1e-4).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_order_of_schedules_changes_no_bit(sampler):
    order = torch.randperm(len(SCHEDULES), generator=torch.Generator().manual_seed(0))
    shuffled = [SCHEDULES[index] for index in order]
    expected = together(sampler, SCHEDULES, range(8))[order]
    assert torch.equal(together(sampler, shuffled, range(8)), expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_division_into_blocks_changes_no_bit(sampler):
    def in_blocks(bounds):
        blocks = [together(sampler, SCHEDULES[:6], range(a, b)) for a, b in pairwise(bounds)]
        return torch.cat(blocks, dim=1)

    assert torch.equal(in_blocks((0, 8, 16, 19)), in_blocks((0, 5, 12, 13, 19)))


def test_every_prefix_is_one_call():
    calls = count_calls(lambda: together(DDIM, SCHEDULES, range(8)))
    assert calls == len(prefixes(SCHEDULES)) < sum(map(len, SCHEDULES))


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


@pytest.mark.parametrize(
    "tail", [((50, 1.0), (10, 1.0)), ((20, 0.5), (10, 1.0)), ((3, 1.0),)]
)
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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_noise_is_made_once_a_timestep_and_only_where_it_is_added(sampler, monkeypatch):
    drawn, made = [], []
    drawing, leading = chain_noise.normal, chain_noise.Path.at

    def noting_streams(seed, images, stream, shape):
        drawn.append(stream)
        return drawing(seed, images, stream, shape)

    def noting_timesteps(path, t):
        made.append(t)
        return leading(path, t)

    monkeypatch.setattr(chain_noise, "normal", noting_streams)
    monkeypatch.setattr(chain_noise.Path, "at", noting_timesteps)
    together(sampler, SCHEDULES, range(8))
    met = {t for steps in SCHEDULES for t, _ in steps if sampler.is_ancestral or len(steps) > 1}
    if not sampler.adds_noise:
        assert (drawn, made) == ([INIT], [99])
    else:
        assert sorted(made) == sorted(met | {99} if not sampler.is_ancestral else met)
        assert len(drawn) <= 6 * len(made)


@pytest.mark.parametrize("sampler", [DDIM, replace(DDIM, kind="ddpm"), DPM])
def test_memory_is_bounded_by_the_open_branches(sampler, monkeypatch):
    """Where the chain of one schedule has no branches ahead, nothing of its past is kept."""
    made, most = weakref.WeakSet(), 0

    class Noting(Sampler):
        def move(self, *arguments):
            x = super().move(*arguments)
            made.add(x)
            return x

        def remember(self, *arguments):
            history = super().remember(*arguments)
            if history is not None:
                made.add(history.x_0)
            return history

    def noting(*arguments):
        noise = drawing(*arguments)
        made.add(noise)
        return noise

    def network(x, t):
        nonlocal most
        most = max(most, len(made))
        return 0.5 * x

    drawing = chain_noise.copied
    monkeypatch.setattr(chain_noise, "copied", noting)
    noting_sampler = Noting(sampler.kind, sampler.alphas_cumprod)
    trunk = [(t, 1.0) for t in range(99, 0, -1)]

    def most_alive(schedules):
        nonlocal most
        most = 0
        for _ in sample({1.0: network}, noting_sampler, schedules, range(8)):
            pass
        return most

    past = sampler.kind == "dpmsolver++2m"  # remembered beside a state
    led = 8 if sampler.adds_noise else 0
    assert most_alive([trunk]) <= 2 + past + led
    ends = [[*trunk[:2], (t, 1.0)] for t in range(50)]
    # Two states, the noise between them, an x_0 that was handed out; and what leads to that noise
    assert most_alive(ends) <= 4 + past + led
    branches = [trunk[:at] + trunk[at + 1 :] for at in range(10, 90, 5)]
    # Where noise is added, also one for each timestep that is still to come
    assert most_alive([trunk, *branches]) <= 4 + 2 * past + led + (
        len(trunk) if sampler.adds_noise else 0
    )
    assert not made


def test_schedules_of_a_thousand_steps():
    schedules = [[(t, 1.0) for t in range(999, -1, -1)], [(t, 0.5) for t in range(999, -1, -1)]]
    sampler = Sampler("ddim", noise_levels(1000, "linear"))
    networks = {1.0: lambda x, t: x, 0.5: lambda x, t: x}
    samples = dict(sample(networks, sampler, schedules, range(2)))
    assert torch.equal(samples[0], samples[1]) and samples[0].isfinite().all()


def test_bad_populations_are_refused():
    with pytest.raises(ValueError, match="block of 9 images; expected at most the batch, 8"):
        together(DDIM, SCHEDULES, range(9))
    with pytest.raises(ValueError, match="a schedule without steps"):
        together(DDIM, [SCHEDULES[0], []], range(8))


def test_a_state_above_the_limit_is_not_kept():
    states = StateCache(100)
    x = torch.zeros(4, 1, 2, 2)
    (prefix,) = states.trie.path([(90, 1.0)])
    states.put(0, range(4), prefix, State(x, x))
    assert states.get(0, range(4), prefix) is None
    assert (states.bytes, states.calls, states.hits) == (0, 1, 0)


@pytest.mark.parametrize("sampler", [DDIM, DPM], ids=["ddim", "dpm"])
def test_a_step_with_the_level_of_another_timestep_is_that_timestep(sampler):
    def network(x, t):
        return torch.tanh(x + t[:, None, None, None] / 100)

    levels = sampler.alphas_cumprod
    plain = [(90, 1.0), (50, 1.0), (7, 1.0)]
    moved = [(95, 1.0, levels[90].item()), (60, 1.0, levels[50].item()), (7, 1.0)]
    found = dict(
        sample_population(
            {1.0: network}, sampler, [plain, moved, plain[1:]],
            seed=SEED, images=range(5), shape=SHAPE, batch=BATCH,
        )
    )  # fmt: skip
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    with pytest.raises(ValueError, match="expected rising levels"):
        list(
            sample_population(
                {1.0: network}, sampler, [[(90, 1.0, 0.99), (50, 1.0)]],
                seed=SEED, images=range(5), shape=SHAPE, batch=BATCH,
            )
        )  # fmt: skip
