"""The device under us: which one it is, and what it can do."""

import platform
import sys
from pathlib import Path

import torch


def processor() -> str:
    """The name of the device that networks run on: a GPU's, else the processor's."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def has_bfloat16() -> bool:
    """Whether the device has units for bfloat16; elsewhere it is emulated, and slow."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def hardware() -> dict[str, str | bool]:
    """What the speed of networks depends on: the device, its units for bfloat16, torch."""
    return {
        "processor": processor(),
        "has_bfloat16": has_bfloat16(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }
