"""The loss of a supernet: squared error of the prediction, at several widths at once.

The sandwich rule (Yu & Huang 2019; Yang et al., arXiv 2310.03337, section 3.1): every iteration
trains the widest, the narrowest and one other width, on the same x_0 with timesteps and noise of
their own.

Narrower widths may be distilled in place (Yu & Huang 2019, section 3.3): part of what they learn
is the full width's prediction of the same x_t instead of the truth, which is noise for the most
part, while a prediction is its mean.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from models.diffusion import add_noise, velocity
from models.supernet import Supernet

WidthSampling = Literal["sandwich", "uniform", "widest", "all"]

NUM_UNIFORM = 3  # as many as the sandwich has


def drawn_widths(
    widths: Sequence[float], seed: int, iteration: int, sampling: WidthSampling = "sandwich"
) -> tuple[float, ...]:
    """The widths that one iteration trains.

    A function of its arguments alone: every worker, and every resumed run, gets the same.

    Args:
        widths: the allowed widths in any order.
        seed: of the training, at least 0.
        iteration: at least 0.
        sampling: `sandwich` (see `sandwich_widths`); `uniform`, three of all, each as often as the
            others; `widest`, that one and one of the others; `all`.

    Returns:
        Falling from the widest one drawn, but for the sandwich's random one, which is the last.
    """
    falling = sorted(set(widths), reverse=True)
    if sampling == "sandwich":
        return sandwich_widths(falling, seed, iteration)
    if sampling == "all" or len(falling) == 1:
        return tuple(falling)
    rng = np.random.default_rng((seed, iteration))
    if sampling == "widest":
        return (falling[0], falling[1 + rng.integers(len(falling) - 1)])
    chosen = rng.choice(len(falling), min(NUM_UNIFORM, len(falling)), replace=False)
    return tuple(falling[i] for i in sorted(chosen))


def sandwich_widths(widths: Sequence[float], seed: int, iteration: int) -> tuple[float, ...]:
    """The widths of one iteration: the widest, the narrowest and a random other one, if any.

    A function of its arguments alone: every worker, and every resumed run, gets the same.

    Args:
        widths: the allowed widths in any order.
        seed: of the training, at least 0.
        iteration: at least 0.
    """
    widest, *others = sorted(set(widths), reverse=True)
    if not others:
        return (widest,)
    *between, narrowest = others
    if not between:
        return (widest, narrowest)
    choice = np.random.default_rng((seed, iteration)).integers(len(between))
    return (widest, narrowest, between[choice])


class SandwichLoss(nn.Module):
    """The losses of several widths in the forward of one module, so that DDP reduces once.

    Args:
        supernet: predicts the noise or the velocity.
        alphas_cumprod: float64 (T,).
        prediction: which of them, "epsilon" or "v_prediction".
        distillation: the share d of the full width's prediction in what narrower widths learn.
    """

    def __init__(
        self,
        supernet: Supernet,
        alphas_cumprod: Tensor,
        prediction: str = "epsilon",
        distillation: float = 0.0,
    ) -> None:
        super().__init__()
        self.supernet = supernet
        self.prediction = prediction
        self.distillation = distillation
        self.register_buffer("alphas_cumprod", alphas_cumprod, persistent=False)

    def forward(
        self,
        x_0: Tensor,
        t: Tensor,
        eps: Tensor,
        widths: Sequence[float],
        labels: Tensor | None = None,
        weights: Tensor | None = None,
        teacher: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Mean of weight (target - prediction)^2 over rows, channels and pixels, for each width.

        With distillation, the gradient of a narrower width is that of

            (1 - d) (target - prediction)^2 + d (the full width's prediction - prediction)^2

        while its value stays that of the first term with d = 0, so that losses can be compared.
        No gradient reaches the full width through what it teaches.

        Args:
            x_0: (batch, channels, height, width) float in [-1, 1], shared by all widths.
            t: (k, batch) int64 timesteps, one row a width.
            eps: (k, batch, channels, height, width) standard normal.
            widths: k of them.
            labels: what conditional networks are told, one row a width: (k, batch) int64 labels,
                or (k, batch, 2, K, L) what is given of windows.
            weights: (k, batch, channels, height, width), 1 in the mean; None for 1.
            teacher: the weights of the full network that teaches; None for the supernet's own as
                they are, which must be the first of the widths. Either way t, eps and labels must
                be the same for all widths.

        Returns:
            (k,) float32 losses, attached to the graph.
        """
        losses, taught = [], None
        told = [()] * len(widths) if labels is None else [(labels_k,) for labels_k in labels]
        weighted = [None] * len(widths) if weights is None else weights
        rows = zip(t, eps, widths, told, weighted, strict=True)
        for t_k, eps_k, width, told_k, weight in rows:
            level = self.alphas_cumprod[t_k]
            target = velocity(x_0, eps_k, level) if self.prediction == "v_prediction" else eps_k
            x_t = add_noise(x_0, eps_k, level)
            predicted = self.supernet(x_t, t_k, width, *told_k).to(target.dtype)
            loss = _mean_square(predicted, target, weight)
            if self.distillation and taught is None:
                taught = self._taught(predicted, width, (x_t, t_k, *told_k), teacher)
            if self.distillation and width != 1:
                change = _mean_square(predicted, taught, weight) - loss
                loss = loss + self.distillation * (change - change.detach())
            losses.append(loss)
        return torch.stack(losses)

    @torch.no_grad()
    def _taught(
        self,
        predicted: Tensor,
        width: float,
        inputs: tuple[Tensor, ...],
        teacher: Mapping[str, Tensor] | None,
    ) -> Tensor:
        """What the full width says of the inputs; `predicted` is what the first width does."""
        if teacher is not None:
            return self.supernet.predict_with(teacher, *inputs).to(predicted.dtype)
        if width != 1:
            raise ValueError(f"the first width is {width}; expected 1, which teaches the others")
        return predicted.detach()


def _mean_square(predicted: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of the squared differences, times their weights."""
    if weight is None:
        return nn.functional.mse_loss(predicted, target)
    # torch's own weight would divide by its sum, another one for each worker
    return (weight * (predicted - target) ** 2).mean()
