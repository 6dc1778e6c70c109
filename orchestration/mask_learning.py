"""Learning s from the ELBO: its rewards cost no network call of their own.

In a chain whose network is told the level, the error of a prediction depends on the level alone.
So one running curve of errors over levels, to which every row of every iteration adds, gives the
ELBO of any mask: all masks of an update are compared on the same images and noise, and where the
network is frozen, on all that were seen so far. So masks of an update may be as many as one likes,
and are independent bits, of which the step is the natural gradient. The best mask that was met is
kept too, for s may decide too soon; and what s has given up for good is taken in again at the end,
where there are fewer steps than were asked for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.elbo import ErrorCurve, negative_elbo
from models.masking import (
    at_equal_count,
    budget_at,
    draw_masks,
    explored,
    natural_step,
    project,
    ranked,
    top_k,
)
from orchestration.mask_plan import Chain
from orchestration.search_sections import Mask

MEMORY = 0.99
"""What the error curve of a network that learns keeps at each iteration."""


class MaskLearner:
    """s for each number of steps, and the error curve that it learns from.

    Attributes:
        s: float64 (K, S), one row for each of `settings.steps`; it starts at 1.
        best: bool (K, S), the mask of least cost by the present curve among those met that have as
            many steps as asked for: drawn ones, and the likeliest steps after each update.
        curve: of errors.
        num_updates: done so far.

    Args:
        settings: `mask` of the configuration.
        chain: the candidates.
        second_moment: mean of x_0^2.
        num_updates: of the whole learning, which the ramp is a share of.
    """

    def __init__(
        self, settings: Mask, chain: Chain, second_moment: float, num_updates: int
    ) -> None:
        self.settings, self.chain, self.second_moment = settings, chain, second_moment
        self.total = num_updates
        size = len(chain.timesteps)
        self.s = torch.ones(len(settings.steps), size, dtype=torch.float64)
        self.best = torch.stack([top_k(self.s[0], num_steps) for num_steps in settings.steps])
        self.curve = ErrorCurve(chain.grid, 1.0 if settings.weights == "frozen" else MEMORY)
        self.num_updates = 0

    def costs(self, masks: Tensor) -> Tensor:
        """The negative ELBO under masks (M, S), by the curve: float64 (M,)."""
        levels = self.chain.levels(masks)
        return negative_elbo(masks, levels, self.curve(levels), self.second_moment)

    def update(self) -> None:
        """One step of s for each number of steps, and its projection onto the budget.

        None is taken, though it counts as done, while nothing is known of any error.
        """
        settings = self.settings
        if not self.curve.sums[1].any():  # windows of which nothing was hidden
            self.num_updates += 1
            return
        share = (self.num_updates + 1) / self.total
        for row, num_steps in enumerate(settings.steps):
            chances = explored(self.s[row], share)
            masks = self._draw(chances, row, settings.masks, self.num_updates, "independent")
            budget = budget_at(share, *settings.ramp, self.s.shape[1], num_steps)
            slack = budget - self.s[row].sum().item()
            advantage = ranked(at_equal_count(self.costs(masks), masks, slack))
            stepped = natural_step(self.s[row], masks, advantage, settings.rate)
            self.s[row] = project(stepped, budget)
            self._keep(row, masks)
        self.num_updates += 1
        if self.num_updates == self.total:
            self._fill()

    def _fill(self) -> None:
        """Gives s as much mass as steps were asked for, where it has given up more."""
        for row, num_steps in enumerate(self.settings.steps):
            likeliest = top_k(self.s[row], round(self.s[row].sum().item()))
            filled = self._filled(likeliest, num_steps)
            self.s[row] = project(self.s[row] + (filled & ~likeliest).double(), num_steps)
            self._keep(row, filled[None])

    def _filled(self, mask: Tensor, num_steps: int) -> Tensor:
        """A mask (S,) with further steps up to a number, each the one that costs least."""
        while mask.sum() < num_steps:
            each = mask | torch.eye(len(mask), dtype=torch.bool)[~mask]
            mask = each[self.costs(each).argmin()]
        return mask

    def _keep(self, row: int, masks: Tensor) -> None:
        """Holds the best mask of a row against those just met."""
        most = self.settings.steps[row]
        able = masks[masks.sum(dim=1) == most]
        met = torch.cat([self.best[row][None], top_k(self.s[row], most)[None], able])
        self.best[row] = met[self.costs(met).argmin()]

    def draw(self, row: int, num_masks: int, stream: int) -> Tensor:
        """Masks for one number of steps, to run the network under: bool (num_masks, S)."""
        return self._draw(self.s[row], row, num_masks, stream, self.settings.draws)

    def _draw(
        self, chances: Tensor, row: int, num_masks: int, stream: int, draws: str
    ) -> Tensor:
        seed, rows = self.settings.seed, len(self.settings.steps)
        return draw_masks(chances, num_masks, seed=seed, stream=stream * rows + row, draws=draws)

    def state(self) -> dict[str, Tensor]:
        """Everything that changes."""
        return {
            "s": self.s,
            "best": self.best,
            "curve": self.curve.sums,
            "updates": torch.tensor(self.num_updates),
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state` gave."""
        self.s, self.best = state["s"].clone(), state["best"].clone()
        self.curve.sums = state["curve"].clone()
        self.num_updates = int(state["updates"])


def kept_rows(masks: Tensor, units: Sequence[float] | Tensor) -> Tensor:
    """A kept candidate of each row, uniform over them: int64 (n,).

    Args:
        masks: bool (n, S), each with a step.
        units: (n,) uniform in [0, 1).
    """
    counts = masks.sum(dim=1)
    nth = (torch.as_tensor(units) * counts).long().clamp(max=counts - 1)
    return (masks.cumsum(dim=1) > nth[:, None]).long().argmax(dim=1)
