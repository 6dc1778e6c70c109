"""The network that a configuration trains: its arguments, its precision, its averaged weights."""

from torch import nn

from models.ema import Ema
from models.supernet import Supernet
from orchestration.checkpoints import build_supernet
from orchestration.config import Config
from orchestration.errors import ConfigError
from orchestration.files import Json
from orchestration.formats import why_unlabelled
from orchestration.training_sections import Train
from orchestration.training_state import TrainingState, under


def network_arguments(
    config: Config, shape: tuple[int, int, int], num_classes: int | None = None
) -> dict[str, Json]:
    """The arguments of `models.networks.unet`, the width apart, for images of a shape (C, H, W).

    Of time series those of `models.imputer.imputer`, with their `kind`.

    Args:
        config: of the run.
        shape: of an image, or (1, K, L) of a window.
        num_classes: of the data; None where they have no labels.

    Raises:
        ConfigError: the images are not square, or a conditional network has no labels to learn.
    """
    channels, height, width = shape
    if config.data.is_windows:
        sizes = config.imputer.model_dump(mode="json")
        return {"kind": "imputer", "num_variables": height, "length": width, **sizes}
    if height != width:
        raise ConfigError(
            f"data.name: got images of {height}x{width} pixels, expected square ones"
        )
    sizes = config.network.model_dump(mode="json", exclude={"conditional"})
    arguments = {"image_size": height, "channels": channels, **sizes}
    if not config.network.conditional:
        return arguments
    if num_classes is None:
        raise ConfigError(
            f"network.conditional: got true, expected false: the data ({config.data.name}) have no"
            f" labels{why_unlabelled(config.data)}"
        )
    return {**arguments, "num_classes": num_classes}


def training_dtype(train: Train, has_bfloat16: bool) -> str:
    """The precision of the network's calls: the one asked for, or bfloat16 where there is any."""
    if train.dtype != "auto":
        return train.dtype
    return "bfloat16" if has_bfloat16 else "float32"


def averaged(
    config: Config,
    shape: tuple[int, int, int],
    state: TrainingState,
    num_classes: int | None = None,
) -> Supernet:
    """The supernet that a training gives: its averaged weights, on the CPU.

    Args:
        config: of the run.
        shape: of an image, (C, H, W).
        state: where the training stands.
        num_classes: of the data.
    """
    network = network_arguments(config, shape, num_classes)
    supernet = build_supernet(
        network, config.supernet.widths, private_norms=config.supernet.private_norms
    )
    load_averages(supernet, state)
    return supernet


def load_averages(network: nn.Module, state: TrainingState) -> None:
    """Gives a network the averaged weights of its training."""
    ema = Ema(network, 0.0)
    ema.load_state(dict(under("ema/", state.tensors)))
    ema.copy_to(network)
