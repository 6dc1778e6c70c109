import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

from models.features import accuracy, train_classifier
from models.images import from_uint8
from orchestration import config as configs
from orchestration import extractor, real_features
from orchestration.actors import started
from orchestration.data import load_arrays, prepare
from orchestration.errors import DataError, MachineError
from orchestration.extractor import (
    REFERENCE,
    WEIGHTS,
    ensure_extractor,
    extractor_folder,
    load_extractor,
)
from orchestration.placement import Placement

CONFIG = configs.load(None, ["search.budget=1"])


@pytest.fixture(scope="module")
def trained(ray_cluster, tmp_path_factory):
    """Data, and the folder of an extractor that was trained for a moment."""
    cache = tmp_path_factory.mktemp("cache")
    config = configs.load(None, ["search.budget=1", "features.iterations=60"])
    data = prepare(config.data, cache)
    return config, data, ensure_extractor(config, data, cache)


def test_it_knows_digits_and_says_how_well_on_those_it_was_not_trained_on(trained):
    _, data, folder = trained
    found = load_extractor(folder)
    images, labels = load_arrays(data.folder)
    others = from_uint8(torch.from_numpy(images[1::2].copy()))
    named = found.network(others).argmax(1).numpy()
    assert found.accuracy == np.mean(named == labels[1::2])
    assert found.accuracy > 0.7  # a tenth by chance


def test_the_reference_is_all_real_images_in_pytorch_fids_form(trained):
    _, data, folder = trained
    found = load_extractor(folder)
    assert found.num_reference == len(found.real) == len(load_digits().target)
    images, _ = load_arrays(data.folder)
    with torch.inference_mode():
        features = found.network.features(from_uint8(torch.from_numpy(images.copy())))
    np.testing.assert_allclose(found.real, features.numpy(), rtol=1e-5, atol=1e-5)
    real = found.real.astype(np.float64)
    with np.load(folder / REFERENCE) as statistics:
        np.testing.assert_allclose(statistics["mu"], real.mean(0), atol=1e-12)
        np.testing.assert_allclose(statistics["sigma"], np.cov(real, rowvar=False), atol=1e-12)
        np.testing.assert_array_equal(found.reference.mean, statistics["mu"])
        np.testing.assert_array_equal(found.reference.covariance, statistics["sigma"])


def test_one_that_is_there_is_taken(trained):
    config, data, folder = trained
    stamps = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert ensure_extractor(config, data, folder.parent) == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == stamps


def test_the_folder_is_named_by_what_it_depends_on(trained):
    config, data, folder = trained
    for override, same in (("search.seed=5", True), ("features.seed=5", False)):
        other = configs.load(None, ["search.budget=1", "features.iterations=60", override])
        assert (extractor_folder(other, data, folder.parent) == folder) is same
    # Where the files of a data set have changed, its configuration has not
    changed = prepare(config.data.model_copy(update={"image_size": 4}), folder.parent)
    assert extractor_folder(config, changed, folder.parent) != folder


def test_where_every_other_image_shows_all_classes_the_split_is_what_it_was(digits):
    """Features that are kept, and all numbers on them, go on to the bit."""
    images, labels = load_arrays(digits.folder)
    state, share = extractor._train._function(images, labels, 10, 4, 5)
    pixels, classes = torch.from_numpy(images.copy()), torch.from_numpy(labels.copy())
    expected = train_classifier(pixels[::2], classes[::2], seed=4, iterations=5)
    assert all(torch.equal(value, state[key]) for key, value in expected.state_dict().items())
    assert share == accuracy(expected, pixels[1::2], classes[1::2])


def test_a_classifier_is_shown_all_classes_of_labels_that_alternate(digits):
    """Ones and zeros in turn: every other image would show it one class, and tell of the other."""
    images, labels = load_arrays(digits.folder)
    turns = np.stack([np.flatnonzero(labels == digit)[:80] for digit in (0, 1)], 1).ravel()
    state, share = extractor._train._function(images[turns], labels[turns], 3, 0, 60)
    assert share > 0.9 and len(state["head.1.bias"]) == 3


def test_the_weights_are_the_bytes_that_safetensors_writes_without_its_way_to_fail(
    trained, tmp_path, monkeypatch
):
    config, data, folder = trained
    save_file(load_file(folder / WEIGHTS), tmp_path / WEIGHTS)
    assert (folder / WEIGHTS).read_bytes() == (tmp_path / WEIGHTS).read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    network = torch.nn.Flatten()
    made = network, {"a": torch.zeros(1)}, {}
    monkeypatch.setattr(extractor, "_network", lambda *arguments: made)
    monkeypatch.setattr(extractor, "real_features", lambda *arguments: np.eye(5, dtype="f4"))
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MachineError, match="cannot write .*safetensors: No space left"):
        extractor._make(config, data, tmp_path, print)


