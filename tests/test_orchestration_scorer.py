import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from models.diffusion import alphas_cumprod, linear_betas
from models.frechet import Reference, distance
from models.intervals import jackknife
from models.moments import moments, summarize
from models.population import sample_population
from models.sampling import Sampler
from orchestration.execution import Execution, as_function
from orchestration.scorer import Scorer
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way

D = 4
SHAPE = (1, 4, 4)
SCHEDULES = [
    ((900, 0.5), (500, 1.0), (100, 1.0)),
    ((900, 0.5), (500, 1.0), (300, 0.5)),
    ((700, 1.0),),
]


class CountingSource:
    """Features (image, schedule, 0, ...): they tell where they come from. Last schedule first."""

    def __init__(self, size=D):
        self.size = size
        self.kept = []

    def features(self, schedules, seed, images):
        for index in reversed(range(len(schedules))):
            features = np.zeros((len(images), self.size), "f4")
            features[:, 0], features[:, 1], features[:, 2] = list(images), index, seed
            yield index, features

    def keep(self, schedules):
        self.kept.append(schedules)


class Seen(list):
    """What copies of a network see, all in one list."""

    def __deepcopy__(self, memo):
        return self


class Subnet(nn.Module):
    """Stands for a diffusers network."""

    def __init__(self, width):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(int(100 * width))
            self.convolution = nn.Conv2d(1, 1, 3, padding=1)
        self.layouts = Seen()

    def forward(self, x, t):
        self.layouts.append((len(x), x.is_contiguous(memory_format=torch.channels_last)))
        return SimpleNamespace(sample=torch.tanh(self.convolution(x) + t[:, None, None, None]))


class Plain(Subnet):
    """Without a memory of its calls, which would not compile."""

    def forward(self, x, t):
        return SimpleNamespace(sample=torch.tanh(self.convolution(x) + t[:, None, None, None]))


class Extractor(nn.Module):
    """Some features that depend on all pixels."""

    def features(self, x):
        return torch.stack([x.sum((1, 2, 3)), x.std((1, 2, 3)), x[:, 0, 0, 0]], dim=1)


def source(memory_format="contiguous", batch_size=6, state_bytes=2**20):
    subnets = {width: Subnet(width) for width in (1.0, 0.5)}
    ways = dict.fromkeys(subnets, Way(memory_format=memory_format))
    execution = Execution(batch_size, threads=1, state_bytes=state_bytes, ways=ways)
    return SupernetSource(subnets, sampler(), Extractor(), SHAPE, execution), subnets


def sampler():
    return Sampler("ddim", alphas_cumprod(linear_betas(1000)), eta=1.0)


def unit_normal(size=D):
    return Reference(np.zeros(size), np.eye(size))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (range(10, 16), [[10, 11, 12], [13, 14, 15]]),
        (range(10, 20), [[10, 11, 12], [13, 14, 15], [16, 17, 18], [19]]),
        (range(5, 7), [[5, 6]]),
    ],
)
def test_blocks_are_consecutive_images_of_each_schedule(images, expected):
    blocks = Scorer(CountingSource(), unit_normal(), block_size=3).score(SCHEDULES, 7, images)
    assert len(blocks) == len(SCHEDULES)
    for index, of_one in enumerate(blocks):
        assert [block[:, 0].tolist() for block in of_one] == expected
        assert all((block[:, 1] == index).all() for block in of_one)
        assert all((block[:, 2] == 7).all() for block in of_one)


def test_blocks_of_more_images_than_features_travel_as_moments():
    scorer = Scorer(CountingSource(), unit_normal(), block_size=5)
    ((block, rest),) = scorer.score(SCHEDULES[:1], 0, range(8))
    assert block.count == 5 and block.mean.tolist() == [2, 0, 0, 0]
    assert rest[:, 0].tolist() == [5, 6, 7]


