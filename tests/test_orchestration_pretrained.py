"""The published EfficientNet-Lite0, and Inception as pytorch-fid runs it."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from models.frechet import Reference, distance
from models.images import from_uint8
from models.moments import moments
from orchestration.errors import DataError
from orchestration.files import sha256_of
from orchestration.pretrained import build, read_weights
from orchestration.training_sections import Features
from orchestration.weights import INCEPTION_URL, PUBLISHED, Published, ensure_weights


@pytest.fixture(scope="module")
def efficientnet():
    path = ensure_weights(Features(name="efficientnet"), print)
    return build("efficientnet", read_weights(path))


def photo():
    """A Chinese temple, uint8 (1, 3, 427, 640)."""
    return torch.from_numpy(load_sample_images().images[0].copy()).permute(2, 0, 1)[None]


def test_efficientnet_knows_imagenet(efficientnet):
    """Its features, before the classes that are cut off, name a temple a palace or a monastery."""
    state = read_weights(ensure_weights(Features(name="efficientnet"), print))
    with torch.inference_mode():
        found = efficientnet.features(from_uint8(photo()[:, :, :, 100:527]))
    assert found.shape == (1, 1280) and found.dtype == torch.float32
    logits = found @ state["_fc.weight"].T + state["_fc.bias"]
    # bell cote, church, dome, monastery, palace, stupa, roof: of ImageNet's thousand
    assert set(logits.topk(3).indices[0].tolist()) & {442, 497, 538, 663, 698, 832, 853}


def test_its_distance_rises_with_noise(efficientnet):
    image, rng = photo(), np.random.default_rng(0)
    corners = zip(rng.integers(363, size=60), rng.integers(576, size=60), strict=True)
    patches = torch.cat([image[:, :, y : y + 64, x : x + 64] for y, x in corners])
    noise = torch.from_numpy(rng.standard_normal((30, 3, 64, 64)))

    def seen(x):
        with torch.inference_mode():
            return moments(efficientnet.features(from_uint8(x)).numpy())

    reference = Reference.of(seen(patches[:30]))
    distances = [
        distance(seen((patches[30:] + level * noise).clamp(0, 255).to(torch.uint8)), reference)
        for level in (0, 25, 50, 100)
    ]
    assert 0 < distances[0] and distances == sorted(distances)
    assert distances[-1] > 1.5 * distances[0]


def test_networks_travel_to_actors(efficientnet):
    copy = pickle.loads(pickle.dumps(efficientnet))
    x = from_uint8(photo()[:, :, :200, :200])
    assert torch.equal(copy.features(x), efficientnet.features(x))


def test_weights_of_another_network_are_told(tmp_path):
    with pytest.raises(DataError, match="weights do not fit efficientnet"):
        build("efficientnet", {"_conv_stem.weight": torch.zeros(3)})


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_weights_file_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(2), "other": Harm()}, "harmful.pth")
    (tmp_path / "text.pth").write_text("no tensors")
    for name in ("harmful.pth", "text.pth"):
        with pytest.raises(DataError, match=f"{name}: .*expected tensors saved by torch"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "harm").exists()


def reinitialized():
    """Weights of Inception's shapes whose features vary; those of its own constructor collapse."""
    from pytorch_fid import inception as fid

    asked = []
    original = fid.load_state_dict_from_url
    fid.load_state_dict_from_url = lambda url, progress: asked.append(url) or {}
    strict = nn.Module.load_state_dict
    nn.Module.load_state_dict = lambda network, state: None
    try:
        network = fid.fid_inception_v3()
    finally:
        fid.load_state_dict_from_url, nn.Module.load_state_dict = original, strict
    assert asked == [INCEPTION_URL]
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network.state_dict()


def two_sets(folder, count=10):
    """Two folders of PNG files, 32 x 32 in color, and their images uint8 (count, 3, 32, 32)."""
    rng = np.random.default_rng(0)
    for name, contrast in (("a", 1.0), ("b", 0.4)):
        (folder / name).mkdir()
        coarse = rng.uniform(-1, 1, (count, 3, 8, 8)) * contrast
        pixels = np.clip(np.kron(coarse, np.ones((4, 4))) * 127.5 + 127.5, 0, 255)
        pixels = pixels.astype(np.uint8)
        for k, image in enumerate(pixels):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / name / f"{k:02d}.png")
        yield torch.from_numpy(pixels)


@pytest.mark.proof
def test_fid_is_pytorch_fids_on_the_same_images_and_weights(tmp_path, monkeypatch):
    home = tmp_path / "hub" / "checkpoints" / INCEPTION_URL.rpartition("/")[2]
    home.parent.mkdir(parents=True)
    torch.save(reinitialized(), home)
    a, b = two_sets(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(PUBLISHED, "inception", Published(2048, sha256_of(home)))
    path = ensure_weights(Features(name="inception"), print)
    assert path == home
    network = build("inception", read_weights(path))
    samples = from_uint8(a) + 0.4 / 127.5 * torch.rand(a.shape)  # floats, as a sampler's
    with torch.inference_mode():
        found, real = (moments(network.features(x).numpy()) for x in (samples, from_uint8(b)))
    assert np.sqrt(real.scatter.diagonal()).mean() > 1e-3 * np.abs(real.mean).mean()
    theirs = subprocess.run(
        [sys.executable, "-m", "pytorch_fid", tmp_path / "a", tmp_path / "b", "--device", "cpu",
         "--num-workers", "0"],
        env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    expected = float(theirs.stdout.rpartition("FID:")[2])
    assert distance(found, Reference.of(real)) == pytest.approx(expected, rel=1e-4)
    assert expected > 1e-3
