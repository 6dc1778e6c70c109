"""Networks that were trained elsewhere: any diffusers `UNet2DModel` as a supernet of one width."""

import textwrap
from pathlib import Path

import torch
from diffusers import UNet2DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from torch import Tensor

from orchestration import chains
from orchestration.checkpoints import build_supernet, save_supernet
from orchestration.compatibility import check_network
from orchestration.config import Config
from orchestration.errors import ConfigError, DataError
from orchestration.files import MANIFEST, Json, read_json, sha256_of
from orchestration.foreign_chain import check_chain
from orchestration.formats import Header
from orchestration.supernet_description import read_description, trained_on
from orchestration.window_formats import WindowHeader

CONFIG = "config.json"
UNBUILT = (
    ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What diffusers and torch raise on values that mean nothing: they check few of them by name."""


def ensure_known(
    folder: Path, target: Path, config: Config, header: Header | WindowHeader
) -> Path:
    """The folder of a supernet: `folder` itself, or `target`, where a foreign network is put.

    Args:
        folder: of a supernet, or what `UNet2DModel.save_pretrained` writes (safetensors).
        target: written where `folder` is no supernet of ours, unless it is there already.
        config: its `diffusion` is the chain that the network is taken to have been trained on.
        header: of the data that it is to run on.

    Raises:
        ConfigError, DataError: as `check_foreign`; then nothing is written.
        DataError: it is damaged, or its weights are not those of its config.
    """
    if (folder / MANIFEST).exists():
        return folder
    weights = folder / SAFETENSORS_WEIGHTS_NAME
    origin = f"{sha256_of(weights)} {sha256_of(folder / CONFIG)}"
    if (target / MANIFEST).exists():
        if read_description(target)["meta"].get("origin") != origin:
            raise DataError(
                f"{target} was made of another network than {folder}: expected another --out"
            )
        return target
    network = check_foreign(folder, config, header)
    supernet = build_supernet(network, (1.0,))
    try:
        with safe_open(weights, framework="pt"):
            pass
    except SafetensorError as error:
        raise DataError(f"{weights} is damaged: {_line(error)}; expected safetensors") from error
    try:
        supernet.full.load_state_dict(_weights(folder))
    except UNBUILT as error:
        raise DataError(f"{weights} does not fit {CONFIG}: {_line(error)}") from error
    meta = {**trained_on(config, None), "origin": origin}
    save_supernet(target, supernet.eval(), network, meta)
    return target


def check_foreign(
    folder: Path, config: Config, header: Header | WindowHeader
) -> dict[str, Json]:
    """The description of a foreign network as a supernet, held against the data.

    Reads its config alone: no weight is loaded.

    Args:
        folder: of the network.
        config: of what is to run on it.
        header: of the data.

    Raises:
        ConfigError: it makes no images of the data's shape, cannot be guided, or was trained on
            another chain, as far as a scheduler's config beside it tells.
        DataError: it is no unconditional `UNet2DModel` of square images, or its weights are
            missing.
    """
    content = _content(folder)
    channels = content.get("in_channels", 3), content.get("out_channels", 3)  # as diffusers
    if type(channels[0]) is not int or channels[0] != channels[1]:
        raise DataError(
            f"{folder / CONFIG}: got in_channels {channels[0]!r} and out_channels {channels[1]!r},"
            " expected a number of channels, as many out as in"
        )
    size = _size(folder, content.get("sample_size"), header)
    own = {key: value for key, value in content.items() if not key.startswith("_")}
    network = {
        "image_size": size, "channels": channels[0], "diffusers": {**own, "sample_size": size}
    }  # fmt: skip
    check_network(folder, network, chains.baseline(config), header)
    check_chain(folder, content, config.diffusion)
    _check_runs(folder, network)
    weights = folder / SAFETENSORS_WEIGHTS_NAME
    if not weights.exists():
        raise DataError(f"no {weights}: expected the network's weights")
    return network


def _content(folder: Path) -> dict[str, Json]:
    """A config that is an unconditional `UNet2DModel`'s."""
    content = read_json(folder / CONFIG)
    found = content.get("_class_name") if isinstance(content, dict) else None
    if found != UNet2DModel.__name__:
        raise DataError(f"{folder / CONFIG}: got _class_name {found!r}, expected 'UNet2DModel'")
    if content.get("class_embed_type") or content.get("num_class_embeds"):
        raise DataError(f"{folder / CONFIG}: expected a network that is told no labels")
    return content


def _size(folder: Path, found: Json, header: Header | WindowHeader) -> int:
    """Pixels a side: a config's `sample_size`, n or [n, n], or the data's where it is null."""
    pair = [found, found] if isinstance(found, int) else found
    if pair is None:
        pair = list(header.shape[1:])
        if pair[0] != pair[1] and isinstance(header, Header):
            raise ConfigError(
                f"data.image_size: got null for images of {pair[1]}x{pair[0]} pixels, expected a"
                f" size: {folder} is to make squares"
            )
    known = isinstance(pair, list) and len(pair) == 2 and all(type(n) is int for n in pair)
    if not known or (found is not None and pair[0] != pair[1]):
        raise DataError(
            f"{folder / CONFIG}: got sample_size {found!r}, expected that of squares: a number n,"
            " [n, n], or null for the size of the data"
        )
    return pair[0]


def _check_runs(folder: Path, network: dict[str, Json]) -> None:
    """Builds the network without weights, and has it make an image that holds no values."""
    size = network["image_size"]
    try:
        with torch.device("meta"):
            built = UNet2DModel.from_config(network["diffusers"])
    except UNBUILT as error:
        raise DataError(
            f"{folder / CONFIG}: {_line(error)}; expected what UNet2DModel can be built from"
        ) from error
    shrink = 2 ** (len(built.down_blocks) - 1)
    if size % shrink:
        raise ConfigError(
            f"data: images of {size} x {size} pixels, expected a multiple of {shrink} for the"
            f" {len(built.down_blocks)} levels of {folder}: see data.image_size and data.fit"
        )
    x_t = torch.empty(1, network["channels"], size, size, device="meta")
    try:
        built(x_t, torch.zeros(1, dtype=torch.long, device="meta"))
    except UNBUILT as error:
        raise DataError(
            f"{folder / CONFIG}: {_line(error)}; expected a network that takes images of {size} x"
            f" {size} pixels"
        ) from error


def _weights(folder: Path) -> dict[str, Tensor]:
    """By the names that diffusers gives them today: it renames what older versions have saved.

    Raises:
        ValueError: weights are missing, or there are others.
    """
    network, about = UNet2DModel.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, local_files_only=True,
        low_cpu_mem_usage=False,  # for which diffusers would have `accelerate`
    )  # fmt: skip
    for kind in ("missing_keys", "unexpected_keys"):
        if about[kind]:
            raise ValueError(f"{kind.replace('_', ' ')} {', '.join(sorted(about[kind]))}")
    return network.state_dict()


def _line(error: Exception) -> str:
    """What it says, in one line: torch names every weight that is amiss."""
    return textwrap.shorten(str(error) or type(error).__name__, 300)