def test_a_judgement_is_the_distance_of_all_images_and_of_all_but_each_block():
    features = np.random.default_rng(0).normal(1, 2, (23, D)).astype("f4")
    blocks = [summarize(features[start : start + 5]) for start in range(0, 23, 5)]
    reference = unit_normal()
    scorer = Scorer(CountingSource(), reference, block_size=5)
    found = scorer.judge(blocks[:2], blocks[2:3], blocks[3:])
    whole = jackknife(blocks, reference)
    assert found.full == whole.full and found.without.tolist() == whole.without.tolist()
    assert found.counts.tolist() == [5, 5, 5, 5, 3]
    assert found.full == pytest.approx(distance(moments(features), reference), rel=1e-9)
    for b in range(5):
        others = np.delete(features, slice(5 * b, 5 * b + 5), axis=0)
        expected = distance(moments(others), reference)
        assert found.without[b] == pytest.approx(expected, rel=1e-9)


def test_what_is_kept_is_the_sources_business():
    kept = CountingSource()
    Scorer(kept, unit_normal(), block_size=3).keep(SCHEDULES)
    assert kept.kept == [SCHEDULES]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_scorer_settles_the_threads_of_its_process(threads):
    before = torch.get_num_threads()
    try:
        Scorer(CountingSource(), unit_normal(), block_size=3, threads=threads)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_samples_are_those_of_the_population():
    scoring, subnets = source()
    networks = {w: lambda x, t, net=net: net(x, t).sample for w, net in subnets.items()}
    found = dict(scoring.samples(SCHEDULES, 3, range(8, 13), 6))
    expected = dict(
        sample_population(
            networks, sampler(), SCHEDULES, seed=3, images=range(8, 13), shape=SHAPE, batch=6
        )
    )
    assert sorted(found) == [0, 1, 2]
    for index, x_0 in found.items():
        assert x_0.dtype == torch.float32 and torch.equal(x_0, expected[index])


def test_features_are_those_of_the_samples():
    scoring, _ = source()
    samples = dict(scoring.samples(SCHEDULES, 3, range(5), 6))
    for index, features in scoring.features(SCHEDULES, 3, range(5)):
        assert features.dtype == np.float32
        np.testing.assert_array_equal(features, Extractor().features(samples[index]).numpy())


def test_kept_states_save_calls_and_change_no_bit():
    scoring, subnets = source()
    first = dict(scoring.features(SCHEDULES[:1], 3, range(5)))
    assert sum(len(net.layouts) for net in subnets.values()) == 3
    with_states = dict(scoring.features(SCHEDULES[:2], 3, range(5)))
    assert sum(len(net.layouts) for net in subnets.values()) == 4  # the new last step alone
    fresh = dict(source()[0].features(SCHEDULES[:2], 3, range(5)))
    for index in (0, 1):
        np.testing.assert_array_equal(with_states[index], fresh[index])
    np.testing.assert_array_equal(first[0], fresh[0])


@pytest.mark.parametrize("room", [2**20, 0])
def test_calls_are_counted_as_they_are_made(room):
    made_by, _ = source(state_bytes=room)
    scorer = Scorer(made_by, unit_normal(3), 3)
    scorer.keep(SCHEDULES)
    assert scorer.calls() == (0, 0)
    scorer.score(SCHEDULES, 0, range(6))  # two of the seven calls are shared
    assert scorer.calls() == (5 * 6, 7 * 6)
    scorer.score(SCHEDULES[:1], 0, range(4, 6))  # another block: nothing is at hand
    scorer.score(SCHEDULES, 0, range(6))
    again = 0 if room else 5 * 6
    assert scorer.calls() == (5 * 6 + 3 * 2 + again, 7 * 6 + 3 * 2 + 7 * 6)


