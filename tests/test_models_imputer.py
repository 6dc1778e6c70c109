import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from models.cost import count_macs
from models.imputer import Imputer, TransformerLayer, imputer, imputer_parts, sines
from models.supernet import Supernet

SIZES = {"num_variables": 3, "length": 5, "channels": 8, "num_heads": 4, "feedforward": 8}


def small(width=1.0):
    return imputer(**SIZES, num_layers=2, width=width)


def trained(network):
    """With a last layer that is not 0, so that what comes before it shows."""
    nn.init.normal_(network.leave_2.weight)
    return network.eval()


def window(batch=2, seed=0):
    """x_t, t, condition; about half of the entries are given."""
    generator = torch.Generator().manual_seed(seed)
    x_t = torch.randn(batch, 1, 3, 5, generator=generator)
    given = (torch.rand(batch, 3, 5, generator=generator) < 0.5).float()
    values = torch.randn(batch, 3, 5, generator=generator) * given
    return x_t, torch.tensor([4, 30][:batch]), torch.stack([values, given], 1)


def supernet():
    torch.manual_seed(0)
    net = Supernet(small, (1.0, 0.75, 0.5, 0.25), imputer_parts)
    trained(net.full)
    return net


def test_at_the_papers_sizes_it_has_the_papers_parameters():
    """35 variables: by hand from the authors' code, layer by layer."""
    with torch.device("meta"):
        network = imputer(num_variables=35, length=48)
    step = 2 * (128 * 128 + 128)
    attention = 3 * (64 * 64 + 64) + (64 * 64 + 64)
    transformer = attention + 2 * (64 * 64 + 64) + 2 * (64 + 64)
    layer = (128 * 64 + 64) + (145 * 128 + 128) + 2 * (64 * 128 + 128) + 2 * transformer
    ends = (2 * 64 + 64) + (64 * 64 + 64) + (64 + 1)
    expected = step + 35 * 16 + 4 * layer + ends
    # each of the authors' two outputs of the side information has a bias that is ours of the time
    assert sum(p.numel() for p in network.parameters()) == expected == 414_065


def test_the_transformer_is_torchs():
    torch.manual_seed(1)
    ours = TransformerLayer(8, 2, 12)
    theirs = nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True)
    packed = [ours.query.weight, ours.key.weight, ours.value.weight]
    state = {
        "self_attn.in_proj_weight": torch.cat(packed),
        "self_attn.in_proj_bias": torch.randn(24),
        "self_attn.out_proj.weight": ours.out.weight,
        "self_attn.out_proj.bias": torch.randn(8),
    }
    for i in "12":
        for kind in ("linear", "norm"):
            part = getattr(ours, f"{kind}_{i}")
            state |= {f"{kind}{i}.{n}": p for n, p in part.named_parameters()}
    with torch.no_grad():
        biases = state["self_attn.in_proj_bias"].chunk(3)
        for part, bias in zip((ours.query, ours.key, ours.value), biases, strict=True):
            part.bias.copy_(bias)
        ours.out.bias.copy_(state["self_attn.out_proj.bias"])
    theirs.load_state_dict(state)
    y = torch.randn(3, 4, 6, 8)
    torch.testing.assert_close(ours(y), theirs(y.flatten(0, 1)).view_as(y))


def test_it_attends_along_time_and_along_variables():
    """What one entry is told reaches every other one, and no other window."""
    network = trained(small())
    x_t, t, condition = window()
    condition[0, :, 1, 2] = torch.tensor([0.5, 1.0])
    before = network(x_t, t, condition)
    condition[0, 0, 1, 2] += 1
    changed = network(x_t, t, condition) - before
    assert (changed[0].abs() > 1e-7).all() and torch.equal(changed[1], torch.zeros(1, 3, 5))


def test_given_entries_of_the_noisy_window_do_not_count():
    network = trained(small())
    x_t, t, condition = window()
    given = condition[:, 1:] > 0
    other = torch.where(given, torch.randn_like(x_t), x_t)
    assert torch.equal(network(other, t, condition), network(x_t, t, condition))
    assert not torch.equal(network(-x_t, t, condition), network(x_t, t, condition))


def test_it_knows_step_time_and_variable():
    network = trained(small())
    x_t, condition = torch.zeros(1, 1, 3, 5), torch.zeros(1, 2, 3, 5)
    at_4, at_30 = (network(x_t, torch.tensor([t]), condition) for t in (4, 30))
    assert not torch.allclose(at_4, at_30)
    assert len({round(value, 6) for value in at_4.flatten().tolist()}) == 15


