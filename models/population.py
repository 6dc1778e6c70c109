"""Sampling a whole population of schedules on one block of images, sharing every network call.

Noise is a function of position (`chain_noise.py`), so what a network says at the k-th step depends
on the first k steps alone. The schedules form a trie of such prefixes; each of its nodes is one
network call, made once, however many schedules pass through it. The nodes, each branch to its
end before the next, are a tape to be played from left to right, with each state forgotten after
its last use.

A schedule sampled in any company, order or division into blocks is, to the bit, the schedule
sampled alone: moves treat every image by itself, and networks always see the same batch shape.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.chain_noise import ChainNoise, Move
from models.conditioning import Told
from models.sampling import History, Sampler
from models.states import State, StateCache, Step

Place = tuple[int] | tuple[int, float]
"""t, and its alpha_cumprod where that is not the sampler's."""
Network = Callable[..., Tensor]


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
        moves = [self._move_to(prefix) for prefix in tape if prefix not in live]
        noise = ChainNoise(
            self.sampler, self.seed, self.images, self.shape, self.device, moves
        )
        for prefix in tape:
            parent, (t, width, *level) = links[prefix]
            here = (t, *level)
            if prefix not in live:
                # What no later move needs is gone before the network takes its memory
                x, previous = self._arrive(prefix, live.get(parent), noise)
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

    def _move_to(self, prefix: int) -> Move:
        """That to the last step of a prefix."""
        links = self.states.trie.links
        parent, (t, *_) = links[prefix]
        return (links[parent][1][0] if parent else None), t

    def _arrive(
        self, prefix: int, parent: State | None, noise: ChainNoise
    ) -> tuple[Tensor, History | None]:
        """x at the last step of a prefix, and what a multistep solver remembers there."""
        links = self.states.trie.links
        added = noise.take(*self._move_to(prefix))
        if parent is None:
            return added, None
        before, (t, _, *level) = links[prefix]
        departed, _, *of_departed = links[before][1]
        x = self._move(parent, (departed, *of_departed), (t, *level), added)
        return x, self.sampler.remember(parent.x, parent.output, departed, *of_departed)

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
