"""Supernet: one set of weights that networks of several widths share.

A builder `width -> nn.Module` gives the network of every width. The weights of the widest one
(width 1) are stored; a narrower one takes the first entries of every dimension of every weight
(slimmable networks, Yu et al. 2019; Yang et al., arXiv 2310.03337, section 3.1). Two kinds of
parameters need more:

* Where the input of a layer is a concatenation, its dimension is sliced part by part, so that each
  channel meets the weights that it meets in the full network.
* Parameters whose meaning depends on the width cannot nest. They are private: each width has its
  own.

Nothing here knows what the networks are, except that they are called as `network(x_t, t)`, or as
`network(x_t, t, labels)` where they are conditional: whatever they are told is the third argument.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

Parts = dict[str, tuple[int, ...]]


class Output(Protocol):
    """What diffusers' models return."""

    sample: Tensor


def predict(network: nn.Module, *inputs: Tensor) -> Tensor:
    """What `network` says of (x_t, t): diffusers' models return it in a field `sample`."""
    return _unwrap(network(*inputs))


def _unwrap(output: Tensor | Output) -> Tensor:
    return output if isinstance(output, Tensor) else output.sample


def nested_slice(
    weight: Tensor, shape: Sequence[int], full_parts: Sequence[int], parts: Sequence[int]
) -> Tensor:
    """The entries of a full weight that a narrower network uses; gradients flow back to it.

    Args:
        weight: the full parameter. Its input dimension is the second, or the only one.
        shape: the narrower parameter's shape.
        full_parts: sizes of the parts that the full input dimension concatenates; empty for one.
        parts: their sizes in the narrower network.

    Returns:
        A tensor of `shape`: a view where the input is one part, else a new tensor.
    """
    if weight.shape == tuple(shape):
        return weight
    dim = _input_dim(weight)
    for other in range(weight.ndim):
        if other != dim:
            weight = weight.narrow(other, 0, shape[other])
    if not parts:
        return weight.narrow(dim, 0, shape[dim])
    pieces = weight.split(list(full_parts), dim)
    return torch.cat([p.narrow(dim, 0, n) for p, n in zip(pieces, parts, strict=True)], dim)


