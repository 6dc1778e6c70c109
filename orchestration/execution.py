"""How the subnets of a supernet run: as functions of inputs, in a way, and how long that takes."""

import logging
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from models.supernet import predict as output_of
from orchestration.stopwatch import fastest_s
from orchestration.ways import Way

log = logging.getLogger(__name__)

NUM_CALLS = 4  # timed, of each way

_LAYOUTS = {"contiguous": "contiguous_format", "channels_last": "channels_last"}

Network = Callable[..., Tensor]


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


def seconds_of_ways(
    networks: Mapping[Way, Network], *inputs: Tensor, device: str = "cpu"
) -> dict[Way, float]:
    """Seconds of a call by each way; infinite where a compiled way cannot be had."""
    able: dict[Way, Network] = {}
    for way, network in networks.items():
        try:
            network(*inputs)
            able[way] = network
        except Exception as error:  # of many kinds, with the compiler's own behind them
            if not way.compiled:
                raise
            log.warning("not compiled: %s", error)
    calls = {way: partial(network, *inputs) for way, network in able.items()}
    seconds = fastest_s(calls, device=device, most=NUM_CALLS)
    return {way: seconds.get(way, math.inf) for way in networks}
