"""Features: a classifier that knows digits, on features whose distance tells bad digits apart."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from models import features as module
from models.features import Classifier, _shifted, accuracy, halves, train_classifier
from models.frechet import Reference, distance, noise_floor
from models.images import from_uint8
from models.moments import moments

DIGITS = load_digits()
IMAGES = torch.from_numpy(np.rint(DIGITS.images * 255 / 16).astype(np.uint8))[:, None]
LABELS = torch.from_numpy(DIGITS.target)
UNSEEN = from_uint8(IMAGES[1::2])


@pytest.fixture(scope="module")
def network():
    return train_classifier(IMAGES[::2], LABELS[::2], seed=0, iterations=600)


def features(network, x):
    with torch.inference_mode():
        return network.features(x).numpy()


@pytest.fixture(scope="module")
def real(network):
    return features(network, from_uint8(IMAGES))


def test_uint8_covers_the_range():
    found = from_uint8(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(found, torch.tensor([-1.0, -0.6, 1.0]))


def test_knows_digits_that_it_has_not_seen(network):
    assert accuracy(network, IMAGES[1::2], LABELS[1::2]) > 0.97


def test_accuracy_counts_hits_over_all_batches(network):
    labels = network(UNSEEN[:7]).argmax(1)
    labels[[1, 4, 6]] += 1
    assert accuracy(network, IMAGES[1::2][:7], labels, batch_size=3) == pytest.approx(4 / 7)


def test_logits_are_a_function_of_the_features(network):
    x = UNSEEN[:5]
    torch.testing.assert_close(network.head(network.features(x)), network(x))


def test_features_are_alive_and_of_one_scale(real):
    spread = real.std(axis=0)
    assert 0.7 < spread.min() and spread.max() < 1.3
    eigenvalues = np.linalg.eigvalsh(np.cov(real, rowvar=False))
    assert eigenvalues[0] > 1e-6 * eigenvalues[-1]  # far above rounding in float32


def test_a_feature_vector_does_not_depend_on_its_batch(network):
    together = features(network, UNSEEN[:64])
    np.testing.assert_allclose(features(network, UNSEEN[5:6]), together[5:6], atol=1e-5)
    assert together.dtype == np.float32


def blurred(x, sharpness=2.0):
    kernel = torch.tensor([[0, 1, 0], [1, sharpness, 1], [0, 1, 0]]) / (4 + sharpness)
    return nn.functional.conv2d(nn.functional.pad(x, (1,) * 4, value=-1), kernel[None, None])


def noisy(x):
    return x + 0.4 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


# Each with the least distance, in noise floors, that must tell it from real digits.
BAD = {
    "noisy": (noisy, 5),
    "blurred": (blurred, 5),
    "faint": (lambda x: 0.8 * (x + 1) - 1, 5),
    "mixed": (lambda x: (x + x.flip(0)) / 2, 5),
    "without eights": (lambda x: x[LABELS[1::2] != 8], 1.2),
    "one class": (lambda x: x[LABELS[1::2] == 5], 20),
    "few that repeat": (lambda x: x[torch.arange(len(x)) % 20], 3),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_digits_are_far_from_real_ones(network, real, name):
    spoil, least = BAD[name]
    reference = Reference.of(moments(real))
    floor = noise_floor(real, len(real), seed=0)
    unseen = distance(moments(features(network, UNSEEN)), reference)
    assert unseen < 0.5 * floor  # the reference holds these very images
    assert distance(moments(features(network, spoil(UNSEEN))), reference) > least * floor


def test_same_seed_same_weights_and_the_global_generator_is_left_alone():
    def train(seed):
        return train_classifier(IMAGES[:50], LABELS[:50], seed=seed, iterations=2)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = train(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    b, c = train(3), train(4)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert not torch.equal(a.head[1].weight, c.head[1].weight)
    assert not a.training and not any(p.requires_grad for p in a.parameters())


@pytest.mark.parametrize(("channels", "image_size"), [(1, 4), (3, 9), (1, 28), (3, 32)])
def test_other_sizes(channels, image_size):
    network = Classifier(channels, image_size, num_classes=3, num_features=16).eval()
    x = torch.zeros(2, channels, image_size, image_size)
    assert network.features(x).shape == (2, 16) and network(x).shape == (2, 3)
    last = [layer for layer in network.body if isinstance(layer, nn.Linear)][0]
    assert last.in_features <= 64 * 16  # at most 4x4 pixels are left


@pytest.fixture
def sizes(monkeypatch):
    """Of the batches that classifiers take while at most 3 images of 8x8 go together."""
    taken = []
    forward = nn.Flatten.forward

    def noted(layer, x):
        taken.append(len(x))
        return forward(layer, x)

    monkeypatch.setattr(nn.Flatten, "forward", noted)
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 3 * 64 + 63)
    return taken


def test_large_images_go_through_in_parts_and_small_ones_together(network, sizes):
    found = features(network, UNSEEN[:8])
    assert sizes == [3, 3, 2]
    alone = [features(network, part) for part in UNSEEN[:8].split(3)]
    np.testing.assert_array_equal(found, np.concatenate(alone))
    sizes.clear()
    accuracy(network, IMAGES[:8], LABELS[:8], batch_size=5)
    assert sizes == [3, 2, 3]
    sizes.clear()
    assert features(network, UNSEEN[:3]).shape == (3, 64) and sizes == [3]


def test_all_of_a_training_batch_goes_together(sizes):
    """Its statistics are those of the whole batch."""
    train_classifier(IMAGES[:50], LABELS[:50], seed=3, iterations=2, batch_size=16)
    assert sizes == [16, 16]


def test_how_many_images_go_together():
    assert module.images_at_once(32, 32) >= 2000  # as many as a task has
    assert module.images_at_once(256, 256) == 32
    assert module.images_at_once(9999, 9999) == 1


def test_shifts_move_whole_images_and_repeat_their_edges():
    x = torch.arange(2 * 3 * 5 * 5.0).view(2, 3, 5, 5).repeat(20, 1, 1, 1)
    moved = _shifted(x, 1, torch.Generator().manual_seed(0))
    padded = nn.functional.pad(x, (1,) * 4, mode="replicate")
    offsets = set()
    for image, source in zip(moved, padded, strict=True):
        found = [
            (i, j)
            for i in range(3)
            for j in range(3)
            if torch.equal(image, source[:, i : i + 5, j : j + 5])
        ]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) == 9
    assert torch.equal(_shifted(x, 0, torch.Generator()), x)


@pytest.mark.parametrize(
    ("labels", "shown", "others"),
    [
        ([0, 1, 1, 0, 2, 2], [0, 2, 4], [1, 3, 5]),  # both have all: as they come
        ([0, 1, 0, 1, 0, 1], [0, 1, 4, 5], [2, 3]),  # zeros at 0 2 4, ones at 1 3 5
        ([5, 1, 7, 3, 5, 1, 7, 3], [0, 1, 2, 3], [4, 5, 6, 7]),
        ([0, 1, 0, 2, 0], [0, 1, 3, 4], [2]),  # a class of one image is learnt
        ([3, 1, 0, 2], [0, 2], [1, 3]),  # so is half of them, else none would be left
    ],
)
def test_each_half_has_all_classes(labels, shown, others):
    found = halves(torch.tensor(labels))
    assert [half.tolist() for half in found] == [shown, others]


def test_the_head_has_as_many_classes_as_the_data():
    def classes(**number):
        first = IMAGES[:1], LABELS[:1]
        return train_classifier(*first, seed=0, iterations=1, **number).head[1].out_features

    assert int(LABELS[0]) == 0 and classes() == 1 and classes(num_classes=12) == 12


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:4, :, :5], LABELS[:4], "square"),
        (IMAGES[:4], LABELS[:3], "3 labels for 4 images"),
    ],
)
def test_bad_data_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        train_classifier(images, labels, seed=0, iterations=1)
