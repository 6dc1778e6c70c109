"""Cost of one network call, counted without running it."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(
    network: nn.Module, shape: tuple[int, ...], told: Tensor | None = None
) -> int:
    """Multiply-accumulates of one call on one sample: convolutions, linear layers, attention.

    Elementwise work and normalisation are not counted, as is usual.

    Args:
        network: Built under `torch.device("meta")`, called as network(x_t, t). Elsewhere the
            counter takes attention for free.
        shape: Of one sample, (C, H, W) for images.
        told: What it is told beside x_t and t, for one sample or more: labels, which cost nothing
            to look up, or what is given of a window. None: nothing.

    Raises:
        ValueError: Where the network is not on the meta device.
    """
    if any(not tensor.is_meta for tensor in network.state_dict().values()):
        raise ValueError('count_macs needs a network built under torch.device("meta")')
    x_t = torch.empty(1, *shape, device="meta")
    t = torch.empty(1, dtype=torch.int64, device="meta")
    inputs = (x_t, t) if told is None else (x_t, t, told[:1].to("meta"))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() // 2


def macs_by_width(
    subnets: Mapping[float, nn.Module], shape: tuple[int, ...], told: Tensor | None = None
) -> dict[float, int]:
    """`count_macs` of each network, wherever it is; the networks are left as they are."""
    return {
        width: count_macs(deepcopy(network).to("meta"), shape, told)
        for width, network in subnets.items()
    }
