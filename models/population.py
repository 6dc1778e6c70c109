"""Sampling a whole population of schedules on one block of images, sharing every network call.

Noise is a function of position (`noise.py`), so what a network says at the k-th step depends on
the first k steps alone. The schedules form a trie of such prefixes; each of its nodes is one
network call, made once, however many schedules pass through it. The nodes, each branch to its
end before the next, are a tape to be played from left to right, with each state forgotten after
its last use.

A schedule sampled in any company, order or division into blocks is, to the bit, the schedule
sampled alone: moves treat every image by itself, and networks always see the same batch shape.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from models.conditioning import Told
from models.noise import INIT, normal
from models.sampling import History, Sampler
from models.transfer import copied

Step = tuple[int, float] | tuple[int, float, float]
"""(t, width), and alpha_cumprod where it is not the sampler's at t."""
Place = tuple[int] | tuple[int, float]
"""t, and its alpha_cumprod where that is not the sampler's."""
Network = Callable[..., Tensor]


class Trie:
    """Prefixes of schedules as numbers, so that a prefix takes no more room than its last step.

    Attributes:
        links: (parent, step) of each prefix, by number; 0 is the empty prefix, and has none. No
            number is given twice.
        depths: how many steps each prefix has, the empty one too.
    """

    def __init__(self) -> None:
        self.links: dict[int, tuple[int, Step]] = {}
        self.depths = {0: 0}
        self._numbers: dict[tuple[int, Step], int] = {}
        self._next = count(1)

    def path(self, steps: Sequence[Step]) -> list[int]:
        """The numbers of all prefixes of `steps` but the empty one, shortest first."""
        path = [0]
        for step in steps:
            link = (path[-1], step)
            if link not in self._numbers:
                self._numbers[link] = next(self._next)
                self.links[self._numbers[link]] = link
                self.depths[self._numbers[link]] = self.depths[path[-1]] + 1
            path.append(self._numbers[link])
        return path[1:]

    def retain(self, schedules: Sequence[Sequence[Step]]) -> None:
        """Forget every number that is of no prefix of one of these schedules."""
        retained = {prefix for steps in schedules for prefix in self.path(steps)}
        for prefix in self.links.keys() - retained:
            del self._numbers[self.links.pop(prefix)], self.depths[prefix]


class State(NamedTuple):
    """All that the future of a chain depends on, after the network call of a step.

    Attributes:
        x: float32 (n, *shape), the images at the step's timestep.
        output: like x, the network's prediction there.
        previous: what a multistep solver remembers of the step before; None where it needs not,
            and at the first step.
    """

    x: Tensor
    output: Tensor
    previous: History | None = None

    @property
    def num_bytes(self) -> int:
        """Memory that the state takes."""
        past = 0 if self.previous is None else self.previous.x_0.nbytes
        return self.x.nbytes + self.output.nbytes + past


