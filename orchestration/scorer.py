"""What one scoring actor does; an ordinary object, so that it runs in this process too.

A *source* turns schedules into features of their samples: `SupernetSource` by sampling, the stub
in closed form. `Scorer` cuts a batch's features into the blocks that error bars are made of, and
judges collected blocks. Nothing here knows how many actors there are.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.conditioning import Told
from models.frechet import Reference
from models.intervals import Replicates, jackknife
from models.moments import FeatureBlock, summarize
from models.population import StateCache, sample_population
from models.sampling import Sampler
from models.supernet import predict as output_of
from models.transfer import fetched
from orchestration.fidelity import Fidelity, fidelity
from orchestration.machine import hardware
from orchestration.step_times import StepTimes, step_times
from orchestration.stopwatch import seconds_of, started
from orchestration.ways import Way

log = logging.getLogger(__name__)

NUM_CALLS = 4  # timed, of each way

Step = tuple[int, float]
Steps = Sequence[Step]


class Source(Protocol):
    """What turns schedules into features."""

    def features(
        self, schedules: Sequence[Steps], seed: int, images: range
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (index of the schedule, float32 features (len(images), D)), in any order."""

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose prefixes later ones will share."""


@dataclass(frozen=True)
class Execution:
    """How subnets run; part of `plan.json`, so that every actor and resume does the same.

    Args:
        batch_size: rows of every network call.
        threads: of one actor.
        state_bytes: the most that an actor keeps of states shared with later candidates.
        ways: by width; the plainest way for a width that is not named.
        tf32: whether GPUs may round the factors of float32 products to TensorFloat-32.
    """

    batch_size: int
    threads: int
    state_bytes: int
    ways: Mapping[float, Way] = field(default_factory=dict)
    tf32: bool = False


class SupernetSource:
    """Features of images sampled by a supernet's subnets.

    Args:
        subnets: an ordinary network for each width, on the CPU.
        sampler: the moves.
        extractor: images (n, C, H, W) in [-1, 1] -> features (n, D); None to only sample.
        image_shape: (C, H, W); of a window (1, K, L).
        execution: how to run.
        device: to run on.
        conditioning: what conditional subnets are told.
    """

    def __init__(
        self,
        subnets: Mapping[float, nn.Module],
        sampler: Sampler,
        extractor: nn.Module | None,
        image_shape: tuple[int, int, int],
        execution: Execution,
        device: str = "cpu",
        conditioning: Told | None = None,
    ) -> None:
        self.subnets = subnets
        self.networks = {
            width: as_function(subnet, execution.ways.get(width, Way()), device)
            for width, subnet in subnets.items()
        }
        self.sampler = sampler
        self.extractor = extractor.to(device) if extractor is not None else None
        self.image_shape = image_shape
        self.execution = execution
        self.device = device
        self.conditioning = conditioning
        self.states = StateCache(execution.state_bytes)

    @torch.inference_mode()
    def samples(
        self,
        schedules: Sequence[Steps],
        seed: int,
        images: range,
        batch_size: int,
        states: StateCache | None = None,
        conditioning: Told | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """Yields (index of the schedule, float32 images (len(images), C, H, W) in [-1, 1]).

        `conditioning` is what subnets are told in place of what they are told otherwise; each seed
        must go with one of them, for states are kept by seed.
        """
        yield from sample_population(
            self.networks,
            self.sampler,
            schedules,
            seed=seed,
            images=images,
            shape=self.image_shape,
            batch=batch_size,
            states=states,
            conditioning=self.conditioning if conditioning is None else conditioning,
            device=self.device,
        )

    @torch.inference_mode()
    def features(
        self, schedules: Sequence[Steps], seed: int, images: range
    ) -> Iterator[tuple[int, np.ndarray]]:
        """See `Source`."""
        batch_size = self.execution.batch_size
        found = (
            (index, self.extractor.features(x_0))
            for index, x_0 in self.samples(schedules, seed, images, batch_size, self.states)
        )
        for index, features in fetched(found):  # while a GPU goes on with the next schedules
            yield index, features.numpy()

    @torch.inference_mode()
    def measure(
        self, ways: Mapping[float, Sequence[Way]], batch_size: int
    ) -> dict[float, dict[Way, float]]:
        """See `Scorer`."""
        x = torch.zeros(batch_size, *self.image_shape, device=self.device)
        t = torch.zeros(len(x), dtype=torch.int64, device=self.device)
        told = self.conditioning
        inputs = (x, t) if told is None else (x, t, told.blank(batch_size, self.device))
        seconds: dict[float, dict[Way, float]] = {}
        for width, of_width in ways.items():
            networks = {w: as_function(self.subnets[width], w, self.device) for w in of_width}
            seconds[width] = _fastest_s(networks, *inputs, device=self.device)
        return {
            width: {way: 1000 * s / batch_size for way, s in of_width.items()}
            for width, of_width in seconds.items()
        }

    @torch.inference_mode()
    def step_times(self, ways: Mapping[float, Way], num_images: int) -> StepTimes:
        """See `Scorer`."""
        networks = {
            width: as_function(self.subnets[width], way, self.device)
            for width, way in ways.items()
        }
        return step_times(
            networks, self.sampler, num_images, self.image_shape, self.device, self.conditioning
        )

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Drops every state that is not on the way of one of these schedules."""
        self.states.retain(schedules)


