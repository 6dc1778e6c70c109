"""What an iteration of training sees of windows with gaps; see `training_batches` for the rest.

Of each row, a share of what was recorded is hidden, drawn evenly from [0, 1) (CSDI's strategy
"random": Tashiro et al., arXiv 2107.03502, section 4.3), so that one network serves all shares.
The network is told the rest, and learns the noise of what is hidden. The same window at another
width of the iteration has another share, other hidden entries, timestep and noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.losses import WidthSampling, drawn_widths
from models.noise import normal, uniform_integers
from models.transfer import copied
from models.windows import condition, hide, num_hidden
from orchestration.training_batches import NOISE, Batch, image_indices

SHARES = 9 << 32
ENTRIES = 10 << 32
RESOLUTION = 2**31


@dataclass(frozen=True)
class Windows:
    """What is learned from.

    Args:
        values: float32 (n, K, L), NaN at gaps; training runs on their device.
    """

    values: Tensor

    @property
    def device(self) -> torch.device:
        """Where the values are."""
        return self.values.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one of them, as the network sees it: (1, K, L)."""
        return 1, *self.values.shape[1:]


def make_window_batch(
    windows: Windows,
    rows: range,
    *,
    seed: int,
    iteration: int,
    batch_size: int,
    widths: tuple[float, ...],
    num_train_timesteps: int,
    sampling: WidthSampling = "sandwich",
    same_noise: bool = False,
    device: torch.device | None = None,
    hidden_share: float | None = None,
) -> Batch:
    """The share `rows` of a batch; arguments as those of `training_batches.make_batch`.

    Of each window `hidden_share` of what was recorded is hidden; without it, a share that is drawn
    evenly from [0, 1).

    The weights of what is hidden are one number for the whole batch, so that every hidden entry
    counts the same, whatever window it is in and however many workers share the batch.
    """
    drawn = drawn_widths(widths, seed, iteration, sampling)
    device = windows.device if device is None else device
    first = iteration * batch_size
    order = image_indices(seed, range(first, first + batch_size), len(windows.values))
    values = copied(windows.values[order.to(windows.device)], device)
    recorded = values.isfinite()
    num_lanes = 1 if same_noise else len(drawn)
    positions = torch.arange(num_lanes * batch_size).view(num_lanes, batch_size)
    share = uniform_integers(SHARES + seed, positions.flatten(), iteration, RESOLUTION, device)
    share = (share / RESOLUTION).view(positions.shape)
    if hidden_share is not None:
        share = torch.full_like(share, hidden_share)
    totals = [int(num_hidden(recorded, of_rows).sum()) for of_rows in share]  # of all workers
    mine = slice(rows.start, rows.stop)
    x_0, recorded = values[mine].nan_to_num(0.0), recorded[mine]
    told, weights = [], []
    for of_width, of_rows, total in zip(positions[:, mine], share[:, mine], totals, strict=True):
        hidden = hide(recorded, of_rows, ENTRIES + seed, of_width, iteration)
        told.append(condition(x_0, recorded & ~hidden))
        each = batch_size * x_0[0].numel() / max(1, total)
        weights.append(hidden[:, None].to(x_0.dtype) * each)
    where = NOISE + seed, positions[:, mine].flatten(), iteration
    t = uniform_integers(*where, num_train_timesteps, device=device)
    eps = normal(*where, windows.shape, device=device)
    shape = num_lanes, len(rows)
    of_lanes = t.view(shape), eps.view(*shape, *windows.shape), *map(torch.stack, (told, weights))
    t, eps, told, weights = (lanes.expand(len(drawn), *lanes.shape[1:]) for lanes in of_lanes)
    return Batch(x_0[:, None], t, eps, drawn, told, weights)
