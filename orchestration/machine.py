"""The device under us: which one it is, what it can do, and how it is told to give equal bits."""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from orchestration.errors import MachineError

Hardware = dict[str, str | bool]
"""What `hardware` says of a device."""

# Without a fixed workspace cuBLAS may add in another order the next time.
CUBLAS_WORKSPACE = ":4096:8"


def assigned_device() -> str:
    """The device that this process computes on: `cuda` where Ray has given it a GPU, else `cpu`.

    A process that Ray gave none leaves those of its machine alone: they are others'. Without Ray,
    `cpu`.
    """
    import ray  # heavy: not for what only asks for the machine

    if not ray.is_initialized():
        return "cpu"
    return "cuda" if ray.get_gpu_ids() else "cpu"


def local_device(asked: str) -> str:
    """The device of a command that runs without Ray, in this process.

    Args:
        asked: `auto`, `cpu` or `cuda`.

    Raises:
        MachineError: a GPU is asked for, and torch can't use any.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    check_usable(asked)
    return asked


def check_usable(device: str) -> None:
    """Raises MachineError where torch cannot compute on the device; a full GPU is let pass."""
    if device != "cuda":
        return
    reason = ""
    if torch.cuda.is_available():
        try:
            (torch.ones(1, device=device) + 1).item()  # torch may have no kernels for this GPU
            return
        except RuntimeError as error:
            if is_of_memory(error):  # to be told where more than this is asked of it
                return
            reason = f" ({first_line(error)})"
    raise MachineError(
        f"{platform.node()}: got a GPU that torch {torch.__version__} cannot use{reason}; expected"
        " torch for CUDA and this GPU, and a driver that fits it there, or score.device=cpu and"
        " train.device=cpu"
    )


def settle(device: str, tf32: bool = False, gradients: bool = False) -> None:
    """Has this process compute alike every time; on the CPU it does without being told.

    Args:
        device: `cpu` or `cuda`.
        tf32: whether float32 products may be rounded to TensorFloat-32, on GPUs that have it.
        gradients: whether it takes gradients too.
    """
    if device == "cpu":
        return
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    # To try algorithms is to choose by time, and so another one in the next process
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    if gradients:
        # Where torch only warns, the backward passes of the fused kernels of attention add up in
        # any order, of float32 (memory-efficient) and of bfloat16 (flash, cuDNN); plain products,
        # which are left, don't
        torch.backends.cuda.enable_mem_efficient_sdp(False)
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_cudnn_sdp(False)


def out_of_memory(error: RuntimeError, remedy: str) -> MachineError:
    """The error of a GPU that is too small, in a line: which one, how full, what to do."""
    return MachineError(f"{_memory()}: out of memory ({first_line(error)}); expected {remedy}")


def is_of_memory(error: RuntimeError) -> bool:
    """Whether memory is short: torch's allocator says so by its own error, CUDA by the other."""
    if isinstance(error, torch.AcceleratorError):
        return "out of memory" in first_line(error)
    return isinstance(error, torch.OutOfMemoryError)


def processor(device: str = "cpu") -> str:
    """The name of a device: the GPU's, or the processor's."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def has_bfloat16(device: str = "cpu") -> bool:
    """Whether the device has units for bfloat16; elsewhere it is emulated, and slow."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def hardware(device: str = "cpu") -> Hardware:
    """What the speed of networks depends on: the device, its units for bfloat16, torch.

    Raises:
        MachineError: torch cannot use it.
    """
    check_usable(device)
    found: Hardware = {
        "processor": processor(device),
        "has_bfloat16": has_bfloat16(device),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
    if device == "cuda":  # a record of the CPU stays what it was
        properties = torch.cuda.get_device_properties()
        found |= {
            "device": device,
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": str(properties.multi_processor_count),
        }
    return found


def gpu_kind(found: Mapping[str, str | bool]) -> str | None:
    """What the bits of a GPU depend on, of what `hardware` found; None for a CPU.

    With one version of its libraries that is the architecture and the number of multiprocessors:
    to those cuBLAS binds what it promises ("Results Reproducibility" of its manual), cuDNN to the
    former. A name says less and more: the A100s of 40 and of 80 GB differ in it alone, the H100s
    of several boards, which Ray names alike, in multiprocessors too.
    """
    if "device" not in found:
        return None
    return f"{found['multiprocessors']} multiprocessors of capability {found['capability']}"


def _memory() -> str:
    try:
        free, total = torch.cuda.mem_get_info()
    except (AssertionError, RuntimeError):  # no GPU, or one that answers no more
        return f"the GPU of {platform.node()}"
    name, gib = torch.cuda.get_device_name(), 2**30
    here = f"{free / gib:.1f} of {total / gib:.1f} GiB free"
    return f"{name} of {platform.node()}, {here}, processes that share it included"


def first_line(error: BaseException) -> str:
    """What torch says first of an error of a GPU; hints follow."""
    return str(error).partition("\n")[0].partition(". ")[0]
