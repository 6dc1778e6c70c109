"""A network that is any function, and chains of moves with it."""

from dataclasses import replace
from itertools import pairwise

import torch

from models.diffusion import noise_levels
from models.noise import INIT, normal
from models.sampling import Sampler

T = 1000
DDIM = Sampler("ddim", noise_levels(T, "linear"))
DDPM = replace(DDIM, kind="ddpm")
DPM = replace(DDIM, kind="dpmsolver++2m")
RESCALED = replace(
    DDIM, alphas_cumprod=noise_levels(T, "linear", True), prediction="v_prediction"
)
SHAPE = (2, 3, 3)


def network(x, t):
    """Any function of x and t whose x_0 leaves [-1, 1] here and there."""
    return torch.tanh(1.3 * x + 0.1) - 0.2 * (t / T)


def sample(sampler, timesteps, denoiser, num_images=16, shape=SHAPE, seed=0):
    """A chain from unit noise, move by move: x_0."""
    return run(sampler, timesteps, denoiser, normal(seed, range(num_images), INIT, shape), seed)


def run(sampler, timesteps, denoiser, x, seed=0, end=True):
    """A chain from x, to the last of the timesteps or, past it, to the end."""
    previous = None
    for t, s in pairwise((*timesteps, None) if end else timesteps):
        noise = None
        if sampler.adds_noise:
            noise = normal(seed, range(len(x)), t + 1, tuple(x.shape[1:]))
        output = denoiser(x, t)
        moved = sampler.move(x, output, t, s, noise, previous)
        x, previous = moved, sampler.remember(x, output, t)
    return x
