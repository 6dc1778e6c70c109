"""Networks as builders that take a width.

`unet` is diffusers' `UNet2DModel` with every channel count scaled by the width, whole norm groups
and whole attention heads (Yang et al., arXiv 2310.03337, slim every layer alike). The network of
any width is an ordinary diffusers model: `save_pretrained`, `from_pretrained` and every diffusers
pipeline know it.
"""

from collections.abc import Sequence

from diffusers import UNet2DModel

from models.supernet import norm_parameters

PRIVATE = ("time_embedding.linear_1.weight", "time_embedding.linear_1.bias")


def unet(
    *,
    image_size: int,
    channels: int,
    block_out_channels: Sequence[int],
    layers_per_block: int,
    attention: Sequence[bool],
    head_size: int,
    norm_group_size: int,
    num_classes: int | None = None,
    width: float = 1.0,
) -> UNet2DModel:
    """A U-Net of one width that predicts the noise, or the velocity, of a batch of images.

    Args:
        image_size: height and width in pixels, divisible by 2 to the number of levels less one.
        channels: of the images.
        block_out_channels: channels of each level at width 1, from the finest.
        layers_per_block: residual blocks a level on the way down; one more on the way up.
        attention: for each level whether it attends. The middle attends if any level does.
        head_size: channels an attention head, at every width.
        norm_group_size: channels a norm group on the finest level, at every width. All levels have
            the same number of groups, as diffusers wants it.
        num_classes: makes it conditional: `class_labels` of 0 .. num_classes - 1, and num_classes
            for none. The embedding is as large at every width, and nests whole.
        width: fraction of the channels.

    Raises:
        ValueError: sizes that do not give whole channels, norm groups, heads or pixels at this
            width.
    """
    _check_levels(image_size, block_out_channels, attention)
    slim = [_slim(count, width) for count in block_out_channels]
    num_groups = _whole(slim[0], norm_group_size, "norm_group_size", width)
    in_middle = any(attention)
    for count, attends in zip(slim, (*attention[:-1], in_middle), strict=True):
        _whole(count, num_groups, "number of norm groups", width)
        if attends:
            _whole(count, head_size, "head_size", width)
    return UNet2DModel(
        sample_size=image_size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(slim),
        layers_per_block=layers_per_block,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attention),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)),
        add_attention=in_middle,
        attention_head_dim=head_size,
        norm_num_groups=num_groups,
        time_embedding_dim=4 * block_out_channels[0],
        num_class_embeds=None if num_classes is None else num_classes + 1,
    )


def _check_levels(
    image_size: int, block_out_channels: Sequence[int], attention: Sequence[bool]
) -> None:
    if len(attention) != len(block_out_channels):
        raise ValueError(
            f"attention {tuple(attention)}: expected one value for each of"
            f" block_out_channels {tuple(block_out_channels)}"
        )
    shrink = 2 ** (len(attention) - 1)
    if image_size % shrink:
        raise ValueError(
            f"image_size {image_size}: expected a multiple of {shrink} for {len(attention)} levels"
        )


def concatenated_parts(
    network: UNet2DModel, private_norms: bool = False
) -> dict[str, tuple[int, ...]]:
    """How the parameters of a `unet` nest, for `Supernet`.

    On the way up the channels from below are concatenated with those of a skip connection. The
    first layer of the time embedding is private (no parts): the frequencies that it reads depend
    on how many there are.

    Args:
        network: of any width.
        private_norms: whether the norms' scale and shift are private too, as in slimmable networks
            (Yu et al., arXiv 1812.08928), where each width has other statistics.

    Returns:
        The sizes (from below, skip) by the names of the parameters that read both; () for private
        ones.
    """
    skips = _skip_channels(network)
    below = network.config["block_out_channels"][-1]
    parts: dict[str, tuple[int, ...]] = dict.fromkeys(PRIVATE, ())
    for i, block in enumerate(network.up_blocks):
        for j, resnet in enumerate(block.resnets):
            readers = ["norm1.weight", "norm1.bias", "conv1.weight"]
            if resnet.conv_shortcut is not None:
                readers.append("conv_shortcut.weight")
            sizes = (below, skips.pop())
            parts |= {f"up_blocks.{i}.resnets.{j}.{name}": sizes for name in readers}
            below = resnet.out_channels
    if private_norms:
        parts |= dict.fromkeys(norm_parameters(network), ())
    return parts


def _skip_channels(network: UNet2DModel) -> list[int]:
    """Channels of the skip connections in the order in which the way down leaves them."""
    counts = network.config["block_out_channels"]
    skips = [counts[0]]
    for level, count in enumerate(counts):
        downsampled = level < len(counts) - 1
        skips += [count] * (network.config["layers_per_block"] + downsampled)
    return skips


def _slim(count: int, width: float) -> int:
    slim = round(count * width)
    if slim < 1 or abs(slim - count * width) > 1e-6:
        raise ValueError(f"width {width}: {count} channels x {width} is not a whole number")
    return slim


def _whole(count: int, size: int, what: str, width: float) -> int:
    if size < 1 or count % size:
        raise ValueError(f"width {width}: {count} channels are not a multiple of {what} {size}")
    return count // size
