"""Networks that were trained elsewhere: any diffusers `UNet2DModel` as a supernet of one width."""

import textwrap
from pathlib import Path

from diffusers import UNet2DModel
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from torch import Tensor

from orchestration.checkpoints import build_supernet, save_supernet
from orchestration.config import Config
from orchestration.errors import DataError
from orchestration.files import MANIFEST, Json, read_json, sha256_of
from orchestration.supernet_description import read_description, trained_on

CONFIG = "config.json"
UNBUILT = (
    ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What diffusers and torch raise on values that mean nothing: they check few of them by name."""


def ensure_known(folder: Path, target: Path, config: Config) -> Path:
    """The folder of a supernet: `folder` itself, or `target`, where a foreign network is put.

    Args:
        folder: of a supernet, or what `UNet2DModel.save_pretrained` writes (safetensors).
        target: written where `folder` is no supernet of ours, unless it is there already.
        config: its `diffusion` is the chain that the network is taken to have been trained on.

    Raises:
        DataError: it is neither, or conditional, or damaged, or its weights are not those of its
            config.
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
    network = _description(folder)
    try:
        supernet = build_supernet(network, (1.0,))
    except UNBUILT as error:
        raise DataError(
            f"{folder / CONFIG}: {_line(error)}; expected what UNet2DModel can be built from"
        ) from error
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


def check_foreign(folder: Path) -> None:
    """Raises DataError where a foreign network's files say that `ensure_known` would refuse it."""
    _description(folder)
    weights = folder / SAFETENSORS_WEIGHTS_NAME
    if not weights.exists():
        raise DataError(f"no {weights}: expected the network's weights")


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


def _description(folder: Path) -> dict[str, Json]:
    content = read_json(folder / CONFIG)
    found = content.get("_class_name") if isinstance(content, dict) else None
    if found != UNet2DModel.__name__:
        raise DataError(f"{folder / CONFIG}: got _class_name {found!r}, expected 'UNet2DModel'")
    if content.get("class_embed_type") or content.get("num_class_embeds"):
        raise DataError(f"{folder / CONFIG}: expected a network that is told no labels")
    sizes = {"image_size": content.get("sample_size"), "channels": content.get("in_channels")}
    outwards = content.get("out_channels")
    if not isinstance(sizes["image_size"], int) or outwards != sizes["channels"]:
        raise DataError(
            f"{folder / CONFIG}: got sample_size {sizes['image_size']!r}, in_channels"
            f" {sizes['channels']} and out_channels {outwards}; expected a number, and as many"
            " channels out as in"
        )
    return {**sizes, "diffusers": {k: v for k, v in content.items() if not k.startswith("_")}}


def _line(error: Exception) -> str:
    """What it says, in one line: torch names every weight that is amiss."""
    return textwrap.shorten(str(error) or type(error).__name__, 300)