class Scorer:
    """Scores batches and judges candidates.

    Args:
        source: of features.
        reference: statistics of the real data.
        block_size: images a block, the unit of the error bars.
        threads: of this process.
    """

    def __init__(
        self, source: Source, reference: Reference, block_size: int, threads: int = 1
    ) -> None:
        torch.set_num_threads(threads)
        self.source = source
        self.reference = reference
        self.block_size = block_size

    def score(
        self, schedules: Sequence[Steps], seed: int, images: range, whole: bool = False
    ) -> list[list[FeatureBlock]]:
        """The blocks of each schedule for one batch of images.

        Args:
            schedules: steps of each.
            seed: of the noise.
            images: their indices.
            whole: leave features as they are, though moments may be smaller.
        """
        blocks: list[list[FeatureBlock]] = [[] for _ in schedules]
        for index, features in self.source.features(schedules, seed, images):
            cuts = range(self.block_size, len(features), self.block_size)
            parts = np.split(features, cuts)
            blocks[index] = parts if whole else [summarize(part) for part in parts]
        return blocks

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose prefixes later ones will share."""
        self.source.keep(schedules)

    def judge(self, *batches: list[FeatureBlock]) -> Replicates:
        """Distance of one schedule, all and leave-one-out, from its blocks, batches in order."""
        return jackknife([block for batch in batches for block in batch], self.reference)

    def fidelity(self, real: np.ndarray, *batches: list[np.ndarray]) -> Fidelity:
        """KID, precision and recall of one schedule, from its whole blocks, batches in order."""
        return fidelity([block for batch in batches for block in batch], real)

    def sample(self, steps: Steps, seed: int, images: range) -> tuple[np.ndarray, float]:
        """Samples of one schedule, in one batch of their number, and the seconds they took.

        Returns:
            float32 images (len(images), C, H, W) in [-1, 1]; wall-clock seconds.
        """
        begun = started(self.source.device)
        ((_, x_0),) = self.source.samples([steps], seed, images, len(images))
        images_array = x_0.cpu().numpy()  # which waits for a GPU
        return images_array, time.perf_counter() - begun

    def measure(
        self, ways: Mapping[float, Sequence[Way]], batch_size: int
    ) -> dict[float, dict[Way, float]]:
        """Milliseconds an image of one call of `batch_size` rows, by width and way.

        The fastest of some calls, taken in turn: what else the machine does only adds to it.
        Infinite where a compiled way cannot be had, such as without a compiler.
        """
        return self.source.measure(ways, batch_size)

    def step_times(self, ways: Mapping[float, Way], num_images: int) -> StepTimes:
        """How long the parts of sampling `num_images` at once take, widths in these ways."""
        return self.source.step_times(ways, num_images)

    def hardware(self) -> dict[str, str | bool]:
        """The device that this scorer runs on."""
        return hardware(self.source.device)


def as_function(subnet: nn.Module, way: Way, device: str = "cpu") -> Callable[..., Tensor]:
    """(x, t) or (x, t, what it is told) -> the network's float32 output, run in a way.

    The subnet itself is left as it is.
    """
    layout, dtype = getattr(torch, _LAYOUTS[way.memory_format]), getattr(torch, way.dtype)
    # nn.Module's own: diffusers' warns of every change of precision
    network = nn.Module.to(deepcopy(subnet), device=device, dtype=dtype, memory_format=layout)
    network = network.eval().requires_grad_(False)
    if way.compiled:
        # Every width and batch size is a variant of the same code; beyond the limit, which is 8
        # by default, torch would go on without compiling, and so to other bits
        torch._dynamo.config.recompile_limit = 64
        network = torch.compile(network, dynamic=False)

    def predict(x: Tensor, t: Tensor, *told: Tensor) -> Tensor:
        x = x.to(dtype=dtype, memory_format=layout)
        told = tuple(each.to(dtype) if each.is_floating_point() else each for each in told)
        # t, which may lie between two timesteps, is embedded in its own precision
        return output_of(network, x, t, *told).to(torch.float32).contiguous()

    return predict


_LAYOUTS = {"contiguous": "contiguous_format", "channels_last": "channels_last"}

Network = Callable[..., Tensor]


def _fastest_s(
    networks: Mapping[Way, Network], *inputs: Tensor, device: str = "cpu"
) -> dict[Way, float]:
    """Seconds of a call by each way, after a first one that is not counted."""
    seconds: dict[Way, float] = {}
    for way, network in networks.items():
        try:
            network(*inputs)
            seconds[way] = math.inf
        except Exception as error:  # of many kinds, with the compiler's own behind them
            if not way.compiled:
                raise
            log.warning("not compiled: %s", error)
    able = list(seconds)
    for _ in range(NUM_CALLS):
        for way in able:
            taken = seconds_of(partial(_answered, networks[way], *inputs), device)
            seconds[way] = min(seconds[way], taken)
    return {way: seconds.get(way, math.inf) for way in networks}


def _answered(network: Network, *inputs: Tensor) -> None:
    network(*inputs).sum().item()  # an answer that is waited for, on any device
