"""What pretrained networks are shown: rounded, resized, colored and normalized as each expects."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.images import as_saved, from_uint8
from models.pretrained import EfficientNetFeatures, InceptionFeatures


class Seen(nn.Module):
    """Remembers what it is shown; features are a mean for each channel."""

    def forward(self, x):
        self.shown = x
        return x.mean((2, 3))

    def extract_features(self, x):
        self.shown = x
        return x.repeat(1, 2, 1, 1)


def photo(count=3, channels=3, size=96):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, channels, size, size), generator=generator).to(torch.uint8)


def test_images_come_back_from_a_file_as_they_were():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(as_saved(from_uint8(levels)), levels / 255)
    off = torch.tensor([-1.2, -1 + 0.4 / 127.5, 0.001, 1.7])
    assert torch.equal(as_saved(off), torch.tensor([0, 0, 128, 255]) / 255)


def test_efficientnet_sees_what_an_antialiased_resize_and_imagenets_normalization_give():
    network = Seen()
    pixels = photo()
    found = EfficientNetFeatures(network).features(from_uint8(pixels))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for shown, image in zip(network.shown, pixels, strict=True):
        small = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((64, 64), Image.BILINEAR)
        expected = (np.asarray(small) / 255 - mean) / std
        # PIL rounds to 8 bits after each axis
        np.testing.assert_allclose(shown.permute(1, 2, 0), expected, atol=0.02)
    assert found.shape == (3, 6)
    torch.testing.assert_close(found[:, :3], network.shown.mean((2, 3)))


def test_inception_sees_what_pytorch_fid_shows_it():
    network = Seen()
    pixels = photo(size=32)
    found = InceptionFeatures(network).features(from_uint8(pixels))
    resized = nn.functional.interpolate(
        pixels / 255, size=(299, 299), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(network.shown, 2 * resized - 1, rtol=0, atol=1e-6)
    assert found.shape == (3, 3)


@pytest.mark.parametrize("wrap", [EfficientNetFeatures, InceptionFeatures])
def test_grey_is_the_same_in_three_channels_and_many_go_in_order(wrap):
    grey = from_uint8(photo(count=30, channels=1, size=8))
    one = wrap(Seen()).features(grey)
    three = wrap(Seen()).features(grey.repeat(1, 3, 1, 1))
    assert torch.equal(one, three)
    alone = torch.cat([wrap(Seen()).features(image[None]) for image in grey])
    torch.testing.assert_close(one, alone)
    assert len({float(value) for value in one[:, 0]}) == 30
