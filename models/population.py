"""Sampling a whole population of schedules on one block of images, sharing every network call.

Noise is a function of position (`noise.py`), so what a network says at the k-th step depends on
the first k steps alone. The schedules form a trie of such prefixes; each of its nodes is one
network call, made once, however many schedules pass through it. In sorted order every prefix
comes right before its extensions, so the sorted prefixes are a tape to be played from left to
right, with each state forgotten after its last use.

A schedule sampled in any company, order or division into blocks is, to the bit, the schedule
sampled alone: moves treat every image by itself, and networks always see the same batch shape.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from models.noise import INIT, normal
from models.sampling import Sampler

Step = tuple[int, float]
Prefix = tuple[Step, ...]
Network = Callable[[Tensor, Tensor], Tensor]


class State(NamedTuple):
    """All that the future of a chain depends on, after the network call of a step.

    Attributes:
        x: float32 (n, *shape), the images at the step's timestep.
        eps: like x, the network's output there.
    """

    x: Tensor
    eps: Tensor

    @property
    def num_bytes(self) -> int:
        """Memory that the state takes."""
        return sum(tensor.nbytes for tensor in self)


class StateCache:
    """States kept from one population to the next, so that a child pays only for what is new.

    A cache belongs to one supernet and one sampler. It changes what is computed, never a bit of
    the result.

    Attributes:
        bytes: memory of the kept states, never above the limit.
        hits: states that were found.
        calls: states that had to be computed, which is the number of network calls.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.hits = 0
        self.calls = 0
        self._states: dict[tuple[int, range, Prefix], State] = {}

    def get(self, seed: int, images: range, prefix: Prefix) -> State | None:
        """The state after `prefix`, if it is kept."""
        state = self._states.get((seed, images, prefix))
        self.hits += state is not None
        return state

    def put(self, seed: int, images: range, prefix: Prefix, state: State) -> None:
        """Take in a state that was just computed, and keep it if it fits."""
        self.calls += 1
        if self.bytes + state.num_bytes <= self.limit_bytes:
            self._states[seed, images, prefix] = state
            self.bytes += state.num_bytes

    def retain(self, schedules: Sequence[Sequence[Step]]) -> None:
        """Drop every state that is no prefix of one of these schedules."""
        wanted = {
            tuple(steps[:length]) for steps in schedules for length in range(1, len(steps) + 1)
        }
        self._states = {key: state for key, state in self._states.items() if key[-1] in wanted}
        self.bytes = sum(state.num_bytes for state in self._states.values())


def sample_population(
    networks: Mapping[float, Network],
    sampler: Sampler,
    schedules: Sequence[Sequence[Step]],
    *,
    seed: int,
    images: range,
    shape: tuple[int, ...],
    batch: int,
    states: StateCache | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, Tensor]]:
    """Sample one block of images by every schedule.

    Args:
        networks: by width, x float32 (batch, *shape) and t int64 (batch,) -> eps like x. Rows
            beyond the block are padding.
        sampler: makes the moves between the steps.
        schedules: of (timestep, width), timesteps falling; the first starts from unit noise.
        seed: of the noise.
        images: the block, at most `batch` indices.
        shape: of one image.
        batch: rows of every network call.
        states: where states are looked up and kept.
        device: of the noise and the states.

    Yields:
        An index into `schedules` and its x_0, float32 (len(images), *shape); each index once, in
        the order in which they are finished. Equal schedules share one tensor.

    Raises:
        ValueError: a block larger than the batch, or a schedule without steps.
    """
    if len(images) > batch:
        raise ValueError(f"a block of {len(images)} images; expected at most the batch, {batch}")
    indices = defaultdict(list)
    for index, steps in enumerate(schedules):
        if not steps:
            raise ValueError(f"schedule {index} has no steps; expected at least one")
        indices[tuple(steps)].append(index)

    states = StateCache(limit_bytes=0) if states is None else states
    block = _Block(networks, sampler, states, seed, images, shape, batch, device)
    for steps, x_0 in block.sample(indices):
        yield from ((index, x_0) for index in indices[steps])


@dataclass(frozen=True, eq=False)
class _Block:
    """One block of images; see `sample_population` for the attributes."""

    networks: Mapping[float, Network]
    sampler: Sampler
    states: StateCache
    seed: int
    images: range
    shape: tuple[int, ...]
    batch: int
    device: torch.device | str

    def sample(self, schedules: Collection[Prefix]) -> Iterator[tuple[Prefix, Tensor]]:
        """Each schedule, all of them distinct, and its x_0."""
        tape, live = self._plan(schedules)
        new = [prefix for prefix in tape if prefix not in live]
        last_child = {prefix[:-1]: prefix for prefix in new}
        last_user = {_stream(prefix): prefix for prefix in new}
        noise: dict[int, Tensor | None] = {}
        for prefix in tape:
            if prefix not in live:
                parent, stream = prefix[:-1], _stream(prefix)
                if stream not in noise:
                    noise[stream] = self._noise(stream)
                x = self._arrive(live.get(parent), prefix, noise[stream])
                # What no later move needs is gone before the network takes its memory
                if last_user[stream] is prefix:
                    del noise[stream]
                if last_child[parent] is prefix:
                    live.pop(parent, None)
                live[prefix] = State(x, self._predict(x, *prefix[-1]))
                self.states.put(self.seed, self.images, prefix, live[prefix])
            if prefix in schedules:
                yield prefix, self.sampler.move(*live[prefix], prefix[-1][0], None)
            if prefix not in last_child:
                del live[prefix]

    def _plan(self, schedules: Iterable[Prefix]) -> tuple[list[Prefix], dict[Prefix, State]]:
        """The prefixes whose states are needed, sorted, and the states that are known already.

        Every schedule is followed from its end towards its start, as far as a known state.
        """
        needed: set[Prefix] = set()
        known = {}
        for steps in schedules:
            for length in range(len(steps), 0, -1):
                prefix = steps[:length]
                if prefix in needed:
                    break
                needed.add(prefix)
                if (state := self.states.get(self.seed, self.images, prefix)) is not None:
                    known[prefix] = state
                    break
        return sorted(needed), known

    def _noise(self, stream: int) -> Tensor | None:
        if stream != INIT and not self.sampler.adds_noise:
            return None
        return normal(self.seed, self.images, stream, self.shape, self.device)

    def _arrive(self, parent: State | None, prefix: Prefix, noise: Tensor | None) -> Tensor:
        """x at the last step of `prefix`: unit noise at the first step, whatever its level."""
        if parent is None:
            return noise
        return self.sampler.move(*parent, prefix[-2][0], prefix[-1][0], noise)

    def _predict(self, x: Tensor, t: int, width: float) -> Tensor:
        """The network's eps, like x, by a call of `batch` rows."""
        rows = x.new_zeros(self.batch, *self.shape)
        rows[: len(x)] = x
        with torch.no_grad():
            eps = self.networks[width](rows, torch.full((self.batch,), t, device=self.device))
        # A copy, so that the padding does not live on, and the layout is never the network's
        return eps[: len(x)].to(torch.float32, copy=True, memory_format=torch.contiguous_format)


def _stream(prefix: Prefix) -> int:
    """The stream of the noise that leads to the last step of `prefix`."""
    return INIT if len(prefix) == 1 else prefix[-2][0] + 1
