"""Networks that were trained elsewhere, as supernets of one width."""

import json

import pytest
import torch
from diffusers import UNet2DModel

from orchestration import config as configs
from orchestration.checkpoints import load_supernet
from orchestration.errors import DataError
from orchestration.foreign import ensure_known

CONFIG = configs.load(None, ["search.budget=1"])


def saved(folder, seed):
    torch.manual_seed(seed)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    ).eval()  # fmt: skip
    network.save_pretrained(folder)
    return network


@torch.no_grad()
def test_it_says_what_it_said_elsewhere(tmp_path):
    network = saved(tmp_path / "a", 0)
    known = ensure_known(tmp_path / "a", tmp_path / "known", CONFIG)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 700])
    found = load_supernet(known).subnet(1.0)
    torch.testing.assert_close(found(x, t).sample, network(x, t).sample)
    assert ensure_known(tmp_path / "a", known, CONFIG) == known
    assert ensure_known(known, tmp_path / "other", CONFIG) == known  # one of ours by now


def test_another_network_is_not_taken_for_the_first(tmp_path):
    for seed, name in enumerate("ab"):
        saved(tmp_path / name, seed)
    known = ensure_known(tmp_path / "a", tmp_path / "known", CONFIG)
    with pytest.raises(DataError, match="known was made of another network than .*b: expected"):
        ensure_known(tmp_path / "b", known, CONFIG)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "got _class_name 'UNet2DConditionModel'"),
        ({"num_class_embeds": 10}, "expected a network that is told no labels"),
        ({"sample_size": None}, "got sample_size None"),
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
        ensure_known(tmp_path / "a", tmp_path / "known", CONFIG)
    assert "\n" not in str(raised.value) and not (tmp_path / "known").exists()


@pytest.mark.parametrize("kept", [0, 5, -40])
def test_damaged_weights_are_told_as_such(tmp_path, kept):
    saved(tmp_path / "a", 0)
    path = tmp_path / "a" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="safetensors is damaged: .* expected safetensors"):
        ensure_known(tmp_path / "a", tmp_path / "known", CONFIG)
