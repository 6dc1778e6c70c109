"""A trained supernet as a folder.

At full width it is what diffusers' `save_pretrained` writes (`config.json`,
`diffusion_pytorch_model.safetensors`), so that `UNet2DModel.from_pretrained` reads it without this
project. Beside them lie `private.safetensors`, the parameters that each narrower width has for
itself; `supernet.json`, how to build it and where it comes from; and `manifest.json`, the sha256
of all of these. Equal supernets give equal bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from diffusers import UNet2DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from torch import nn

from models.imputer import imputer, imputer_parts
from models.networks import concatenated_parts, unet
from models.supernet import Parts, Supernet
from orchestration.errors import DataError, MachineError
from orchestration.files import (
    Json,
    check_manifest,
    new_folder,
    write_bytes,
    write_json,
    write_manifest,
)
from orchestration.supernet_description import DESCRIPTION, FORMAT, read_description

PRIVATE = "private.safetensors"

BUILDERS = {"unet": (unet, concatenated_parts), "imputer": (imputer, imputer_parts)}
"""By `kind`, which a description of a U-Net leaves out."""


def build_supernet(
    network: Mapping[str, Json],
    widths: Sequence[float],
    seed: int = 0,
    private_norms: bool = False,
) -> Supernet:
    """A supernet with initial weights; torch's own generator is left as it was.

    Args:
        network: arguments of `models.networks.unet`, the width apart; or, under `kind` "imputer",
            of `models.imputer.imputer`; or, under "diffusers", the config of any `UNet2DModel`,
            which has one width.
        widths: the allowed widths, 1 among them.
        seed: of the initial weights.
        private_norms: whether each width has norms of its own.

    Raises:
        ValueError: sizes that don't fit together.
    """
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        build, parts = builder(network, private_norms)
        return Supernet(build, widths, parts)


def builder(
    network: Mapping[str, Json], private_norms: bool = False
) -> tuple[Callable[[float], nn.Module], Callable[[nn.Module], Parts]]:
    """What makes the network of a width, and tells how it nests.

    Args:
        network: as for `build_supernet`.
        private_norms: whether each width has norms of its own.
    """
    if "diffusers" in network:
        own = network["diffusers"]
        return lambda width: UNet2DModel.from_config(own), lambda full: {}
    sizes = {key: value for key, value in network.items() if key != "kind"}
    make, parts = BUILDERS[network.get("kind", "unet")]
    return lambda width: make(**sizes, width=width), partial(parts, private_norms=private_norms)


def save_supernet(
    folder: Path,
    supernet: Supernet,
    network: Mapping[str, Json],
    meta: Mapping[str, Json],
    private_norms: bool = False,
) -> None:
    """Writes a supernet: the folder is there complete, or stays as it was.

    Args:
        folder: may exist; it is replaced.
        supernet: a `build_supernet(network, ...)`.
        network: how it is built.
        meta: what else is to be known of it, under "meta" in `supernet.json`.
        private_norms: as it was built.

    Raises:
        MachineError: the disk is full or not writable.
    """
    with new_folder(folder) as unfinished:
        try:
            supernet.full.save_pretrained(unfinished)
        except safetensors.SafetensorError as error:  # which has no errno
            raise MachineError(
                f"cannot write {folder}: {error}; expected a writable place with free space"
            ) from error
        write_bytes(unfinished / PRIVATE, safetensors.torch.save(supernet.private_state()))
        description = {
            "format": FORMAT,
            "widths": list(supernet.widths),
            "network": dict(network),
            "meta": dict(meta),
        }
        if private_norms:  # there only where it is true, so that others keep their sha256
            description["private_norms"] = True
        write_json(unfinished / DESCRIPTION, description)
        names = sorted(path.name for path in unfinished.iterdir())
        write_manifest(unfinished, names, {"format": FORMAT})


def load_supernet(folder: Path) -> Supernet:
    """Reads what `save_supernet` wrote, in eval mode as diffusers' models are.

    Raises:
        DataError: it is missing, damaged or of another format.
    """
    check_manifest(folder)
    description = read_description(folder)
    supernet = build_supernet(
        description["network"],
        description["widths"],
        private_norms=description.get("private_norms", False),
    )
    full = safetensors.torch.load_file(folder / SAFETENSORS_WEIGHTS_NAME)
    private = safetensors.torch.load_file(folder / PRIVATE)
    try:
        supernet.full.load_state_dict(full)
        supernet.load_private_state(private)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{folder}: weights don't fit {DESCRIPTION}: {error}") from error
    return supernet.eval()


