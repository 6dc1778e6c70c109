"""Weights that learn: Adam, gradients clipped by their norm, and an exponential moving average.

Linear warm-up and cosine decay of the learning rate.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.ema import Ema
from orchestration.training_sections import Train
from orchestration.training_state import under


class LearningWeights:
    """The parameters of a module, their average, and all that the next step of them needs.

    Attributes:
        parameters: as they are, by name.
        ema: their average, which is the result.

    Args:
        module: on the device where it learns.
        train: rates and decays.
    """

    def __init__(self, module: nn.Module, train: Train) -> None:
        self.parameters = dict(module.named_parameters())
        self.ema = Ema(module, train.ema_decay)
        self._module, self._train = module, train
        self._optimizer = torch.optim.Adam(
            self.parameters.values(), lr=train.learning_rate, fused=True
        )

    def learn(self, loss: Tensor, iteration: int) -> Tensor:
        """One step down the gradient of a loss; the norm of that gradient, before clipping.

        Args:
            loss: scalar.
            iteration: iterations done, which the learning rate goes by.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(iteration, self._train)
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), self._train.clip_norm)
        self._optimizer.step()
        self.ema.update(self._module)
        return norm

    def state(self) -> dict[str, Tensor]:
        """Weights, moments and averages, by name."""
        tensors = {f"weights/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"ema/{name}": tensor for name, tensor in self.ema.state().items()}
        for name, parameter in self.parameters.items():
            for key, moment in self._optimizer.state[parameter].items():
                tensors[f"adam/{key}/{name}"] = moment
        return tensors

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` gave, among other tensors perhaps."""
        for name, weight in under("weights/", tensors):
            self.parameters[name].copy_(weight)
        self.ema.load_state(dict(under("ema/", tensors)))
        for key, moment in under("adam/", tensors):
            kind, _, name = key.partition("/")
            parameter = self.parameters[name]
            here = torch.empty_like(moment, device=parameter.device)
            if moment.shape == parameter.shape:  # fused Adam reads memory in its order
                here = torch.empty_like(parameter)
            self._optimizer.state[parameter][kind] = here.copy_(moment)


def learning_rate(iteration: int, train: Train) -> float:
    """Linear warm-up to `train.learning_rate`, under a half cosine that ends at 0."""
    warmup = min(1.0, (iteration + 1) / max(1, train.warmup_iterations))
    decay = (1 + math.cos(math.pi * iteration / train.iterations)) / 2
    return train.learning_rate * warmup * decay
