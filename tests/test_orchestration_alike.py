import numpy as np
import pytest
from PIL import Image

from orchestration.alike import fitted, read_alike, survey, with_channels
from orchestration.errors import DataError
from orchestration.formats import Bad, Glimpse, Header, Picture, Source
from orchestration.training_sections import Data

RNG = np.random.default_rng(0)


def image(channels, height, width):
    return RNG.integers(0, 256, (channels, height, width), np.uint8)


def source(*images, bad=()):
    """Images, a name by its place each."""
    items = [Picture(f"{i}.png", pixels, 0) for i, pixels in enumerate(images)] + list(bad)

    def glance():
        for item in items:
            known = isinstance(item, Bad)
            yield item if known else Glimpse(item.name, item.pixels.shape)

    return Source("stamp", ("cat",), glance, lambda: iter(items))


def folder(**values):
    return Data(name="folder", path="/pictures", **values)


def test_images_of_one_size_stay_as_they_are():
    images = [image(1, 5, 7) for _ in range(3)]
    header, bad = survey(source(*images), folder())
    assert (header, bad) == (Header("folder", 3, (1, 5, 7), ("cat",)), [])
    found = [picture.pixels for picture in read_alike(source(*images), (1, 5, 7), folder())]
    np.testing.assert_array_equal(found, images)


def test_several_sizes_are_an_error_that_names_the_file_and_the_keys():
    expected = "2.png is 4x6 pixels, 0.png 7x5; expected one size: set data.image_size, and data.f"
    with pytest.raises(DataError, match=expected):
        survey(source(image(1, 5, 7), image(3, 5, 7), image(1, 6, 4)), folder())
    header, _ = survey(source(image(1, 5, 7), image(1, 6, 4)), folder(image_size=8))
    assert header.shape == (1, 8, 8)


def test_one_image_in_colour_makes_all_of_them_so():
    images = image(1, 4, 4), image(3, 4, 4)
    header, _ = survey(source(*images), folder())
    assert header.shape == (3, 4, 4)
    grey, color = read_alike(source(*images), (3, 4, 4), folder())
    for channel in grey.pixels:
        np.testing.assert_array_equal(channel, images[0][0])
    np.testing.assert_array_equal(color.pixels, images[1])
    assert survey(source(images[0]), folder())[0].shape[0] == 1
    for channels in (1, 3):
        for given in images:
            header, _ = survey(source(given), folder(channels=channels))
            assert header.shape[0] == channels


def test_grey_is_the_luma():
    color = image(3, 4, 4)
    found = with_channels(color, 1)
    expected = np.tensordot([0.299, 0.587, 0.114], color, 1)
    assert found.shape == (1, 4, 4) and np.abs(found[0] - expected).max() <= 1


def test_images_that_are_bad_are_counted_against_what_is_allowed():
    bad = [Bad("x.png", "is empty"), Bad("y.png", "is animated")]
    with pytest.raises(DataError, match=r"x.png is empty \(and 1 more .*data.skip_bad=2 or more"):
        survey(source(image(1, 4, 4), bad=bad), folder(skip_bad=1))
    header, found = survey(source(image(1, 4, 4), bad=bad), folder(skip_bad=2))
    assert header.count == 1 and found == bad
    with pytest.raises(DataError, match="data.path /pictures holds no image that can be read"):
        survey(source(bad=bad), folder(skip_bad=2))


def test_an_image_of_another_shape_than_its_header_told_is_bad():
    images = image(1, 4, 4), image(1, 4, 6)
    _, found = read_alike(source(*images), (1, 4, 4), folder())
    assert found == Bad("1.png", "is 6x4 pixels, expected 4x4")


def test_padding_keeps_the_pixels_in_the_middle_of_black():
    pixels = image(3, 28, 28)
    found = fitted(pixels, folder(image_size=32, fit="pad"))
    np.testing.assert_array_equal(found, np.pad(pixels, ((0, 0), (2, 2), (2, 2))))
    found = fitted(image(1, 5, 8), folder(image_size=8, fit="pad"))
    assert found.shape == (1, 8, 8) and not found[:, :1].any() and not found[:, 6:].any()


def test_padding_scales_down_what_is_too_large():
    white = np.full((1, 20, 40), 255, np.uint8)
    found = fitted(white, folder(image_size=10, fit="pad"))[0]
    assert (found[2:7] == 255).all() and not found[:2].any() and not found[7:].any()
    assert fitted(np.full((1, 1, 500), 9, np.uint8), folder(image_size=8, fit="pad")).any()


def test_cropping_takes_the_middle_square():
    pixels = image(3, 8, 16)
    found = fitted(pixels, folder(image_size=8, fit="crop"))
    np.testing.assert_array_equal(found, pixels[:, :, 4:12])
    found = fitted(pixels, folder(image_size=4))  # crop is the default
    whole = Image.fromarray(pixels.transpose(1, 2, 0).copy())
    half = np.asarray(whole.resize((8, 4), Image.Resampling.LANCZOS), int)
    assert np.abs(found.transpose(1, 2, 0) - half[:, 2:6]).max() <= 1


def test_resizing_stretches():
    left = np.zeros((1, 10, 40), np.uint8)
    left[:, :, :20] = 255
    found = fitted(left, folder(image_size=20, fit="resize"))[0]
    assert (found[:, :9] > 250).all() and (found[:, 11:] < 5).all()


@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
def test_fine_stripes_become_grey_not_other_stripes(fit):
    """Taking each fourth pixel would give black or white."""
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 64, 32))
    found = fitted(stripes, folder(image_size=16, fit=fit))
    assert 100 < found.min() and found.max() < 155


@pytest.mark.parametrize("fit", ["crop", "resize", "pad"])
def test_an_image_of_the_size_keeps_its_bits(fit):
    pixels = image(3, 8, 8)
    np.testing.assert_array_equal(fitted(pixels, folder(image_size=8, fit=fit)), pixels)
