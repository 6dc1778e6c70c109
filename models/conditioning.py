"""Class-conditional sampling: which label each image gets, and how strongly it is guided to it.

A conditional network is called as `network(x_t, t, labels)`, with 0 .. num_classes - 1 for a class
and num_classes for none, which it has met in training where labels were hidden. Classifier-free
guidance (Ho & Salimans, arXiv 2207.12598, equation 6, whose w is ours less 1) calls it twice:

    output = output_none + guidance (output_label - output_none)

which is one formula for eps and v, since at a given x_t either is an affine function of the other.
Both calls have the one batch shape of all others, so that a row gets the bits that it gets alone.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor


class Told(Protocol):
    """What networks are told of each image beside x_t and t: its label, or what is given of it."""

    def blank(self, rows: int, device: torch.device | str = "cpu") -> Tensor:
        """Something that as many rows could be told, to time or count a call by."""

    def predict(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        x_t: Tensor,
        t: Tensor,
        images: range,
    ) -> Tensor:
        """The prediction for images.

        Args:
            network: called with x_t, t and what it is told.
            x_t: float32 (batch, ...); its first rows are the images, the others padding.
            t: (batch,), int64, or float32 where levels lie between timesteps.
            images: at most batch of them.

        Returns:
            Like x_t.
        """


@dataclass(frozen=True)
class Conditioning:
    """Labels as a function of the image's index: of any first n images each class has its share.

    Attributes:
        num_classes: of the network.
        guidance: above 0; at 1 a label is only told, by one call.
        label: that of all images; None for each class as often as the data have it.
        counts: images of each class in the data; None for equally many, by which image k has label
            k mod num_classes.

    Raises:
        ValueError: no classes, a guidance that is not above 0, a label that is no class or of
            which there are no images, or counts that are not one for each class.
    """

    num_classes: int
    guidance: float = 1.0
    label: int | None = None
    counts: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes}; expected at least 1")
        if not self.guidance > 0:
            raise ValueError(f"guidance is {self.guidance}; expected a number above 0")
        if self.label is not None and self.label not in range(self.num_classes):
            raise ValueError(f"label is {self.label}; expected 0 to {self.num_classes - 1}")
        if self.counts is None:
            return
        if len(self.counts) != self.num_classes or min(self.counts) < 0 or not any(self.counts):
            raise ValueError(f"counts are {self.counts}; expected {self.num_classes}, not all 0")
        if self.label is not None and not self.counts[self.label]:
            raise ValueError(f"label is {self.label}; expected a class that the data have")

    def labels(self, images: range, device: torch.device | str = "cpu") -> Tensor:
        """The label of each image: int64 (len(images),)."""
        if self.label is not None:
            return torch.full((len(images),), self.label, device=device)
        if self.counts is None:
            return torch.tensor(images, device=device) % self.num_classes
        length = max(1024, 1 << (images.stop - 1).bit_length())  # few lengths, each sorted once
        return _apportioned(self.counts, length)[images.start : images.stop].to(device)

    def blank(self, rows: int, device: torch.device | str = "cpu") -> Tensor:
        """Labels of as many rows, all of them 0: int64 (rows,)."""
        return torch.zeros(rows, dtype=torch.int64, device=device)

    def predict(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        x_t: Tensor,
        t: Tensor,
        images: range,
    ) -> Tensor:
        """The guided prediction, by one call, or two where `guidance` is not 1; see `Told`."""
        # t may lie between timesteps, labels never
        none = torch.full(t.shape, self.num_classes, dtype=torch.int64, device=t.device)
        labels = none.clone()
        labels[: len(images)] = self.labels(images, t.device)
        output = network(x_t, t, labels)
        if self.guidance == 1:
            return output
        unguided = network(x_t, t, none)
        return unguided + self.guidance * (output - unguided)


@lru_cache(maxsize=8)
def _apportioned(counts: tuple[int, ...], length: int) -> Tensor:
    """Labels of images 0 .. length - 1, classes by Sainte-Lague's rule: int64 (length,).

    The image of a class numbered j, from 0, has its turn at (2j + 1) / count; of equal turns the
    first class goes first.
    """
    total = sum(counts)
    turns, labels = [], []
    for label, count in enumerate(counts):
        most = math.ceil((length + len(counts)) * count / total)  # it has no more by then
        turns.append((2.0 * torch.arange(most, dtype=torch.float64) + 1) / count)
        labels.append(torch.full((most,), label))
    order = torch.cat(turns).sort(stable=True).indices[:length]
    return torch.cat(labels)[order]