def load(*overrides):
    return configs.load(None, ["search.budget=1", *overrides])


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return prepare(load().data, tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def pretrained(ray_cluster, digits, tmp_path_factory):
    """The folder of EfficientNet's features of some digits, made without labels; what was said."""
    lines = []
    images, _ = load_arrays(digits.folder)
    config = load("features.name=efficientnet", "features.num_real=70", "features.seed=5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_arrays", lambda folder: (images, None))
        patch.setitem(extractor.IMAGES_A_TASK, "efficientnet", 30)
        cache = tmp_path_factory.mktemp("cache")
        return ensure_extractor(config, digits, cache, lines.append), lines


def test_pretrained_features_of_some_real_images_need_no_labels(pretrained, digits):
    folder, lines = pretrained
    found = load_extractor(folder)
    assert found.real.shape == (70, 1280) and found.num_reference == 70
    assert found.accuracy is None and "features of the real images by efficientnet" in lines[0]
    images, _ = load_arrays(digits.folder)
    chosen = np.sort(np.random.default_rng(5).choice(len(images), 70, replace=False))
    with torch.inference_mode():
        expected = found.network.features(from_uint8(torch.from_numpy(images[chosen])))
    np.testing.assert_allclose(found.real, expected.numpy(), rtol=1e-4, atol=1e-4)
    real = found.real.astype(np.float64)
    np.testing.assert_allclose(found.reference.mean, real.mean(0), atol=1e-12)


def test_a_given_reference_takes_the_place_of_the_datas_own(pretrained, digits, tmp_path):
    made, _ = pretrained
    given = tmp_path / "given.npz"
    with np.load(made / REFERENCE) as statistics:
        np.savez(given, mu=statistics["mu"] + 1, sigma=statistics["sigma"] + np.eye(1280))
    config = load(
        "features.name=efficientnet", "features.num_real=8", f"features.reference={given}"
    )
    found = load_extractor(ensure_extractor(config, digits, tmp_path))
    assert found.num_reference is None and found.real.shape == (8, 1280)
    own = load_extractor(made).reference
    np.testing.assert_array_equal(found.reference.mean, own.mean + 1)
    np.testing.assert_array_equal(found.reference.covariance, own.covariance + np.eye(1280))
    before = extractor_folder(config, digits, tmp_path)
    np.savez(given, mu=own.mean, sigma=own.covariance)  # another file at the same place
    assert extractor_folder(config, digits, tmp_path) != before
    given.unlink()
    with pytest.raises(DataError, match="given.npz: No such file"):
        extractor_folder(config, digits, tmp_path)


def test_features_do_not_depend_on_who_works_and_progress_is_told(ray_cluster, monkeypatch):
    class Slow(torch.nn.Module):
        def features(self, x):
            return x.flatten(1).cumsum(1)

    monkeypatch.setattr(real_features, "SECONDS_BETWEEN_LINES", -1.0)
    images = np.random.default_rng(0).integers(256, size=(300, 1, 4, 4)).astype(np.uint8)
    lines = []
    found = real_features.real_features(Slow(), images, 7, CONFIG, lines.append)
    expected = Slow().features(from_uint8(torch.from_numpy(images)))
    np.testing.assert_array_equal(found, expected.numpy())
    assert lines and lines[-1].startswith("data    features of ") and " of 300 real" in lines[-1]


def test_a_task_that_fails_is_told(ray_cluster):
    class Broken(torch.nn.Module):
        def features(self, x):
            raise DataError("a is damaged")

    with pytest.raises(DataError, match="a is damaged"):
        zeros = np.zeros((9, 1, 4, 4), np.uint8)
        real_features.real_features(Broken(), zeros, 4, CONFIG, print)


@dataclass(frozen=True)
class Pretended(Placement):
    """Says that there are GPUs, and claims none of Ray."""

    @property
    def options(self):
        return {"num_cpus": self.num_cpus}

    @property
    def bundle(self):
        return {"CPU": self.num_cpus}


@pytest.fixture
def two_gpus(ray_cluster, monkeypatch):
    """Two actors have a GPU each, as they think; they compute on CPUs."""
    monkeypatch.setattr(real_features, "place", lambda *asked: Pretended(2, 0.4, 1.0))


class Diary(torch.nn.Module):
    """Notes who worked in a folder; fails once, where that has a file `fault`."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def features(self, x):
        fault = self.folder / "fault"
        if fault.exists():
            fault.unlink()
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        (self.folder / str(os.getpid())).touch()
        return x.flatten(1).cumsum(1)


def test_on_gpus_actors_take_features_and_are_gone_then(two_gpus, tmp_path):
    """A fault of a GPU on the way changes no bit."""
    images = np.random.default_rng(0).integers(256, size=(60, 1, 4, 4)).astype(np.uint8)
    expected = Diary(tmp_path).features(from_uint8(torch.from_numpy(images)))
    (tmp_path / str(os.getpid())).unlink()
    (tmp_path / "fault").touch()
    found = real_features.real_features(Diary(tmp_path), images, 7, CONFIG, print)
    np.testing.assert_array_equal(found, expected.numpy())
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(workers) <= 4  # processes, for 9 parts
    deadline = time.monotonic() + 300
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, workers
        time.sleep(0.1)


class Full(torch.nn.Module):
    """Finds the GPU full."""

    def features(self, x):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0")


def test_a_gpu_that_is_full_is_told_in_a_line(two_gpus, monkeypatch):
    placements = []

    def spied(actor_class, placement, *args):
        placements.append(placement)
        return started(actor_class, placement, *args)

    monkeypatch.setattr(real_features, "started", spied)
    zeros = np.zeros((9, 1, 4, 4), np.uint8)
    with pytest.raises(MachineError, match="out of memory .CUDA .* fewer score.actors_per_gpu"):
        real_features.real_features(Full(), zeros, 9, CONFIG, print)
    assert [placement.num_actors for placement in placements] == [1]  # no more than parts


def test_a_task_has_fewer_images_where_a_classifier_sees_large_ones():
    images_a_task = extractor._images_a_task
    assert images_a_task("classifier", (9000, 1, 32, 32)) == 2000
    assert images_a_task("classifier", (9000, 3, 256, 256)) == 32
    assert images_a_task("inception", (9000, 3, 256, 256)) == 50  # brings them to its own size


def test_what_is_no_extractor_is_refused(tmp_path):
    with pytest.raises(DataError, match="manifest.json"):
        load_extractor(tmp_path)
