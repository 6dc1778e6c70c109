"""States of half-sampled images, and which of them are kept for schedules that begin alike."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import NamedTuple

from torch import Tensor

from models.sampling import History

Step = tuple[int, float] | tuple[int, float, float]
"""(t, width), and alpha_cumprod where it is not the sampler's at t."""


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