class StateCache:
    """States kept from one population to the next, so that a child pays only for what is new.

    Where there is no room for all states, those after every second step are kept, or after every
    fourth, and so on: a child then pays for a few steps more than it has changed, on all images
    alike, where otherwise it would pay for everything on most of them.

    A cache belongs to one supernet, one sampler and one conditioning. It changes what is computed,
    never a bit of the result.

    Attributes:
        trie: numbers the prefixes.
        bytes: memory of the kept states, never above the limit.
        hits: states that were found.
        calls: states that had to be computed, by a network call each, or two where it is guided.
        made: those times their images.
        alone: what it had been had every schedule been sampled alone.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.trie = Trie()
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.hits = 0
        self.calls = self.made = self.alone = 0
        self._stride = 1
        self._states: dict[tuple[int, range, int], State] = {}

    def get(self, seed: int, images: range, prefix: int) -> State | None:
        """The state after a prefix, if it is kept."""
        state = self._states.get((seed, images, prefix))
        self.hits += state is not None
        return state

    def put(self, seed: int, images: range, prefix: int, state: State) -> None:
        """Take in a state that was just computed, and keep it if it fits."""
        self.calls += 1
        self.made += len(images)
        while self._has_turn(prefix, self._stride):
            if self.bytes + state.num_bytes <= self.limit_bytes:
                self._states[seed, images, prefix] = state
                self.bytes += state.num_bytes
                return
            if not any(self._has_turn(key[-1], 2 * self._stride) for key in self._states):
                return  # nothing would be left of what is kept
            self._stride *= 2
            self._drop(lambda kept: not self._has_turn(kept, self._stride))

    def retain(self, schedules: Sequence[Sequence[Step]]) -> None:
        """Drop every state that is of no prefix of one of these schedules.

        Never call it while a population that uses the cache is being sampled.
        """
        self.trie.retain(schedules)
        self._drop(lambda kept: kept not in self.trie.links)
        self._stride = 1

    def _has_turn(self, prefix: int, stride: int) -> bool:
        return self.trie.depths[prefix] % stride == 0

    def _drop(self, is_dropped: Callable[[int], bool]) -> None:
        """Drop the states after some prefixes."""
        self._states = {
            key: state for key, state in self._states.items() if not is_dropped(key[-1])
        }
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
    conditioning: Told | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, Tensor]]:
    """Sample one block of images by every schedule.

    Args:
        networks: by width, x float32 (batch, *shape) and t (batch,), int64 or float32 between ->
            what the sampler takes for a prediction, like x; also given what it is told where
            there is a conditioning. Rows beyond the block are padding.
        sampler: makes the moves between the steps.
        schedules: of (timestep, width), timesteps falling; the first starts from unit noise.
        seed: of the noise.
        images: the block, at most `batch` indices.
        shape: of one image.
        batch: rows of every network call.
        states: where states are looked up and kept.
        conditioning: what conditional networks are told of the images.
        device: of the networks and the states.

    Yields:
        An index into `schedules` and its x_0, float32 (len(images), *shape); each index once, in
        the order in which they are finished. Equal schedules share one tensor.

    Raises:
        ValueError: a block larger than the batch, or a schedule without steps.
    """
    if len(images) > batch:
        raise ValueError(f"a block of {len(images)} images; expected at most the batch, {batch}")
    if not all(schedules):
        raise ValueError("a schedule without steps; expected at least one step in each")
    states = StateCache(limit_bytes=0) if states is None else states
    states.alone += sum(map(len, schedules)) * len(images)
    paths, indices = [], defaultdict(list)
    for steps, index in sorted((tuple(steps), index) for index, steps in enumerate(schedules)):
        paths.append(states.trie.path(steps))
        indices[paths[-1][-1]].append(index)
    block = _Block(networks, sampler, states, conditioning, seed, images, shape, batch, device)
    for end, x_0 in block.sample(paths):
        yield from ((index, x_0) for index in indices[end])


@dataclass(frozen=True, eq=False)
class _Block:
    """One block of images; see `sample_population` for the attributes."""

    networks: Mapping[float, Network]
    sampler: Sampler
    states: StateCache
    conditioning: Told | None
    seed: int
    images: range
    shape: tuple[int, ...]
    batch: int
    device: torch.device | str

    def sample(self, paths: list[list[int]]) -> Iterator[tuple[int, Tensor]]:
        """The last prefix of each path, once, and its x_0. Paths come in sorted order."""
        tape, live = self._plan(paths)
        ends = {path[-1] for path in paths}
        links = self.states.trie.links
        last_child = {links[prefix][0]: prefix for prefix in tape if prefix not in live}
        last_user = {self._stream(prefix): prefix for prefix in tape if prefix not in live}
        noise: dict[int, Tensor | None] = {}
        for prefix in tape:
            parent, (t, width, *level) = links[prefix]
            here = (t, *level)
            if prefix not in live:
                stream = self._stream(prefix)
                if stream not in noise:
                    noise[stream] = self._noise(stream)
                if parent:
                    departed, _, *level = links[parent][1]
                    x = self._move(live[parent], (departed, *level), here, noise[stream])
                    previous = self.sampler.remember(*live[parent][:2], departed, *level)
                else:
                    x, previous = noise[stream], None
                # What no later move needs is gone before the network takes its memory
                if last_user[stream] == prefix:
                    del noise[stream]
                if last_child[parent] == prefix:
                    live.pop(parent, None)
                live[prefix] = State(x, self._predict(x, here, width), previous)
                self.states.put(self.seed, self.images, prefix, live[prefix])
            if prefix in ends:
                yield prefix, self._move(live[prefix], here, None)
            if prefix not in last_child:
                del live[prefix]

    def _move(
        self, state: State, here: Place, there: Place | None, noise: Tensor | None = None
    ) -> Tensor:
        t, a_t = (*here, None)[:2]
        s, a_s = (*(there or (None,)), None)[:2]
        return self.sampler.move(
            state.x, state.output, t, s, noise, state.previous, (a_t, a_s)
        )

    def _plan(self, paths: list[list[int]]) -> tuple[list[int], dict[int, State]]:
        """The prefixes whose states are needed, parents first, and the states known already.

        Every path is followed from its end towards its start, as far as a known state.
        """
        needed: set[int] = set()
        known = {}
        for path in paths:
            for prefix in reversed(path):
                if prefix in needed:
                    break
                needed.add(prefix)
                if (state := self.states.get(self.seed, self.images, prefix)) is not None:
                    known[prefix] = state
                    break
        tape = dict.fromkeys(prefix for path in paths for prefix in path if prefix in needed)
        return list(tape), known

    def _stream(self, prefix: int) -> int:
        """The stream of the noise with which a chain arrives at the last step of a prefix."""
        links = self.states.trie.links
        parent = links[prefix][0]
        return links[parent][1][0] + 1 if parent else INIT

    def _noise(self, stream: int) -> Tensor | None:
        """The noise of a stream, if the sampler has a use for it."""
        if stream != INIT and not self.sampler.adds_noise:
            return None
        # Made on the host whatever the device, whose logarithm may end in another bit
        return copied(normal(self.seed, self.images, stream, self.shape), self.device)

    def _predict(self, x: Tensor, here: Place, width: float) -> Tensor:
        """The network's prediction, like x, by calls of `batch` rows."""
        rows = x.new_zeros(self.batch, *self.shape)
        rows[: len(x)] = x
        told = self.sampler.told(*here)
        times, network = torch.full((self.batch,), told, device=self.device), self.networks[width]
        with torch.no_grad():
            if self.conditioning is None:
                output = network(rows, times)
            else:
                output = self.conditioning.predict(network, rows, times, self.images)
        # A copy, so that the padding does not live on, and the layout is never the network's
        return output[: len(x)].to(torch.float32, copy=True, memory_format=torch.contiguous_format)
