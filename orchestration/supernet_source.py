"""Features of images that the subnets of a supernet sample: the source of a `Scorer`."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.conditioning import Told
from models.population import sample_population
from models.sampling import Sampler
from models.states import StateCache
from models.transfer import fetched
from orchestration.execution import Execution, as_function, seconds_of_ways
from orchestration.scorer import Steps
from orchestration.step_times import StepTimes, step_times
from orchestration.ways import Way


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
            seconds[width] = seconds_of_ways(networks, *inputs, device=self.device)
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

    def calls(self) -> tuple[int, int]:
        """See `Source`."""
        return self.states.made, self.states.alone

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Drops every state that is not on the way of one of these schedules."""
        self.states.retain(schedules)