def test_embeddings_are_the_authors():
    step, time = sines(torch.tensor([3]), 8, interleaved=False), sines(
        torch.tensor([3]), 8, interleaved=True
    )
    angles = [3 * 10 ** (4 * j / 3) for j in range(4)]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    assert step[0].tolist() == pytest.approx(expected, abs=1e-2)  # float32 of 30,000
    for j in range(4):
        angle = 3 / 10000 ** (2 * j / 8)
        assert time[0, 2 * j : 2 * j + 2].tolist() == pytest.approx(
            [math.sin(angle), math.cos(angle)], abs=1e-6
        )


@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 0.25])
def test_a_subnet_is_what_training_runs(width):
    net = supernet()
    subnet = net.subnet(width)
    inputs = window()
    trained_as = net(*inputs[:2], width, inputs[2])
    assert trained_as.shape == (2, 1, 3, 5)
    torch.testing.assert_close(subnet(*inputs), trained_as)  # attention has a way without graph
    assert (subnet.config["channels"], subnet.config["num_heads"]) == (8 * width, 4 * width)
    assert net.private_state() == {}  # all of it nests


def test_narrow_channels_meet_the_weights_that_they_meet_in_the_full_network():
    """The full network with all beyond the first half cut off, but for the norms, is the half.

    Norms average over channels, so they are taken over the half here.
    """
    net = supernet()
    half = net.subnet(0.5)
    wide = trained(small())
    wide.load_state_dict(net.full.state_dict())
    kept = dict(half.named_parameters())
    for name, weight in wide.named_parameters():
        cut = torch.zeros_like(weight)
        index = tuple(slice(0, n) for n in kept[name].shape)
        cut[index] = weight[index].detach()
        weight.data = cut
    for layer in wide.layers:
        for transformer in (layer.over_time, layer.over_variables):
            for norm in (transformer.norm_1, transformer.norm_2):
                norm.forward = lambda y, n=norm: nn.functional.pad(
                    nn.functional.layer_norm(y[..., :4], (4,), n.weight[:4], n.bias[:4]), (0, 4)
                )
    inputs = window()
    torch.testing.assert_close(wide(*inputs), half(*inputs))


def test_unused_weights_get_no_gradient():
    net = supernet()
    x_t, t, condition = window()
    net(x_t, t, 0.5, condition).square().sum().backward()
    shapes = {n: p.shape for n, p in net.subnet(0.5).named_parameters()}
    unused = {"layers.1.residual.weight", "layers.1.residual.bias"}  # nothing comes after it
    assert {n for n, w in net.full.named_parameters() if w.grad is None} == unused
    for name, weight in net.full.named_parameters():
        if name in unused:
            continue
        used = tuple(slice(0, n) for n in shapes[name])
        outside = weight.grad.clone()
        outside[used] = 0
        assert not outside.any(), name
        # A constant added to all keys changes no attention
        assert weight.grad[used].any() or name.endswith("key.bias"), name


def test_it_is_saved_and_read_as_diffusers_models_are(tmp_path):
    network = trained(small(0.5))
    network.save_pretrained(tmp_path)
    inputs = window()
    again = Imputer.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again(*inputs), network(*inputs))


def test_functional_call_of_a_shell():
    """As the supernet calls narrower widths: built without memory."""
    network = trained(small())
    shell = small().to("meta")
    inputs = window()
    found = functional_call(shell, dict(network.named_parameters()), inputs)
    torch.testing.assert_close(found, network(*inputs))


def test_sizes_that_are_not_whole():
    with pytest.raises(ValueError, match="num_heads 4 x 0.3 is not a whole|channels 8 x 0.3"):
        small(0.3)
    with pytest.raises(ValueError, match="8 channels are not a multiple of num_heads 3"):
        imputer(**{**SIZES, "num_heads": 3})


def test_macs_count_attention_and_every_projection():
    with torch.device("meta"):
        network = imputer(num_variables=24, length=48, channels=32, num_heads=4, num_layers=1)
    told = torch.empty(1, 2, 24, 48, device="meta")
    entries = 24 * 48
    transformer = 4 * 32 * 32 + 2 * 32 * 64
    layer = entries * (2 * transformer + 2 * (32 * 32 + 32) + 2 * 32 * 32)
    attention = 2 * 32 * entries * (48 + 24)
    side = 2 * (48 * 128 + 24 * 16) * 32 + 128 * 32
    ends = entries * (2 * 32 + 32 * 32 + 32) + 2 * 128 * 128
    assert count_macs(network, (1, 24, 48), told) == layer + attention + side + ends
