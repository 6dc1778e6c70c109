"""Grids of images, pixel by pixel."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from orchestration.image_grids import as_uint8, sample_grid, samples_png


def read_png(content):
    return np.array(Image.open(BytesIO(content)))


def tiled(images, scale):
    """Each image magnified, by brute force: (n, H scale, W scale, 3)."""
    num, channels, height, width = images.shape
    large = np.empty((num, height * scale, width * scale, 3), dtype=np.uint8)
    for k, y, x, c in np.ndindex(num, height * scale, width * scale, 3):
        large[k, y, x, c] = images[k, min(c, channels - 1), y // scale, x // scale]
    return large


@pytest.mark.parametrize(("channels", "size", "scale"), [(1, 8, 7), (3, 20, 3), (1, 70, 1)])
def test_grid_holds_each_image_pixel_by_pixel(channels, size, scale):
    images = np.random.default_rng(0).integers(0, 256, (5, channels, size, size), dtype=np.uint8)
    grid = read_png(sample_grid(images))
    cell = size * scale + 4
    assert grid.shape == (2 * cell, 3 * cell, 3)
    for k, large in enumerate(tiled(images, scale)):
        top, left = (k // 3) * cell + 2, (k % 3) * cell + 2
        assert (grid[top : top + size * scale, left : left + size * scale] == large).all()
    assert (grid[cell:, 2 * cell :] == 255).all()


def test_rows_of_samples_share_their_columns():
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    page = read_png(samples_png([("baseline", images), ("m05 saves 52 %", images[::-1])]))
    cell = 8 * 7 + 4
    strips = page[12 : 12 + 2 * cell, -12 - 4 * cell : -12].reshape(2, cell, 4, cell, 3)
    first, second = strips.transpose(0, 2, 1, 3, 4)
    assert (first[:, 2:-2, 2:-2] == tiled(images, 7)).all()
    assert (second == first[::-1]).all()
    titles = page[12 : 12 + 2 * cell, : -12 - 4 * cell].reshape(2, cell, -1)
    assert (titles < 128).any(axis=(1, 2)).all()
    assert (titles[0] != titles[1]).any()


def test_samples_of_different_shapes_are_refused():
    images = np.zeros((4, 1, 8, 8), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"one shape"):
        samples_png([("baseline", images), ("m05", images[:3])])
    with pytest.raises(ValueError, match=r"one shape"):
        samples_png([])


def test_floats_are_scaled_rounded_and_clipped():
    images = np.array([-1.5, -1, -0.999, 0, 1, 7.0]).reshape(1, 1, 1, 6)
    assert as_uint8(images).ravel().tolist() == [0, 0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((8, 8), dtype=np.uint8),
        np.zeros((1, 2, 8, 8), dtype=np.uint8),
        np.zeros((0, 1, 8, 8), dtype=np.uint8),
        np.full((1, 1, 8, 8), np.nan),
    ],
)
def test_what_is_no_image_is_refused(images):
    with pytest.raises(ValueError, match=r"images (have shape|hold NaN)"):
        as_uint8(images)
