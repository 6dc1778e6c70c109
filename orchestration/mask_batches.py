"""What a worker's rows of an iteration are, in learning a mask: images, or windows with gaps.

The rows of an image follow each other, one for each pass over it, with the same noise, all of them
mirrored or none: images are where weights learn and training would (`data.flip`). Of windows
entries are hidden: where weights learn, as in training (`training_windows`), a share of what was
recorded, drawn evenly from [0, 1); else the share that is hidden where quality is told. The rows
of a window have the same ones hidden, and are told the rest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.noise import normal, uniform_integers
from orchestration.training_batches import image_indices
from orchestration.training_windows import Windows, make_window_batch

NOISE = 13 << 32
"""Upper half of the seed of this noise: training, scoring and the drawing of masks have others."""
FLIPS = 15 << 32
OF_WINDOWS = 32 << 32
"""What is added to the upper halves of training's seeds: no window is hidden as it was there."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of an iteration.

    Args:
        x_0: float32 (n, C, H, W); of windows (n, 1, K, L), 0 at gaps.
        eps: like x_0, standard normal.
        told: what the network is told beside x_t and the timestep: nothing, or one tensor.
        weights: like x_0, of the squared errors, 1 in the mean over the rows of all workers: the
            hidden entries of windows count, all the same. None for 1.
    """

    x_0: Tensor
    eps: Tensor
    told: tuple[Tensor, ...] = ()
    weights: Tensor | None = None

    def errors(self, squares: Tensor) -> Tensor:
        """Of squared errors like x_0, the mean of each row over what counts: (n,).

        0 for a window of which nothing is hidden.
        """
        if self.weights is None:
            return squares.flatten(1).mean(dim=1)
        hidden = self.weights > 0
        return torch.where(hidden, squares, 0.0).flatten(1).sum(dim=1) / self.counts().clamp(min=1)

    def counts(self) -> Tensor:
        """How much the error of each row counts: 1 an image, the hidden entries of a window."""
        if self.weights is None:
            return torch.ones(len(self.x_0), device=self.x_0.device)
        return (self.weights > 0).flatten(1).sum(dim=1)

    def loss(self, squares: Tensor) -> Tensor:
        """The weighted mean of squared errors like x_0."""
        if self.weights is None:
            return self.errors(squares).mean()
        return (self.weights * squares).mean()


def image_rows(
    images: Tensor,
    positions: Tensor,
    *,
    passes: int,
    seed: int,
    iteration: int,
    batch_size: int,
    no_label: int | None,
    flips: bool = False,
) -> Rows:
    """Rows of images.

    Args:
        images: uint8 (n, C, H, W), all of them.
        positions: int64, of the rows, in range(batch_size x passes).
        passes: rows of an image.
        seed: in [0, 2**32).
        iteration: from 0.
        batch_size: images of the iteration.
        no_label: what a conditional network is told.
        flips: whether each image is mirrored left to right with a chance of a half.
    """
    of_image = positions // passes
    first = iteration * batch_size
    indices = image_indices(seed, range(first, first + batch_size), len(images))[of_image]
    x_0 = images[indices.to(images.device)].float() / 127.5 - 1
    if flips:
        flipped = uniform_integers(FLIPS + seed, of_image, iteration, 2, device=x_0.device) == 1
        x_0 = torch.where(flipped[:, None, None, None], x_0.flip(-1), x_0)
    eps = normal(NOISE + seed, of_image, iteration, x_0.shape[1:], images.device)
    if no_label is None:
        return Rows(x_0, eps)
    return Rows(x_0, eps, (torch.full((len(x_0),), no_label, device=x_0.device),))


def window_rows(
    windows: Windows,
    positions: Tensor,
    *,
    passes: int,
    seed: int,
    iteration: int,
    batch_size: int,
    hidden_share: float | None = None,
) -> Rows:
    """Rows of windows, arguments as those of `image_rows`; positions follow each other.

    `hidden_share` of what was recorded is hidden; None draws it.
    """
    of_window = positions // passes
    if not len(positions):
        nothing = torch.zeros(0, *windows.shape, device=windows.device)
        told = torch.zeros(0, 2, *windows.shape[1:], device=windows.device)
        return Rows(nothing, nothing, (told,), nothing)
    first = int(of_window[0])
    batch = make_window_batch(
        windows,
        range(first, int(of_window[-1]) + 1),
        seed=OF_WINDOWS + seed,
        iteration=iteration,
        batch_size=batch_size,
        widths=(1.0,),
        num_train_timesteps=1,  # the levels are the mask's
        hidden_share=hidden_share,
    )
    mine = (of_window - first).to(windows.device)
    return Rows(
        batch.x_0[mine], batch.eps[0][mine], (batch.labels[0][mine],), batch.weights[0][mine]
    )


def second_moment(material: Tensor | Windows) -> float:
    """Mean of x_0^2: over all pixels, or over what was recorded, of which all may be hidden."""
    if isinstance(material, Windows):
        values = material.values
        return values[values.isfinite()].double().square().mean().item()
    return (material.double() / 127.5 - 1).square().mean().item()
