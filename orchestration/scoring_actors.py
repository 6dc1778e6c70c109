"""The Ray actors that score: what they hold and answer, and how they come to live."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import ray
import torch
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError

from models.intervals import Replicates
from orchestration.errors import MachineError
from orchestration.machine import assigned_device, hardware, out_of_memory
from orchestration.patience import Patience, Say, free_now
from orchestration.placement import Placement
from orchestration.scorer import Scorer, Steps

NUM_RESTARTS = 3

# Between two looks at whether actors have started.
POLL_S = 1.0

OF_MEMORY = (
    "a smaller score.batch_size (of a new run), fewer score.actors_per_gpu, a smaller"
    " score.state_bytes, or GPUs that nobody else is on"
)
"""What mends a GPU that is too small."""


def start_actors(placement: Placement, num_scorers: int = 1) -> list[ActorHandle]:
    """Starts actors that hold no scorer yet, and at most `num_scorers` of them at a time."""
    actor_class = ray.remote(
        **placement.options, max_restarts=NUM_RESTARTS, max_task_retries=NUM_RESTARTS
    )(ScorerActor)
    return [actor_class.remote(num_scorers) for _ in range(placement.num_actors)]


def await_actors(
    actors: Sequence[ActorHandle], placement: Placement, say: Say, patience_s: float
) -> None:
    """Returns once all actors live, on devices that are alike.

    Args:
        actors: just started.
        placement: what each of them claims.
        say: takes lines on what is awaited.
        patience_s: longest wait.

    Raises:
        MachineError: some have found no place by then, torch cannot use their GPU, or their GPUs
            are of several types.
    """
    needed = {name: amount * len(actors) for name, amount in placement.bundle.items()}
    what = f"scoring actors, each with {placement.describe()}"
    patience = Patience(what, needed, say, patience_s, free_now)
    asked = [actor.hardware.remote() for actor in actors]
    waiting = asked
    while waiting:
        _, waiting = ray.wait(
            waiting, num_returns=len(waiting), timeout=POLL_S, fetch_local=False
        )
        if waiting:
            patience.tick(f"{len(waiting)} of {len(actors)}")
    try:
        check_alike(ray.get(asked))
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise MachineError(f"scoring actors were lost as they started: {error}") from error


def check_alike(found: Sequence[dict[str, str | bool]]) -> None:
    """Raises MachineError where GPUs are of several types: they would give several bits."""
    names = sorted({str(of_one["processor"]) for of_one in found if "device" in of_one})
    if len(names) > 1:
        raise MachineError(
            f"scoring actors are on GPUs of several types ({', '.join(names)}); expected one, such"
            " as by ray.accelerator_type (Ray's names for them: `ray status -v`)"
        )


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
            self.scorers[made_from] = self._guarded(make_scorer, *parts)
        self.scorers.move_to_end(made_from)
        return self._guarded(getattr(self.scorers[made_from], method), *args)

    def hardware(self) -> dict[str, str | bool]:
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

    def _guarded(self, function: Callable[..., object], *args: object) -> object:
        try:
            return function(*args)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(error, OF_MEMORY) from None  # no traceback holds on to tensors
