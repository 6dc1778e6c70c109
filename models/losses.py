"""The loss of a supernet: squared error of the prediction, at several widths at once.

The sandwich rule (Yu & Huang 2019; Yang et al., arXiv 2310.03337, section 3.1): every iteration
trains the widest, the narrowest and one other width, on the same x_0 with timesteps and noise of
their own.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from models.diffusion import add_noise, velocity
from models.supernet import Supernet


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
    """

    def __init__(
        self, supernet: Supernet, alphas_cumprod: Tensor, prediction: str = "epsilon"
    ) -> None:
        super().__init__()
        self.supernet = supernet
        self.prediction = prediction
        self.register_buffer("alphas_cumprod", alphas_cumprod, persistent=False)

    def forward(
        self,
        x_0: Tensor,
        t: Tensor,
        eps: Tensor,
        widths: Sequence[float],
        labels: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Mean of weight (target - prediction)^2 over rows, channels and pixels, for each width.

        Args:
            x_0: (batch, channels, height, width) float in [-1, 1], shared by all widths.
            t: (k, batch) int64 timesteps, one row a width.
            eps: (k, batch, channels, height, width) standard normal.
            widths: k of them.
            labels: what conditional networks are told, one row a width: (k, batch) int64 labels,
                or (k, batch, 2, K, L) what is given of windows.
            weights: (k, batch, channels, height, width), 1 in the mean; None for 1.

        Returns:
            (k,) losses, attached to the graph.
        """
        losses = []
        told = [()] * len(widths) if labels is None else [(labels_k,) for labels_k in labels]
        weighted = [None] * len(widths) if weights is None else weights
        rows = zip(t, eps, widths, told, weighted, strict=True)
        for t_k, eps_k, width, told_k, weight in rows:
            level = self.alphas_cumprod[t_k]
            target = velocity(x_0, eps_k, level) if self.prediction == "v_prediction" else eps_k
            x_t = add_noise(x_0, eps_k, level)
            prediction = self.supernet(x_t, t_k, width, *told_k)
            if weight is None:
                losses.append(nn.functional.mse_loss(prediction, target))
            else:  # torch's own weight would divide by its sum, another one for each worker
                losses.append((weight * (prediction - target) ** 2).mean())
        return torch.stack(losses)
