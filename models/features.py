"""Image features of a small classifier, for data sets that no large network was trained on.

A classifier learns what tells the classes of the data apart; its penultimate layer then serves a
Fréchet distance as Inception's does (Heusel et al., arXiv 1706.08500). That layer is linear, and
each feature is standardised by batch statistics without learned scale or shift: no feature can
die or outgrow the others, so the distance is in units of the training images' spread.

Train it on a part of the images only, so that its accuracy on the rest says what it is worth.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.images import from_uint8

PIXELS_AT_ONCE = 2**21
"""Of the images that go through a classifier together: its first layer holds 256 bytes for each,
32 channels before and after the nonlinearity: 512 MB. 2,000 images of 32x32 have fewer."""


def images_at_once(height: int, width: int) -> int:
    """How many images go through a classifier together, without gradients; at least one."""
    return max(1, PIXELS_AT_ONCE // (height * width))


class Classifier(nn.Module):
    """A convolutional classifier of images (n, channels, image_size, image_size) in [-1, 1].

    A convolution at full size, then one of stride 2 for each halving until at most 4x4 pixels
    remain, then `num_features` features and the classes. At 8x8 pixels it takes .4 MMACs an image.

    Args:
        channels: Of the images.
        image_size: Height and width in pixels.
        num_classes: Labels are 0 .. num_classes - 1.
        num_features: D.
    """

    def __init__(
        self, channels: int, image_size: int, num_classes: int, num_features: int = 64
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, padding=1), nn.SiLU()]
        width, size = 32, image_size
        while size > 4:
            layers += [nn.Conv2d(width, 64, 3, stride=2, padding=1), nn.SiLU()]
            width, size = 64, (size + 1) // 2
        layers += [nn.Flatten(), nn.Linear(width * size * size, num_features)]
        self.body = nn.Sequential(*layers, nn.BatchNorm1d(num_features, affine=False))
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(num_features, num_classes))

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer (n, D) float32; in eval mode, a function of each image alone.

        In eval mode many large images go through one part after another.
        """
        at_once = len(x) if self.training else images_at_once(*x.shape[2:])
        if len(x) <= at_once:
            return self.body(x)
        return torch.cat([self.body(part) for part in x.split(at_once)])

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, num_classes)."""
        return self.head(self.features(x))


def halves(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Which images a classifier is trained on, and which tell its accuracy.

    Every other image, where each half then has all classes that occur; else every other image of
    each class: of labels that alternate, a half of the former kind would have every other class.

    Args:
        labels: int64 (n,).

    Returns:
        Two tensors of indices, int64, rising. Where no class has two images, the second half has
        other classes than the first.
    """
    rank, classes = torch.arange(len(labels)), labels.unique()
    whole = all(torch.equal(labels[first::2].unique(), classes) for first in (0, 1))
    if not whole and len(classes) < len(labels):
        for label in classes:
            members = labels == label
            rank[members] = torch.arange(int(members.sum()))
    return (rank % 2 == 0).nonzero()[:, 0], (rank % 2 == 1).nonzero()[:, 0]


def train_classifier(
    images: Tensor,
    labels: Tensor,
    *,
    seed: int,
    iterations: int,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    num_features: int = 64,
    num_classes: int | None = None,
) -> Classifier:
    """Trains a classifier, the same for the same arguments and number of threads.

    AdamW under a one-cycle learning rate, on images shifted at random by up to an eighth.

    Args:
        images: uint8 (n, C, H, H), the training part alone.
        labels: int64 (n,), from 0.
        seed: Of the initial weights, the batches and the shifts.
        iterations: 600 give 98 % on the other half of the digits, in 4 s on one thread.
        batch_size: Images an iteration, drawn with replacement.
        learning_rate: Its peak.
        num_features: D.
        num_classes: Of the data; None for as many as these labels need.

    Returns:
        The classifier in eval mode.

    Raises:
        ValueError: Where the images are not square, or the labels not as many.
    """
    if images.shape[2] != images.shape[3]:
        raise ValueError(f"images of {tuple(images.shape[2:])} pixels, expected square ones")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{len(labels)} labels for {len(images)} images")
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        if num_classes is None:
            num_classes = int(labels.max()) + 1
        network = Classifier(images.shape[1], images.shape[2], num_classes, num_features).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=iterations
    )
    for _ in range(iterations):
        batch = torch.randint(len(images), (batch_size,), generator=generator)
        x = _shifted(from_uint8(images[batch]), images.shape[-1] // 8, generator)
        loss = F.cross_entropy(network(x), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


@torch.inference_mode()
def accuracy(network: Classifier, images: Tensor, labels: Tensor, batch_size: int = 500) -> float:
    """The share of images, uint8 (n, C, H, H), that the network gives their labels (n,)."""
    batches = zip(images.split(batch_size), labels.split(batch_size), strict=True)
    hits = sum(int((network(from_uint8(x)).argmax(1) == y).sum()) for x, y in batches)
    return hits / len(images)


def _shifted(x: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `reach` pixels along each axis; edge pixels are repeated."""
    n, channels, height, width = x.shape
    rows, columns = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + rows).clamp(0, height - 1)
    columns = (torch.arange(width) + columns).clamp(0, width - 1)
    image, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None]
    return x[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
