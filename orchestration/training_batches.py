"""What an iteration of training sees, as a function of (seed, iteration, position in the batch).

So a resumed run needs no generator's state, and several workers see together what one would see
alone. Rows follow each other through epochs, each a permutation of the images of its own.

The numbers come from `models.noise`; the upper half of its 64-bit seed says what they are for, so
that training never meets the noise that schedules are scored on (upper half 0).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.losses import WidthSampling, drawn_widths
from models.noise import normal, uniform_integers
from models.transfer import copied

NOISE = 1 << 32
ORDER = 2 << 32
FLIPS = 3 << 32
HIDDEN = 8 << 32


@dataclass(frozen=True)
class Batch:
    """One worker's share of an iteration.

    Args:
        x_0: float32 (rows, C, H, W) in [-1, 1], the same for all widths.
        t: int64 (k, rows), timesteps.
        eps: float32 (k, rows, C, H, W), standard normal.
        widths: k of them.
        labels: what networks are told: int64 (k, rows), the number of classes where a label is
            hidden; of windows float32 (k, rows, 2, K, L). None for nothing.
        weights: float32 (k, rows, C, H, W) of the squared errors, 1 in the mean over the whole
            batch; None for 1.
    """

    x_0: Tensor
    t: Tensor
    eps: Tensor
    widths: tuple[float, ...]
    labels: Tensor | None = None
    weights: Tensor | None = None


@dataclass(frozen=True)
class Labels:
    """What a conditional network is told of the images.

    Args:
        classes: int64 (n,), the class of each, where the training runs.
        num_classes: how many classes there are.
        dropout: how often a label is hidden, in [0, 1].
    """

    classes: Tensor
    num_classes: int
    dropout: float


def make_batch(
    images: Tensor,
    rows: range,
    *,
    seed: int,
    iteration: int,
    batch_size: int,
    widths: tuple[float, ...],
    num_train_timesteps: int,
    labels: Labels | None = None,
    flips: bool = False,
    sampling: WidthSampling = "sandwich",
    same_noise: bool = False,
    device: torch.device | None = None,
) -> Batch:
    """The share `rows` of a batch.

    Args:
        images: uint8 (n, C, H, W), all of them.
        rows: positions in the batch, within range(batch_size).
        seed: in [0, 2**32).
        iteration: from 0.
        batch_size: of all workers together.
        widths: all allowed ones.
        num_train_timesteps: T; timesteps are uniform over 0 .. T - 1.
        labels: of the images, for a conditional network.
        flips: whether each image of a batch is mirrored left to right with a chance of a half.
        sampling: which widths are drawn.
        same_noise: whether a row has the same timestep, noise and label at all widths: those that
            it has at the first one otherwise.
        device: that the batch is made on; None for that of the images. On a GPU, noise may differ
            in its last bit from a CPU's.
    """
    device = images.device if device is None else device
    first = iteration * batch_size
    indices = image_indices(seed, range(first + rows.start, first + rows.stop), len(images))
    x_0 = copied(images[indices.to(images.device)], device).float() / 127.5 - 1
    if flips:
        flipped = uniform_integers(FLIPS + seed, rows, iteration, 2, device=device) == 1
        x_0 = torch.where(flipped[:, None, None, None], x_0.flip(-1), x_0)
    drawn = drawn_widths(widths, seed, iteration, sampling)
    # The same row at another width is another position: its timestep and noise are fresh
    num_lanes = 1 if same_noise else len(drawn)
    positions = torch.arange(num_lanes)[:, None] * batch_size + torch.tensor(rows)
    where = NOISE + seed, positions.flatten(), iteration
    t = uniform_integers(*where, num_train_timesteps, device=device).view(positions.shape)
    eps = normal(*where, x_0.shape[1:], device=device).view(*positions.shape, *x_0.shape[1:])
    told = None
    if labels is not None:
        at = HIDDEN + seed, positions.flatten(), iteration, 2**31
        hidden = uniform_integers(*at, device=device) < labels.dropout * 2**31
        shown = labels.classes[indices.to(labels.classes.device)]
        told = torch.where(hidden.view(positions.shape), labels.num_classes, shown)
    if same_noise:
        t, eps = (lane.expand(len(drawn), *lane.shape[1:]) for lane in (t, eps))
        told = None if told is None else told.expand(len(drawn), -1)
    return Batch(x_0, t, eps, drawn, told)


def image_indices(seed: int, positions: range, num_images: int) -> Tensor:
    """Which images lie at consecutive positions of the endless sequence of epochs: int64 (n,)."""
    pieces = []
    start = positions.start
    while start < positions.stop:
        epoch, offset = divmod(start, num_images)
        stop = min(positions.stop, (epoch + 1) * num_images)
        pieces.append(_permutation(seed, epoch, num_images)[offset : offset + stop - start])
        start = stop
    return torch.cat(pieces)


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_images: int) -> Tensor:
    keys = uniform_integers(ORDER + seed, range(num_images), epoch, 2**31)
    return keys.argsort(stable=True)
