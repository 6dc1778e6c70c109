"""How long sampling takes, put together from how long its parts take.

    latency = sample + sum over steps of (call of the step's width + step)

The call is the network's (two, where a step is guided); a step takes some time beside it, for the
move, its noise, and to find out what comes next, and a sample some beside its steps, for the noise
that it starts from and to hand over the images. All of it in milliseconds an image, where
`num_images` are sampled at once. Where moves add noise, a step of a short schedule draws up
to 1.6 times as much of it (5 steps of 1,000, for 50); that is not told apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.conditioning import Told
from models.population import Network, sample_population
from models.sampling import Sampler
from orchestration.stopwatch import fastest_s

NUM_STEPS = 50  # of a schedule that is timed without a network


@dataclass(frozen=True)
class StepTimes:
    """What sampling an image takes, in milliseconds.

    Args:
        call_ms: what the network takes in a step, by width.
        step_ms: a step, beside the network.
        sample_ms: a sample, beside its steps.
    """

    call_ms: dict[float, float]
    step_ms: float
    sample_ms: float


def step_times(
    networks: Mapping[float, Network],
    sampler: Sampler,
    num_images: int,
    shape: tuple[int, int, int],
    device: str = "cpu",
    conditioning: Told | None = None,
) -> StepTimes:
    """Times the parts.

    Args:
        networks: by width, as they run.
        sampler: makes the moves.
        num_images: sampled at once, the rows of every call.
        shape: (C, H, W) of an image.
        device: to run on.
        conditioning: what conditional networks are told.
    """
    images = range(num_images)
    x = torch.zeros(num_images, *shape, device=device)
    t = torch.zeros(num_images, dtype=torch.int64, device=device)

    def call(network: Network) -> None:
        if conditioning is None:
            network(x, t)
        else:
            conditioning.predict(network, x, t, images)

    # Where nothing is left of x_0, which a chain of zero terminal SNR ends with, there is no move
    usable = [i for i, a in enumerate(sampler.alphas_cumprod) if a > 0]

    def sample(num_steps: int) -> None:
        chosen = (i * len(usable) // num_steps for i in reversed(range(num_steps)))
        steps = [(usable[i], 1.0) for i in chosen]
        sampled = sample_population(
            {1.0: _no_network}, sampler, [steps], seed=0, images=images, shape=shape,
            batch=num_images, conditioning=conditioning, device=device,
        )  # fmt: skip
        for _, x_0 in sampled:
            x_0.cpu()

    many = min(NUM_STEPS, len(usable))
    calls = fastest_s({w: lambda n=net: call(n) for w, net in networks.items()}, device=device)
    beside = fastest_s({n: lambda n=n: sample(n) for n in {1, many}}, device=device)
    step_s = max(0.0, beside[many] - beside[1]) / max(1, many - 1)
    per_image = 1000 / num_images
    return StepTimes(
        {width: seconds * per_image for width, seconds in calls.items()},
        step_s * per_image,
        max(0.0, beside[1] - step_s) * per_image,
    )


def _no_network(x: Tensor, *others: Tensor) -> Tensor:
    return x
