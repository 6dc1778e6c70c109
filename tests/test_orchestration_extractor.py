import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from models.images import from_uint8
from orchestration import config as configs
from orchestration.data import load_arrays, prepare
from orchestration.errors import DataError
from orchestration.extractor import REFERENCE, ensure_extractor, extractor_folder, load_extractor


@pytest.fixture(scope="module")
def trained(ray_cluster, tmp_path_factory):
    """Data, and the folder of an extractor that was trained for a moment."""
    cache = tmp_path_factory.mktemp("cache")
    config = configs.load(None, ["search.budget=1", "features.iterations=60"])
    data = prepare(config.data, cache)
    return config, data, ensure_extractor(config, data, cache)


def test_it_knows_digits_and_says_how_well_on_those_it_was_not_trained_on(trained):
    _, data, folder = trained
    extractor = load_extractor(folder)
    images, labels = load_arrays(data.folder)
    others = from_uint8(torch.from_numpy(images[1::2].copy()))
    named = extractor.network(others).argmax(1).numpy()
    assert extractor.accuracy == np.mean(named == labels[1::2])
    assert extractor.accuracy > 0.7  # a tenth by chance


def test_the_reference_is_all_real_images_in_pytorch_fids_form(trained):
    _, data, folder = trained
    extractor = load_extractor(folder)
    assert len(extractor.real) == len(load_digits().target)
    images, _ = load_arrays(data.folder)
    with torch.inference_mode():
        features = extractor.network.features(from_uint8(torch.from_numpy(images.copy())))
    np.testing.assert_allclose(extractor.real, features.numpy(), rtol=1e-5, atol=1e-5)
    real = extractor.real.astype(np.float64)
    with np.load(folder / REFERENCE) as statistics:
        np.testing.assert_allclose(statistics["mu"], real.mean(0), atol=1e-12)
        np.testing.assert_allclose(statistics["sigma"], np.cov(real, rowvar=False), atol=1e-12)
        np.testing.assert_array_equal(extractor.reference.mean, statistics["mu"])
        np.testing.assert_array_equal(extractor.reference.covariance, statistics["sigma"])


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


def test_what_is_no_extractor_is_refused(tmp_path):
    with pytest.raises(DataError, match="manifest.json"):
        load_extractor(tmp_path)
