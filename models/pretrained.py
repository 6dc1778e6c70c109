"""Features of networks that were trained on ImageNet: images as such a network expects them.

Each wraps a network that is given: its weights, and where they come from, are the caller's
business. Images are first rounded to 8 bits, as if they had been saved and read again: real images
are of 8 bits, a sampler's are not, and FID as pytorch-fid takes it is of files. Grey images become
colour by repeating their channel. A feature vector is a function of its image alone.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.images import as_saved

CHUNK = 25
"""Images that go through a network at once: at 299 x 299 pixels each takes 15 MB on the way."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EfficientNetFeatures(nn.Module):
    """The 1,280 pooled features of EfficientNet-Lite0 (Tan and Le, arXiv 1905.11946), at 64 px.

    The network was trained at 224 pixels; at 64, to which images are brought (bilinear, with
    antialiasing where they are larger), it takes a fraction of the time.

    Args:
        network: its `extract_features` maps (n, 3, 64, 64), normalised as ImageNet's images are,
            to (n, 1280, h, w).
    """

    SIZE = 64

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # less than half the time
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def features(self, x: Tensor) -> Tensor:
        """Images (n, 1 or 3, H, W) in [-1, 1] -> features (n, 1280) float32."""
        return torch.cat([self._features(part) for part in x.split(CHUNK)])

    def _features(self, x: Tensor) -> Tensor:
        x = F.interpolate(_in_colour(x), (self.SIZE, self.SIZE), mode="bilinear", antialias=True)
        x = ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        return self.network.extract_features(x).mean((2, 3))


class InceptionFeatures(nn.Module):
    """The 2,048 features that FID is defined on (Heusel et al., arXiv 1706.08500).

    As pytorch-fid takes them: brought to 299 x 299 pixels (bilinear, corners not aligned, without
    antialiasing), in [-1, 1].

    Args:
        network: maps (n, 3, 299, 299) in [-1, 1] to (n, 2048).
    """

    SIZE = 299

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def features(self, x: Tensor) -> Tensor:
        """Images (n, 1 or 3, H, W) in [-1, 1] -> features (n, 2048) float32."""
        return torch.cat([self._features(part) for part in x.split(CHUNK)])

    def _features(self, x: Tensor) -> Tensor:
        size = (self.SIZE, self.SIZE)
        x = F.interpolate(_in_colour(x), size, mode="bilinear", align_corners=False)
        return self.network(2 * x - 1)


def _in_colour(x: Tensor) -> Tensor:
    return as_saved(x).expand(-1, 3, -1, -1)
