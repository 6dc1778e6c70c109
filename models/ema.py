"""Exponential moving average of a module's parameters.

average <- d average + (1 - d) parameter after each iteration n = 1, 2, .., with d = min(decay, n /
(n + 9)): early on, when the average would remember the initial weights, it is shorter (as
TensorFlow's `num_updates` does it).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

NUM_UPDATES = "num_updates"


class Ema:
    """Averages of a module's parameters under their names.

    Attributes:
        averages: tensors that nobody else holds, of the parameters' dtype and device.
        num_updates: iterations seen.

    Args:
        module: its parameters are the first value of the averages.
        decay: in [0, 1); 0 keeps the newest parameters.

    Raises:
        ValueError: decay out of range.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA decay {decay}: expected 0 <= decay < 1")
        self.decay = decay
        self.num_updates = 0
        self.averages = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Takes the parameters after an iteration into the averages."""
        self.num_updates += 1
        decay = min(self.decay, self.num_updates / (self.num_updates + 9))
        newest = dict(module.named_parameters())
        torch._foreach_lerp_(
            list(self.averages.values()), [newest[name] for name in self.averages], 1 - decay
        )

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Sets the parameters of `module` to the averages."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.averages[name])

    def state(self) -> dict[str, Tensor]:
        """The averages, and the number of updates (int64, scalar) under `num_updates`."""
        return {**self.averages, NUM_UPDATES: torch.tensor(self.num_updates)}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what `state` gave.

        Raises:
            ValueError: keys that are not this module's.
        """
        if state.keys() != self.state().keys():
            raise ValueError(
                f"EMA state: keys differ in {sorted(state.keys() ^ self.state().keys())}"
            )
        self.num_updates = int(state[NUM_UPDATES])
        for name, average in self.averages.items():
            average.copy_(state[name])
