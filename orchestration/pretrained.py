"""Networks of pretrained features, built from the packages that define them."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from models.pretrained import EfficientNetFeatures, InceptionFeatures
from orchestration.errors import DataError, MachineError

FeatureNetwork = EfficientNetFeatures | InceptionFeatures


def build(name: str, state: Mapping[str, Tensor]) -> FeatureNetwork:
    """The feature network in eval mode with the weights of its published file.

    Args:
        name: `features.name`, one of the pretrained.
        state: of the published network; what its classes are read from is not needed.

    Raises:
        MachineError: the package that defines it is not installed.
        DataError: the weights are another network's.
    """
    builders = {"efficientnet": _efficientnet, "inception": _inception}
    network = builders[name]()
    known = network.state_dict().keys()
    try:
        network.load_state_dict({key: value for key, value in state.items() if key in known})
    except RuntimeError as error:
        raise DataError(f"weights do not fit {name}: {error}") from error
    wrap = EfficientNetFeatures if name == "efficientnet" else InceptionFeatures
    return wrap(network).eval().requires_grad_(False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch file, without running code that a pickle may hold.

    Raises:
        DataError: it is no such file, or holds more than tensors.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: {reason}; expected tensors saved by torch") from error


def _efficientnet() -> nn.Module:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MachineError(
            "features.name 'efficientnet' needs `pip install efficientnet-lite-pytorch`"
        ) from error
    network = EfficientNet.from_name("efficientnet-lite0")
    network._fc = nn.Identity()
    return network


def _inception() -> nn.Module:
    """torchvision's Inception v3 with the blocks that pytorch-fid puts in its place.

    pytorch-fid's own constructor would download weights, and unpickle them.
    """
    from pytorch_fid import inception as fid
    from torchvision.models import inception_v3

    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    network.Mixed_5b = fid.FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = fid.FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = fid.FIDInceptionA(288, pool_features=64)
    network.Mixed_6b = fid.FIDInceptionC(768, channels_7x7=128)
    network.Mixed_6c = fid.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6d = fid.FIDInceptionC(768, channels_7x7=160)
    network.Mixed_6e = fid.FIDInceptionC(768, channels_7x7=192)
    network.Mixed_7b = fid.FIDInceptionE_1(1280)
    network.Mixed_7c = fid.FIDInceptionE_2(2048)
    network.fc = nn.Identity()
    return network