class Supernet(nn.Module):
    """The full network, and the private parameters of each narrower width.

    Attributes:
        full: the network of width 1, an ordinary module.
        widths: the allowed widths, falling from 1.
        private: for each width below 1, in the order of `widths`, the parameters that it does not
            share.

    Args:
        build: makes the network of a width. Parameter names must not depend on the width.
        widths: fractions in (0, 1], among them 1.
        parts: for a network, the parameters that don't nest as one range: the sizes of the parts
            that their input dimension concatenates or, for parameters that cannot nest, an empty
            tuple.

    Raises:
        ValueError: bad widths, or a network whose parameters do not fit into the full ones.
    """

    def __init__(
        self,
        build: Callable[[float], nn.Module],
        widths: Sequence[float],
        parts: Callable[[nn.Module], Parts],
    ) -> None:
        super().__init__()
        self.widths = _checked(widths)
        self.full = build(1.0)
        self._build = build
        self._full_parts = parts(self.full)
        # Shells without memory, given their weights at each call; in a dict: no submodules.
        self._shells: dict[float, nn.Module] = {}
        self._parts: dict[float, Parts] = {}
        self.private = nn.ModuleList()
        for width in self.widths[1:]:
            network = build(width)
            own = {n: p for n, p in network.named_parameters() if self._is_private(n)}
            self.private.append(
                nn.ParameterDict(
                    {_attribute(n): nn.Parameter(p.detach().clone()) for n, p in own.items()}
                )
            )
            self._shells[width] = network.to("meta")
            self._parts[width] = parts(network)
            self._check_fit(width)

    def forward(
        self, x_t: Tensor, t: Tensor, width: float, labels: Tensor | None = None
    ) -> Tensor:
        """The prediction of one width; gradients reach the full and the private parameters.

        Args:
            x_t: (batch, ...) float.
            t: (batch,) int64 timesteps.
            width: one of `widths`.
            labels: what conditional networks are told: (batch,) int64, or what is given of
                windows, (batch, 2, K, L) float.

        Raises:
            ValueError: a width that is not one of `widths`.
        """
        self._index(width)
        inputs = (x_t, t) if labels is None else (x_t, t, labels)
        if width == 1:
            return predict(self.full, *inputs)
        return _unwrap(functional_call(self._shells[width], self.parameters_of(width), inputs))

    def predict_with(self, weights: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
        """The prediction of the full width with other weights, by their names there."""
        return _unwrap(functional_call(self.full, dict(weights), inputs))

    def parameters_of(self, width: float) -> dict[str, Tensor]:
        """The parameters of one width under its network's names, attached to the graph."""
        index = self._index(width)
        full = dict(self.full.named_parameters())
        if width == 1:
            return full
        private, full_parts, parts = self.private[index - 1], self._full_parts, self._parts[width]
        return {
            n: private[_attribute(n)]
            if self._is_private(n)
            else nested_slice(full[n], shell.shape, full_parts.get(n, ()), parts.get(n, ()))
            for n, shell in self._shells[width].named_parameters()
        }

    @torch.no_grad()
    def subnet(self, width: float) -> nn.Module:
        """An ordinary network with its own contiguous weights, in eval mode, without gradients."""
        weights = self.parameters_of(width)
        with torch.random.fork_rng(devices=()):  # initial weights are drawn, then overwritten
            network = self._build(width)
        for name, parameter in network.named_parameters():
            parameter.copy_(weights[name])
        return network.to(next(iter(weights.values())).device).eval().requires_grad_(False)

    def private_state(self) -> dict[str, Tensor]:
        """The private parameters under the keys `{width}/{name}`, detached."""
        return {
            f"{width}/{name}": self.private[i][_attribute(name)].detach()
            for i, width in enumerate(self.widths[1:])
            for name in sorted(filter(self._is_private, self._full_parts))
        }

    @torch.no_grad()
    def load_private_state(self, state: Mapping[str, Tensor]) -> None:
        """Copies what `private_state` gave into the private parameters.

        Raises:
            ValueError: missing or unknown keys, or a tensor of another shape.
        """
        own = self.private_state()
        if own.keys() != state.keys():
            raise ValueError(
                f"private parameters: keys differ in {sorted(own.keys() ^ state.keys())}"
            )
        for key, tensor in own.items():
            if tensor.shape != state[key].shape:
                raise ValueError(
                    f"private parameter {key}: shape {tuple(state[key].shape)},"
                    f" expected {tuple(tensor.shape)}"
                )
            tensor.copy_(state[key])  # shares memory with the parameter

    def train(self, mode: bool = True) -> "Supernet":
        """Sets the mode of the narrower networks too, which `nn.Module` does not see."""
        for shell in self._shells.values():
            shell.train(mode)
        return super().train(mode)

    def _index(self, width: float) -> int:
        if width not in self.widths:
            raise ValueError(f"width {width}: expected one of {self.widths}")
        return self.widths.index(width)

    def _is_private(self, name: str) -> bool:
        return self._full_parts.get(name) == ()

    def _check_fit(self, width: float) -> None:
        full = dict(self.full.named_parameters())
        narrow = dict(self._shells[width].named_parameters())
        if full.keys() != narrow.keys():
            raise ValueError(
                f"width {width}: other parameters: {sorted(full.keys() ^ narrow.keys())}"
            )
        for name, shell in narrow.items():
            if self._is_private(name):
                continue
            fits = len(shell.shape) == len(full[name].shape) and all(
                n <= m for n, m in zip(shell.shape, full[name].shape, strict=True)
            )
            for parts, weight in ((self._full_parts, full[name]), (self._parts[width], shell)):
                fits &= name not in parts or sum(parts[name]) == weight.shape[_input_dim(weight)]
            if not fits:
                raise ValueError(
                    f"width {width}: {name} {tuple(shell.shape)} does not nest in"
                    f" {tuple(full[name].shape)}"
                )


def norm_parameters(network: nn.Module) -> list[str]:
    """The names of the scales and shifts of all norms, which a width may have for itself."""
    return [
        f"{name}.{kind}"
        for name, module in network.named_modules()
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm))
        for kind, _ in module.named_parameters()
    ]


def _input_dim(weight: Tensor) -> int:
    return min(1, weight.ndim - 1)


def _checked(widths: Sequence[float]) -> tuple[float, ...]:
    falling = tuple(sorted({float(width) for width in widths}, reverse=True))
    if not falling or falling[0] != 1 or falling[-1] <= 0:
        raise ValueError(f"widths {tuple(widths)}: expected fractions in (0, 1], among them 1")
    return falling


def _attribute(name: str) -> str:
    return name.replace(".", "/")  # torch allows no dots in the names of parameters
