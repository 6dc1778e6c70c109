"""The networks that benchmarks run, with initial weights: time does not depend on the weights."""

import torch

from models.supernet import Supernet
from orchestration.checkpoints import build_supernet

WIDTHS = (1.0, 0.75, 0.5, 0.25)

# Networks by the data set that they are made for.
NETWORKS = {
    "digits": {
        "image_size": 8, "channels": 1, "block_out_channels": (32, 32), "layers_per_block": 1,
        "attention": (False, False), "head_size": 8, "norm_group_size": 8,
    },
    "fashion-mnist": {
        "image_size": 28, "channels": 1, "block_out_channels": (32, 64, 64), "layers_per_block": 1,
        "attention": (False, False, True), "head_size": 8, "norm_group_size": 8,
    },
    # DDSM's for CIFAR-10 (Yang et al., arXiv 2310.03337): 6.2 GMACs at full width
    "cifar10": {
        "image_size": 32, "channels": 3, "block_out_channels": (128, 256, 256, 256),
        "layers_per_block": 2, "attention": (False, True, False, False), "head_size": 64,
        "norm_group_size": 4,
    },
}  # fmt: skip


def supernet(name: str) -> Supernet:
    """The supernet of a data set's network, with initial weights."""
    return build_supernet(NETWORKS[name], WIDTHS)


def shape(name: str) -> tuple[int, int, int]:
    """(C, H, W) of the images."""
    network = NETWORKS[name]
    return network["channels"], network["image_size"], network["image_size"]


def inputs(name: str, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit noise (batch_size, C, H, W), and a timestep for each."""
    x = torch.randn(batch_size, *shape(name), generator=torch.Generator().manual_seed(0))
    return x, torch.full((batch_size,), 500)
