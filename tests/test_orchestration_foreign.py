"""Networks that were trained elsewhere, as supernets of one width."""

import json

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.models import modeling_utils
from safetensors.torch import load_file, save_file

from orchestration import config as configs
from orchestration.checkpoints import load_supernet
from orchestration.compatibility import check_shape
from orchestration.errors import ConfigError, DataError
from orchestration.foreign import check_foreign, ensure_known
from orchestration.formats import Header
from orchestration.window_formats import WindowHeader

CONFIG = configs.load(None, ["search.budget=1"])
HEADER = Header("digits", 1797, (1, 8, 8), None)
WINDOWS = WindowHeader("weather", ("warm",), 8, {"train": 9}, (0.0,), (1.0,), False, False)


def saved(folder, seed, down="DownBlock2D", size=8):
    torch.manual_seed(seed)
    network = UNet2DModel(
        sample_size=size, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=(down,), up_block_types=("UpBlock2D",),
    ).eval()  # fmt: skip
    network.save_pretrained(folder)
    return network


@torch.no_grad()
def test_it_says_what_it_said_elsewhere(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(modeling_utils.logger, "warning", said.append)
    network = saved(tmp_path / "a", 0)
    known = ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    found = load_supernet(known).subnet(1.0)
    torch.testing.assert_close(found(x, t).sample, network(x, t).sample)
    assert said == []  # such as that it would have a package
    assert ensure_known(tmp_path / "a", known, CONFIG, HEADER) == known
    assert ensure_known(known, tmp_path / "other", CONFIG, HEADER) == known  # one of ours by now


OLD_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@torch.no_grad()
def test_weights_under_the_names_of_older_diffusers_are_the_same(tmp_path):
    """As those of Google's ddpm-* are."""
    network = saved(tmp_path / "a", 0, "AttnDownBlock2D")
    path = tmp_path / "a" / "diffusion_pytorch_model.safetensors"
    renamed = {}
    for name, tensor in load_file(path).items():
        for new, old in OLD_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
        renamed[name] = tensor
    assert renamed.keys() != load_file(path).keys()
    save_file(renamed, path)
    known = ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)
    found = load_supernet(known).full.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_a_weight_that_is_missing_is_named(tmp_path):
    saved(tmp_path / "a", 0)
    path = tmp_path / "a" / "diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k != "conv_in.bias"}, path)
    with pytest.raises(DataError, match="does not fit config.json: missing keys conv_in.bias"):
        ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)


def test_what_its_files_tell_is_told_before_any_work(tmp_path):
    saved(tmp_path / "a", 0)
    check_foreign(tmp_path / "a", CONFIG, HEADER)
    (tmp_path / "a" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(DataError, match="no .*safetensors: expected the network's weights"):
        check_foreign(tmp_path / "a", CONFIG, HEADER)
    (tmp_path / "a" / "config.json").write_text('{"_class_name": "UNet1DModel"}')
    with pytest.raises(DataError, match="got _class_name 'UNet1DModel'"):
        check_foreign(tmp_path / "a", CONFIG, HEADER)


def test_another_network_is_not_taken_for_the_first(tmp_path):
    for seed, name in enumerate("ab"):
        saved(tmp_path / name, seed)
    known = ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)
    with pytest.raises(DataError, match="known was made of another network than .*b: expected"):
        ensure_known(tmp_path / "b", known, CONFIG, HEADER)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "got _class_name 'UNet2DConditionModel'"),
        ({"num_class_embeds": 10}, "expected a network that is told no labels"),
        ({"sample_size": "8"}, "got sample_size '8', expected that of squares"),
        ({"sample_size": [8, 16]}, r"got sample_size \[8, 16\], expected that of squares"),
        ({"sample_size": [8, 8, 8]}, r"got sample_size \[8, 8, 8\], expected that of squares"),
        ({"out_channels": 2}, "got in_channels 1 and out_channels 2, expected a number of chan"),
        ({"in_channels": None, "out_channels": None}, "got in_channels None and out_channels Non"),
        ({"block_out_channels": [16]}, "does not fit config.json"),
        ({"block_out_channels": [9]}, "config.json: .* expected what UNet2DModel can be built fr"),
        ({"block_out_channels": 5}, "config.json: .* expected what UNet2DModel can be built from"),
        ({"down_block_types": ["X"]}, "config.json: .* expected what UNet2DModel can be built f"),
        ({"norm_num_groups": 0}, "config.json: .* expected what UNet2DModel can be built from"),
        ({"time_embedding_type": "x"}, "config.json: .* expected what UNet2DModel can be built"),
        ({"layers_per_block": None}, "config.json: .* expected what UNet2DModel can be built f"),
    ],
)
def test_what_cannot_be_used_is_told(tmp_path, change, expected):
    saved(tmp_path / "a", 0)
    path = tmp_path / "a" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=expected) as raised:
        ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)
    assert "\n" not in str(raised.value) and not (tmp_path / "known").exists()


