"""The Ray actors that score: what they hold and answer."""

from collections import OrderedDict
from collections.abc import Sequence

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from models.intervals import Replicates
from orchestration.actors import started
from orchestration.gpu_faults import guarded
from orchestration.machine import Hardware, assigned_device, hardware
from orchestration.placement import Placement
from orchestration.scorer import Scorer, Steps

OF_MEMORY = (
    "a smaller score.batch_size (of a new run), fewer score.actors_per_gpu, a smaller"
    " score.state_bytes, or GPUs that nobody else is on"
)
"""What mends a GPU that is too small."""


def start_actors(placement: Placement, num_scorers: int = 1) -> list[ActorHandle]:
    """Starts actors that hold no scorer yet, and at most `num_scorers` of them at a time."""
    return started(ScorerActor, placement, num_scorers)


class ScorerActor:
    """`Scorer`s behind Ray, each built at its first call, and again after a restart.

    What one is built from comes with every call, as a reference: Ray warns on stderr of actors
    that have it as an argument of their constructor.

    Args:
        num_scorers: held at a time; the one that was not used for longest goes.
    """

    def __init__(self, num_scorers: int) -> None:
        self.num_scorers = num_scorers
        self.scorers: OrderedDict[ObjectRef, Scorer] = OrderedDict()

    def call(self, shared: list[ObjectRef], method: str, *args: object) -> object:
        """The answer of a method of the scorer that is made from `shared`."""
        (made_from,) = shared
        if made_from not in self.scorers:
            while len(self.scorers) >= self.num_scorers:
                self.scorers.popitem(last=False)  # before the next one takes its memory
            make_scorer, parts = ray.get(made_from)
            self.scorers[made_from] = guarded(OF_MEMORY, make_scorer, *parts)
        self.scorers.move_to_end(made_from)
        return guarded(OF_MEMORY, getattr(self.scorers[made_from], method), *args)

    def hardware(self) -> Hardware:
        """The device that this actor has been given; MachineError where torch can't use it."""
        return hardware(assigned_device())

    def score(
        self,
        shared: list[ObjectRef],
        schedules: Sequence[Steps],
        seed: int,
        images: range,
        whole: bool = False,
    ) -> list:
        """The blocks of each schedule; of one schedule its blocks themselves."""
        blocks = self.call(shared, "score", schedules, seed, images, whole)
        return blocks if len(blocks) > 1 else blocks[0]

    def judge(
        self, shared: list[ObjectRef], num_schedules: int, *blocks: object
    ) -> list[Replicates]:
        """The distances of schedules, from the blocks of the first, of the second, ..."""
        size = len(blocks) // num_schedules
        return [
            self.call(shared, "judge", *blocks[i : i + size])
            for i in range(0, len(blocks), size)
        ]
