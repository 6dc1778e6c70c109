"""Tensors between host and GPU, without either waiting for the other.

A copy overlaps with computing only from and to page-locked ("pinned") memory. On the CPU nothing
is copied, and no bit is other than it would be without this file.
"""

from collections import deque
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def copied(x: Tensor, device: torch.device | str) -> Tensor:
    """`x` on a device; from the host to a GPU the copy is only queued, before what uses it.

    Torch keeps the pinned memory until the copy is done, though nobody holds it any more.
    """
    device = torch.device(device)
    if x.device.type == device.type == "cpu":
        return x
    if x.device.type == "cpu" and device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def fetched(tensors: Iterable[tuple[int, Tensor]], ahead: int = 2) -> Iterator[tuple[int, Tensor]]:
    """Pairs (index, tensor) with the tensors on the host, in the same order.

    From a GPU each copy is queued when its tensor comes, and waited for only when up to `ahead`
    others have been asked for after it, so that the GPU has always something to do.

    Args:
        tensors: computed as they are asked for.
        ahead: pairs that may be under way.
    """
    under_way: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()
    for index, x in tensors:
        if x.device.type != "cuda":
            yield index, x.cpu()
            continue
        host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        host.copy_(x, non_blocking=True)
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(x.device))
        under_way.append((index, host, done))
        if len(under_way) > ahead:
            yield _waited_for(*under_way.popleft())
    while under_way:
        yield _waited_for(*under_way.popleft())


def _waited_for(index: int, host: Tensor, done: torch.cuda.Event) -> tuple[int, Tensor]:
    done.synchronize()
    return index, host.clone()  # pinned memory is scarce: it goes back at once
