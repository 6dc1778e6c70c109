"""MACs against counts by hand, and against shapes seen by hooks in a real U-Net."""

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from models.cost import count_macs, macs_by_width
from models.networks import unet


class Small(nn.Module):
    """A strided convolution, then attention over its pixels, then a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.linear = nn.Linear(8, 5)

    def forward(self, x, t):
        tokens = self.conv(x).flatten(2).mT
        return self.linear(nn.functional.scaled_dot_product_attention(tokens, tokens, tokens))


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


def test_counts_by_hand():
    conv = 8 * 3 * 9 * 16  # 4x4 pixels come out
    attention = 2 * 16 * 16 * 8  # queries with keys, weights with values
    linear = 16 * 8 * 5
    assert count_macs(on_meta(Small), (3, 8, 8)) == conv + attention + linear


def test_unet_is_the_sum_of_its_layers():
    """Hooks see every convolution, linear layer and attention: all that multiplies matrices."""
    config = dict(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=16,
    )
    macs = []

    def conv(module, inputs, output):
        macs.append(module.weight.numel() * output.shape[-2:].numel())

    def linear(module, inputs, output):
        macs.append(output.numel() * module.in_features)

    def attention(module, inputs, output):
        channels, pixels = output.shape[1], output.shape[2:].numel()
        macs.append(2 * pixels * pixels * channels)

    network = UNet2DModel(**config)
    for module in network.modules():
        kind = type(module).__name__
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(conv)
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
        elif kind == "Attention":
            module.register_forward_hook(attention)
    with torch.no_grad():
        network(torch.zeros(1, 1, 8, 8), torch.zeros(1, dtype=torch.int64))

    assert count_macs(on_meta(UNet2DModel, **config), (1, 8, 8)) == sum(macs)


def test_a_network_in_memory_is_refused():
    with pytest.raises(ValueError, match="meta"):
        count_macs(Small(), (3, 8, 8))


def test_a_label_costs_nothing():
    sizes = dict(
        image_size=8,
        channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention=(False, True),
        head_size=4,
        norm_group_size=2,
    )
    plain = on_meta(unet, **sizes)
    conditional = on_meta(unet, **sizes, num_classes=10)
    found = macs_by_width({1.0: conditional}, (1, 8, 8), torch.zeros(4, dtype=torch.int64))
    assert found == {1.0: count_macs(plain, (1, 8, 8))}
