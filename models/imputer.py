"""CSDI's network as a builder of a width: it predicts the noise of hidden entries of a window.

Tashiro et al., "CSDI: Conditional score-based diffusion models for probabilistic time series
imputation", NeurIPS 2021 (arXiv 2107.03502), section 4 and appendix D; parameters and sizes as in
the authors' code, 414,065 of them for 35 variables at their sizes (64 channels, 8 heads, 4
layers). Where it differs:

- Queries, keys and values, gate and filter, residual and skip are layers of their own, where the
  authors cut one layer's output in two or three: so each nests by itself in a wider one.
- The side information is a sum of what depends on the time, on the variable and on the mask, so
  its projection is a sum of three, of which two are far smaller than the window.
- No dropout (theirs is .1, within the transformers): training is a function of position.

A window is (1, K, L): K variables at L times. The network is called as network(x_t, t, condition),
condition float (batch, 2, K, L): the given values (0 elsewhere) and the mask of what is given (1).
x_t counts only where nothing is given. What the network says of given entries has no meaning.
"""

import math

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from models.supernet import norm_parameters

STEP_SIZE, TIME_SIZE, VARIABLE_SIZE = 128, 128, 16
"""Of the embeddings of the step, the time and the variable, at every width."""


def imputer(
    *,
    num_variables: int,
    length: int,
    channels: int = 64,
    num_heads: int = 8,
    num_layers: int = 4,
    feedforward: int = 64,
    width: float = 1.0,
) -> "Imputer":
    """The network of one width: channels, heads and feed-forward times the width.

    Args:
        num_variables: K.
        length: L, times a window.
        channels: at width 1.
        num_heads: at width 1; heads have the same size at every width.
        num_layers: residual layers.
        feedforward: hidden channels of the transformers' feed-forward layers, at width 1.
        width: fraction of the channels.

    Raises:
        ValueError: sizes that are not whole at this width.
    """
    if channels % num_heads:
        raise ValueError(f"{channels} channels are not a multiple of num_heads {num_heads}")
    counts = {"channels": channels, "num_heads": num_heads, "feedforward": feedforward}
    slim = {name: _slim(count, name, width) for name, count in counts.items()}
    return Imputer(num_variables=num_variables, length=length, num_layers=num_layers, **slim)


def imputer_parts(network: "Imputer", private_norms: bool = False) -> dict[str, tuple[int, ...]]:
    """How its parameters nest, for `Supernet`: by their first entries, but for private norms."""
    return dict.fromkeys(norm_parameters(network), ()) if private_norms else {}


