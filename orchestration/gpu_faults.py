"""What becomes of the errors of a GPU in an actor: one that is full is told, one at fault is left.

After a fault (an illegal access, an uncorrectable ECC error, a kernel that was ended) every later
call of the process fails too, while the process itself lives on. Ray starts an actor again, and
repeats its work, only where its process ends; so it ends.
"""

import logging
import os
import platform
from collections.abc import Callable
from typing import TypeVar

import torch

from orchestration.machine import first_line, is_of_memory, out_of_memory

log = logging.getLogger(__name__)

T = TypeVar("T")


def guarded(remedy: str, function: Callable[..., T], *args: object) -> T:
    """What `function(*args)` returns; ends this process where the GPU answers no more.

    Args:
        remedy: what is expected of who reads that the GPU is too small.
        function: works on a GPU, or on the CPU, where nothing is caught.
        args: its arguments.

    Raises:
        MachineError: the GPU is too small.
    """
    try:
        return function(*args)
    except RuntimeError as error:
        if is_of_memory(error):
            # No traceback holds on to tensors
            raise out_of_memory(error, remedy) from None
        if is_fault(error):
            log.critical(
                "%s: a fault of the GPU (%s); this process ends, for Ray to start another",
                platform.node(), first_line(error),
            )  # fmt: skip
            os._exit(1)  # nothing is tidied up: that would call the GPU again
        raise


def is_fault(error: RuntimeError) -> bool:
    """Whether the GPU answers no more.

    cuBLAS and cuDNN tell of a fault that they were the first to meet by errors of their own, which
    may mean anything: then the GPU is asked.
    """
    if isinstance(error, torch.AcceleratorError):
        return True
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except torch.AcceleratorError:
        return True
    return False
