"""Small networks, and schedules that share prefixes: sampled together and each alone."""

import random
from dataclasses import replace
from itertools import pairwise

import torch
from torch import nn

from models.chain_noise import ChainNoise
from models.diffusion import noise_levels
from models.population import sample_population
from models.sampling import Sampler

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
    moves = list(pairwise([None, *(t for t, _ in steps)]))
    noises = ChainNoise(sampler, SEED, images, SHAPE, "cpu", moves)
    with torch.no_grad():
        x, previous = noises.take(*moves[0]), None
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
            noise = None if s is None else noises.take(t, s)
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