class Imputer(ModelMixin, ConfigMixin):
    """See the module; arguments as those of `imputer`, at the width that this one has."""

    @register_to_config
    def __init__(
        self,
        num_variables: int,
        length: int,
        channels: int,
        num_heads: int,
        num_layers: int,
        feedforward: int,
    ) -> None:
        super().__init__()
        self.step_1, self.step_2 = (nn.Linear(STEP_SIZE, STEP_SIZE) for _ in range(2))
        self.variables = nn.Embedding(num_variables, VARIABLE_SIZE)
        self.enter = _projection(2, channels)
        self.layers = nn.ModuleList(
            _ResidualLayer(channels, num_heads, feedforward) for _ in range(num_layers)
        )
        self.leave_1, self.leave_2 = _projection(channels, channels), nn.Linear(channels, 1)
        nn.init.zeros_(self.leave_2.weight)

    def forward(self, x_t: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The predicted noise.

        Args:
            x_t: (batch, 1, K, L) float.
            t: (batch,) int64 timesteps.
            condition: (batch, 2, K, L) float; see the module.

        Returns:
            Like x_t.
        """
        values, given = condition.unbind(1)
        noisy = torch.where(given > 0, torch.zeros_like(values), x_t[:, 0])
        x = F.relu(self.enter(torch.stack([values, noisy], -1)))  # (batch, K, L, channels)
        step = sines(t, STEP_SIZE, interleaved=False).to(x.dtype)
        step = F.silu(self.step_2(F.silu(self.step_1(step))))
        times = torch.arange(x.shape[2], device=x.device)
        times = sines(times, TIME_SIZE, interleaved=True).to(x.dtype)
        skips = torch.zeros_like(x)
        for layer in self.layers:
            x, skip = layer(x, step, times, self.variables.weight, given[..., None])
            skips = skips + skip
        x = skips / math.sqrt(len(self.layers))
        return self.leave_2(F.relu(self.leave_1(x))).squeeze(-1)[:, None]


class _ResidualLayer(nn.Module):
    """Attention over time, then over variables; a gate that the side information opens."""

    def __init__(self, channels: int, num_heads: int, feedforward: int) -> None:
        super().__init__()
        self.step = nn.Linear(STEP_SIZE, channels)
        self.over_time = TransformerLayer(channels, num_heads, feedforward)
        self.over_variables = TransformerLayer(channels, num_heads, feedforward)
        self.gate, self.filter = _Gated(channels), _Gated(channels)
        self.residual, self.skip = _projection(channels, channels), _projection(channels, channels)

    def forward(
        self, x: Tensor, step: Tensor, times: Tensor, variables: Tensor, given: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What goes to the next layer, and what to the end, each like x (batch, K, L, C)."""
        y = x + self.step(step)[:, None, None]
        y = self.over_time(y)
        y = self.over_variables(y.transpose(1, 2)).transpose(1, 2)
        side = (times, variables, given)
        y = torch.sigmoid(self.gate(y, *side)) * torch.tanh(self.filter(y, *side))
        return (x + self.residual(y)) / math.sqrt(2), self.skip(y)


class _Gated(nn.Module):
    """A linear function of the channels and of the side information, before its nonlinearity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = _projection(channels, channels)
        side_size = TIME_SIZE + VARIABLE_SIZE + 1
        self.time, self.variable, self.given = (
            _projection(size, channels, fan_in=side_size, bias=i == 0)
            for i, size in enumerate((TIME_SIZE, VARIABLE_SIZE, 1))
        )

    def forward(self, y: Tensor, times: Tensor, variables: Tensor, given: Tensor) -> Tensor:
        side = self.time(times) + self.variable(variables)[:, None]  # (K, L, channels)
        return self.channels(y) + side + self.given(given)


class TransformerLayer(nn.Module):
    """Self-attention over the last dimension but one: torch's `TransformerEncoderLayer`.

    Norms come after the sums, the activation is gelu, there is no dropout.
    """

    def __init__(self, channels: int, num_heads: int, feedforward: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        for part in (self.query, self.key, self.value):
            # As one matrix of 3 x channels rows, which torch's layer has
            bound = math.sqrt(6 / (4 * channels))
            nn.init.uniform_(part.weight, -bound, bound)
            nn.init.zeros_(part.bias)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.bias)
        self.linear_1 = nn.Linear(channels, feedforward)
        self.linear_2 = nn.Linear(feedforward, channels)
        self.norm_1, self.norm_2 = nn.LayerNorm(channels), nn.LayerNorm(channels)

    def forward(self, y: Tensor) -> Tensor:
        """Like y, (batch, rows, length, channels); each row attends within itself."""
        heads = (self._heads(part(y)) for part in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).reshape(y.shape)
        y = self.norm_1(y + self.out(attended))
        return self.norm_2(y + self.linear_2(F.gelu(self.linear_1(y))))

    def _heads(self, y: Tensor) -> Tensor:
        """(batch x rows, heads, length, channels of a head)."""
        return y.reshape(-1, y.shape[-2], self.num_heads, y.shape[-1] // self.num_heads).transpose(
            1, 2
        )


def sines(positions: Tensor, size: int, *, interleaved: bool) -> Tensor:
    """CSDI's embedding of positions (n,): float32 (n, size) of sines and cosines.

    Of a step, the frequencies 10^(4 j / (size / 2 - 1)) with all the sines first; of a time, the
    transformer's 10^(-8 j / size) with sines and cosines in turn (Vaswani et al. 2017).
    """
    half = torch.arange(size // 2, device=positions.device, dtype=torch.float32)
    exponents = -8 * half / size if interleaved else 4 * half / (size // 2 - 1)
    angles = positions[:, None].float() * 10**exponents
    waves = angles.sin(), angles.cos()
    return torch.stack(waves, -1).flatten(1) if interleaved else torch.cat(waves, -1)


def _projection(
    size: int, channels: int, fan_in: int | None = None, bias: bool = True
) -> nn.Linear:
    """A linear layer with He's normal initial weights; `fan_in` is that of a part of a layer."""
    layer = nn.Linear(size, channels, bias=bias)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / (fan_in or size)))
    return layer


def _slim(count: int, name: str, width: float) -> int:
    slim = round(count * width)
    if slim < 1 or abs(slim - count * width) > 1e-6:
        raise ValueError(f"width {width}: {name} {count} x {width} is not a whole number")
    return slim
