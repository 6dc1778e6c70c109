"""Windows of time series with gaps: which entries are hidden, and what a network is told.

A window is (K, L): K variables at L times. An entry is *recorded* or a gap. Of the recorded ones
some are hidden, from the network only: those are what it learns to impute and is judged by. The
others are *given*. Real gaps are never given nor judged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.noise import normal


def num_hidden(recorded: Tensor, share: Tensor | float) -> Tensor:
    """How many entries of each window are hidden: int64 (n,), share x recorded, rounded.

    Args:
        recorded: bool (n, K, L).
        share: in [0, 1], one or (n,).
    """
    return (recorded.flatten(1).sum(1) * share).round().long()


def hide(
    recorded: Tensor, share: Tensor | float, seed: int, windows: Tensor | range, stream: int
) -> Tensor:
    """Entries to hide, drawn evenly among the recorded ones: bool (n, K, L).

    A function of (seed, window, stream) alone; `num_hidden` of each window.

    Args:
        recorded: bool (n, K, L).
        share: of them, in [0, 1], one or (n,).
        seed, windows, stream: as for `models.noise.normal`.
    """
    flat = recorded.flatten(1)
    keys = normal(seed, windows, stream, (flat.shape[1],), flat.device)
    keys = keys.masked_fill(~flat, torch.inf)
    ranks = keys.argsort(dim=1, stable=True).argsort(dim=1)
    return (ranks < num_hidden(recorded, share)[:, None]).view(recorded.shape)


def condition(values: Tensor, given: Tensor) -> Tensor:
    """What the network is told: float (..., 2, K, L), the given values, then which they are.

    Args:
        values: float (..., K, L), anything where nothing is given.
        given: bool, like values.
    """
    shown = values.masked_fill(~given, 0.0)
    return torch.stack([shown, given.to(shown.dtype)], -3)


@dataclass(frozen=True, eq=False)
class Panel:
    """Windows to be imputed, several samples of each: sample j of window i is draw i S + j.

    Attributes:
        values: float32 (n, K, L), 0 at gaps; as prepared, about of unit variance.
        given: bool (n, K, L), what the network is told.
        scored: bool (n, K, L), what is judged; nothing of it is given.
        num_samples: S.
    """

    values: Tensor
    given: Tensor
    scored: Tensor
    num_samples: int

    def draws(self, windows: range) -> range:
        """The draws of consecutive windows."""
        return range(windows.start * self.num_samples, windows.stop * self.num_samples)

    def blank(self, rows: int, device: torch.device | str = "cpu") -> Tensor:
        """What as many rows are told where nothing is given: float32 (rows, 2, K, L)."""
        return torch.zeros(rows, 2, *self.values.shape[1:], device=device)

    def predict(
        self,
        network: Callable[[Tensor, Tensor, Tensor], Tensor],
        x_t: Tensor,
        t: Tensor,
        images: range,
    ) -> Tensor:
        """The network's prediction for draws; arguments as of `conditioning.Told.predict`.

        The network is called as network(x_t, t, condition), x_t (batch, 1, K, L). After the last
        draw comes the first again.
        """
        windows = torch.tensor(images) // self.num_samples % len(self.values)
        told = self.blank(len(x_t), x_t.device)
        told[: len(images)] = condition(self.values[windows], self.given[windows])
        return network(x_t, t, told)