@pytest.mark.parametrize("kept", [0, 5, -40])
def test_damaged_weights_are_told_as_such(tmp_path, kept):
    saved(tmp_path / "a", 0)
    path = tmp_path / "a" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="safetensors is damaged: .* expected safetensors"):
        ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)


@torch.no_grad()
@pytest.mark.parametrize("size", [None, [8, 8]])
def test_a_size_that_is_left_to_the_data_or_told_twice_is_a_number_here(tmp_path, size):
    network = saved(tmp_path / "a", 0, size=size)
    known = ensure_known(tmp_path / "a", tmp_path / "known", CONFIG, HEADER)
    found = load_supernet(known)
    assert found.full.config["sample_size"] == 8
    check_shape(known, HEADER.shape)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    torch.testing.assert_close(found.subnet(1.0)(x, t).sample, network(x, t).sample)


GUIDED = ("network.conditional=true", "sampler.guidance=2")


def two_levels(folder, size):
    UNet2DModel(
        sample_size=size, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
    ).save_pretrained(folder)  # fmt: skip


@pytest.mark.parametrize(
    ("size", "shape", "overrides", "expected"),
    [
        (16, (1, 8, 8), (), "images of 1 x 8 x 8, expected 1 x 16 x 16 as .*/a was trained on"),
        ([16, 16], (1, 8, 8), (), "expected 1 x 16 x 16 as .*/a was trained on: see data.image_s"),
        (None, (3, 8, 8), (), "images of 3 x 8 x 8, expected 1 x 8 x 8 as .*/a was trained on"),
        (None, (1, 7, 7), (), "of 7 x 7 pixels, expected a multiple of 2 for the 2 levels of .*a"),
        (7, (1, 7, 7), (), "of 7 x 7 pixels, expected a multiple of 2 for the 2 levels of .*a"),
        (None, (1, 8, 6), (), "data.image_size: got null for images of 6x8 pixels, expected a si"),
        (8, (1, 8, 6), (), "images of 1 x 8 x 6, expected 1 x 8 x 8"),
        (8, (1, 8, 8), GUIDED, "guidance: got 2, expected 1 .*: .*/a was trained without labels"),
    ],
)
def test_one_that_does_not_fit_the_data_leaves_nothing(
    tmp_path, size, shape, overrides, expected
):
    two_levels(tmp_path / "a", size)
    config = configs.load(None, ["search.budget=1", *overrides])
    header = Header("digits", 9, shape, None)
    for refuse in (
        lambda: check_foreign(tmp_path / "a", config, header),
        lambda: ensure_known(tmp_path / "a", tmp_path / "known", config, header),
    ):
        with pytest.raises(ConfigError, match=expected) as raised:
            refuse()
        assert "\n" not in str(raised.value) and not (tmp_path / "known").exists()


@pytest.mark.parametrize("size", [8, None])
def test_images_are_not_windows(tmp_path, size):
    saved(tmp_path / "a", 0, size=size)
    with pytest.raises(ConfigError, match="/a makes images, expected a supernet of windows of"):
        check_foreign(tmp_path / "a", CONFIG, WINDOWS)
