"""Training data on their way into a worker's memory."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from orchestration import config as configs
from orchestration import training_material
from orchestration.training_material import receive
from orchestration.training_windows import Windows


def load(*overrides):
    return configs.load(None, ["search.budget=1", *overrides])


@pytest.fixture
def gpu(monkeypatch):
    """A GPU with 4,000 bytes free; (device, how) of each copy to it. Nothing is to be pinned."""
    copies = []

    def to(x, device, **how):
        copies.append((device, how))
        return x

    def pin(x):
        raise AssertionError("what is copied once is not pinned")

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4000, 8000))
    monkeypatch.setattr(training_material.ray, "get", lambda blocks: blocks)
    return copies


def tables(num_images):
    """`num_images` of 4 bytes, in two blocks, with labels."""
    images = np.arange(4 * num_images, dtype=np.uint8).reshape(num_images, 1, 2, 2)
    blocks = []
    for part in (slice(0, 1), slice(1, num_images)):
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(images[part])
        labels = pa.array(np.arange(num_images)[part])
        blocks.append(pa.table({"image": column, "label": labels}))
    return blocks, images


def test_images_that_fit_a_gpu_well_are_copied_to_it_once_and_not_pinned(gpu):
    device, conditional = torch.device("cuda"), load("network.conditional=true")
    blocks, images = tables(10)
    pixels, labels = receive(conditional, blocks, 10, device)
    assert torch.equal(pixels, torch.from_numpy(images))
    assert labels.classes.tolist() == list(range(10))
    assert gpu == [(device, {}), (device, {})]
    gpu.clear()
    blocks, images = tables(251)  # more than a quarter of what is free
    pixels, labels = receive(load(), blocks, None, device)
    assert torch.equal(pixels, torch.from_numpy(images)) and labels is None and gpu == []


def test_windows_are_copied_to_a_gpu_once_and_not_pinned(gpu):
    device = torch.device("cuda")
    config = load("data.name=weather", "sampler.clip_sample=false")
    found, _ = receive(config, [np.ones((3, 2, 4), "f4")], None, device)
    assert isinstance(found, Windows) and found.values.shape == (3, 2, 4)
    assert gpu == [(device, {})]
