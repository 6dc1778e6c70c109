import copy

import pytest
import torch
from diffusers import UNet2DModel

from models.networks import concatenated_parts, unet
from models.supernet import Supernet, predict

SIZES = dict(
    image_size=8,
    channels=2,
    block_out_channels=(16, 32),
    layers_per_block=2,
    attention=(False, True),
    head_size=8,
    norm_group_size=4,
)
WIDTHS = (1.0, 0.75, 0.5, 0.25)


def _build(width):
    return unet(**SIZES, width=width)


def _inputs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, 8, 8, generator=generator), torch.tensor([0, 420, 999])


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    net = Supernet(_build, WIDTHS, concatenated_parts)
    with torch.no_grad():  # norms start at 1 and 0, where a wrong slice would not show
        for name, parameter in net.full.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) / 4)
    return net


def test_width_1_equals_plain_diffusers():
    torch.manual_seed(0)
    ours = _build(1.0).eval()
    plain = UNet2DModel(
        sample_size=8,
        in_channels=2,
        out_channels=2,
        block_out_channels=(16, 32),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=8,
    ).eval()
    plain.load_state_dict(ours.state_dict())
    x_t, t = _inputs()
    assert torch.equal(predict(ours, x_t, t), plain(x_t, t).sample)


@pytest.mark.parametrize("width", WIDTHS)
def test_subnet_equals_the_forward_of_training(supernet, width):
    subnet = supernet.subnet(width)
    assert type(subnet) is UNet2DModel
    x_t, t = _inputs()
    torch.testing.assert_close(predict(subnet, x_t, t), supernet(x_t, t, width))


@pytest.mark.parametrize("width", (1.0, 0.5))
def test_plain_diffusers_loads_a_saved_subnet(supernet, width, tmp_path):
    subnet = supernet.subnet(width)
    subnet.save_pretrained(tmp_path)
    loaded = UNet2DModel.from_pretrained(tmp_path).eval()
    x_t, t = _inputs()
    assert torch.equal(loaded(x_t, t).sample, predict(subnet, x_t, t))


def test_parts_on_paper():
    """Channels (8, 16) leave the skips 8 | 8 8 8 | 16 16 on the way down; the last goes first."""
    network = _build(0.5)
    parts = concatenated_parts(network)
    expected = [[(16, 16), (16, 16), (16, 8)], [(16, 8), (8, 8), (8, 8)]]
    for i, block in enumerate(network.up_blocks):
        for j, resnet in enumerate(block.resnets):
            assert sum(expected[i][j]) == resnet.in_channels
            for name in ("norm1.weight", "norm1.bias", "conv1.weight", "conv_shortcut.weight"):
                assert parts.pop(f"up_blocks.{i}.resnets.{j}.{name}") == expected[i][j]
    first = "time_embedding.linear_1"
    assert parts == {f"{first}.weight": (), f"{first}.bias": ()}


def test_narrow_network_nests_in_the_full_one():
    """Fed by the narrow width's channels alone, the full layer after a concatenation agrees."""
    torch.manual_seed(0)
    net = Supernet(_build, WIDTHS, concatenated_parts)
    narrow = net.subnet(0.5).up_blocks[1].resnets[0].conv1
    full = net.full.up_blocks[1].resnets[0].conv1
    below, skip = torch.randn(1, 16, 4, 4), torch.randn(1, 8, 4, 4)  # of 32 and 16 channels
    padded = torch.cat([below, torch.zeros(1, 16, 4, 4), skip, torch.zeros(1, 8, 4, 4)], 1)
    narrow_out = narrow(torch.cat([below, skip], 1))
    torch.testing.assert_close(narrow_out, full(padded)[:, :8], rtol=1e-4, atol=1e-5)


def test_every_parameter_that_is_trained_matters(supernet):
    """Over all widths, no parameter of the supernet is without gradient."""
    net = copy.deepcopy(supernet)
    x_t, t = _inputs()
    torch.stack([net(x_t, t, width).square().mean() for width in WIDTHS]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(width=0.3), "16 channels x 0.3"),
        (dict(width=0.125), "norm_group_size 4"),
        (dict(head_size=32, width=0.5), "head_size 32"),
        (dict(block_out_channels=(16, 34)), "norm groups 4"),
        (dict(image_size=7), "multiple of 2"),
        (dict(attention=(True,)), "expected one value for each"),
    ],
)
def test_sizes_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        unet(**SIZES | change)


def test_no_attention_no_heads():
    network = unet(**SIZES | dict(attention=(False, False), head_size=3))
    assert not any("attention" in name or "to_q" in name for name, _ in network.named_parameters())


@pytest.fixture(scope="module")
def conditional():
    torch.manual_seed(0)
    return Supernet(lambda w: unet(**SIZES, num_classes=3, width=w), WIDTHS, concatenated_parts)


LABELS = torch.tensor([0, 2, 3])


def test_a_conditional_network_is_diffusers_with_a_class_more_for_none(conditional):
    plain = UNet2DModel.from_config({**conditional.full.config, "num_class_embeds": 4}).eval()
    plain.load_state_dict(conditional.full.state_dict())
    x_t, t = _inputs()
    expected = plain(x_t, t, class_labels=LABELS).sample
    assert torch.equal(conditional(x_t, t, 1.0, LABELS), expected)
    assert not torch.equal(conditional(x_t, t, 1.0, LABELS.flip(0)), expected)
    assert _build(1.0).class_embedding is None


@pytest.mark.parametrize("width", WIDTHS)
def test_every_width_shares_the_whole_class_embedding(conditional, width):
    x_t, t = _inputs()
    subnet = conditional.subnet(width)
    torch.testing.assert_close(
        subnet(x_t, t, LABELS).sample, conditional(x_t, t, width, LABELS), rtol=1e-5, atol=1e-5
    )
    shared = conditional.full.class_embedding.weight
    assert torch.equal(subnet.class_embedding.weight, shared)
    shared.grad = None
    conditional(x_t, t, width, LABELS).square().sum().backward()
    assert (shared.grad.abs().sum(1) > 0).tolist() == [True, False, True, True]