def test_states_of_other_schedules_are_dropped():
    scoring, _ = source()
    list(scoring.features(SCHEDULES, 3, range(5)))
    one = 2 * 5 * 16 * 4  # x and eps of 5 images of 16 pixels
    assert scoring.states.bytes == 5 * one
    scoring.keep(SCHEDULES[:1])
    assert scoring.states.bytes == 3 * one
    scoring.keep([])
    assert scoring.states.bytes == 0


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_networks_see_the_batch_shape_and_the_layout_that_is_asked_for(memory_format):
    # with two channels the layouts differ
    way = Way(memory_format=memory_format)
    execution = Execution(6, threads=1, state_bytes=0, ways={1.0: way})
    subnet = Subnet(1.0)
    subnet.convolution = nn.Conv2d(2, 2, 3, padding=1)
    scoring = SupernetSource({1.0: subnet}, sampler(), Extractor(), (2, 4, 4), execution)
    ((_, x_0),) = scoring.samples([[(900, 1.0), (300, 1.0)]], 0, range(4), 6)
    assert subnet.layouts == [(6, memory_format == "channels_last")] * 2
    assert x_0.is_contiguous()


def test_layouts_agree_to_rounding():
    one, other = (
        dict(source(name)[0].features(SCHEDULES, 3, range(5)))
        for name in ("contiguous", "channels_last")
    )
    for index in range(3):
        np.testing.assert_allclose(one[index], other[index], rtol=1e-4, atol=1e-4)


def test_a_measurement_is_milliseconds_of_one_image_for_each_width_and_way():
    scoring, subnets = source()
    asked = {1.0: [Way(), Way(memory_format="channels_last")], 0.5: [Way()]}
    found = Scorer(scoring, unit_normal(3), block_size=3).measure(asked, 5)
    assert {width: list(of_width) for width, of_width in found.items()} == asked
    assert all(0 < ms < 1000 for of_width in found.values() for ms in of_width.values())
    assert all(rows == 5 for net in subnets.values() for rows, _ in net.layouts)
    assert len(subnets[1.0].layouts) == 2 * len(subnets[0.5].layouts) > 4


def test_a_way_in_bfloat16_is_near_and_hands_on_float32():
    x, t = torch.randn(6, *SHAPE), torch.full((6,), 0.3)
    subnet = Subnet(1.0)
    exact, rough = (as_function(subnet, Way(dtype=d))(x, t) for d in ("float32", "bfloat16"))
    assert rough.dtype == torch.float32 and not torch.equal(rough, exact)
    torch.testing.assert_close(rough, exact, atol=0.02, rtol=0.02)
    assert subnet.convolution.weight.dtype == torch.float32  # the subnet is left as it was


def test_one_schedule_is_sampled_and_timed_in_one_batch():
    scoring, subnets = source()
    images, seconds = Scorer(scoring, unit_normal(3), block_size=3).sample(
        SCHEDULES[0], 3, range(9)
    )
    assert seconds > 0 and images.shape == (9, *SHAPE) and images.dtype == np.float32
    assert [rows for rows, _ in subnets[1.0].layouts] == [9, 9]
    ((_, expected),) = source()[0].samples([SCHEDULES[0]], 3, range(9), 9)
    np.testing.assert_array_equal(images, expected.numpy())
    assert scoring.states.bytes == 0  # what is timed starts from nothing, and leaves nothing


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_way_agrees_with_the_plain_one():
    x, t = torch.randn(6, *SHAPE), torch.full((6,), 0.3)
    subnet = Plain(1.0)
    plain, compiled = (as_function(subnet, Way(compiled=c))(x, t) for c in (False, True))
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)


def test_a_way_that_cannot_be_compiled_takes_forever(monkeypatch):
    def refuse(network, **options):
        def call(*arguments):
            raise RuntimeError("no compiler")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    asked = {1.0: [Way(), Way(compiled=True)]}
    found = Scorer(source()[0], unit_normal(3), block_size=3).measure(asked, 5)
    assert found[1.0][Way()] < found[1.0][Way(compiled=True)] == float("inf")
