"""Scoring on parallel Ray actors.

A population is scored batch by batch: each batch of images is one task, always given to the same
actor, which keeps the states that later candidates can start from. Where there are fewer batches
than actors, the population is cut too, into runs of lexicographic neighbours (subtrees). Blocks
are put together in image order, so neither the number of actors nor the order of arrival changes
a bit. A lost actor is started again by Ray, and its tasks run again to the same bits.
"""

import math
from collections.abc import Callable, Sequence

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from models.intervals import Replicates
from models.moments import NonFiniteFeatures
from orchestration.cluster import num_cpus
from orchestration.errors import DataError, MachineError
from orchestration.scorer import Scorer, Steps

NUM_RESTARTS = 3

# An actor computes on one core, and leaves a little of it to the searches that feed it.
ACTOR_CPUS = 0.9


def batches(num_images: int, batch_size: int) -> list[range]:
    """Consecutive image indices, the last run perhaps shorter."""
    starts = range(0, num_images, batch_size)
    return [range(start, min(start + batch_size, num_images)) for start in starts]


class Pool:
    """Actors that score; can be handed to other processes of the same Ray job.

    Args:
        actors: handles of `Scorer` actors.
        batch_size: images a task.
        shared: what the actors were made from; held for as long as they may be restarted.
        timeout_s: longest wait for one population's scores.
    """

    def __init__(
        self,
        actors: Sequence[ActorHandle],
        batch_size: int,
        shared: ObjectRef | None = None,
        timeout_s: float = 24 * 3600.0,
    ) -> None:
        self.actors = list(actors)
        self.batch_size = batch_size
        self.shared = shared
        self.timeout_s = timeout_s

    def distances(
        self,
        schedules: Sequence[Steps],
        seed: int,
        num_images: int,
        tell: Callable[[int, int], None] | None = None,
    ) -> list[Replicates]:
        """Scores a population and returns its distances, in the order given.

        Args:
            schedules: steps of each.
            seed: of the noise.
            num_images: that each is scored on.
            tell: called with (batches done, batches in all) after each batch but the last.

        Raises:
            MachineError: actors stay lost or answer too late.
            DataError: a schedule's samples are not finite: the supernet has diverged.
        """
        blocks = self.blocks(schedules, seed, num_images)
        judged = [
            self.actors[i % len(self.actors)].judge.remote(*refs) for i, refs in enumerate(blocks)
        ]
        if tell is not None:
            num_batches = len(blocks[0])
            for done in range(1, num_batches):
                refs = [of_schedule[done - 1] for of_schedule in blocks]
                ray.wait(refs, num_returns=len(refs), timeout=self.timeout_s, fetch_local=False)
                tell(done, num_batches)
        return self._get(judged)

    def blocks(
        self, schedules: Sequence[Steps], seed: int, num_images: int
    ) -> list[list[ObjectRef]]:
        """References to each schedule's blocks, batch by batch."""
        runs = batches(num_images, self.batch_size)
        cuts = _cuts(schedules, max(1, len(self.actors) // len(runs)))
        blocks: list[list[ObjectRef]] = [[] for _ in schedules]
        for b, images in enumerate(runs):
            for c, members in enumerate(cuts):
                actor = self.actors[(b * len(cuts) + c) % len(self.actors)]
                refs = actor.score.options(num_returns=len(members)).remote(
                    [schedules[i] for i in members], seed, images
                )
                if len(members) == 1:
                    refs = [refs]
                for i, ref in zip(members, refs, strict=True):
                    blocks[i].append(ref)
        return blocks

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose states later populations will start from."""
        for actor in self.actors:
            actor.keep.remote(schedules)

    def one(self, method: str, *args: object) -> object:
        """The answer of the first actor to one call."""
        return self._get([getattr(self.actors[0], method).remote(*args)])[0]

    def close(self) -> None:
        """Ends the actors."""
        for actor in self.actors:
            ray.kill(actor)

    def _get(self, refs: Sequence[ObjectRef]) -> list:
        try:
            return ray.get(list(refs), timeout=self.timeout_s)
        except GetTimeoutError as error:
            raise MachineError(f"scoring took longer than {self.timeout_s:.0f} s") from error
        except RayTaskError as error:
            if isinstance(error.cause, NonFiniteFeatures):
                raise DataError(f"samples of the supernet: {error.cause}") from error
            raise error.cause from error
        except RayError as error:  # an actor, its node or what it had answered is lost
            if isinstance(error, RayActorError) and error.actor_init_failed:
                raise  # our own fault: the scorer could not be built
            raise MachineError(f"scoring actors were lost too often: {error}") from error


def start_pool(
    make_scorer: Callable[..., Scorer], args: Sequence[object], num_actors: int, batch_size: int
) -> Pool:
    """Starts actors, each holding `make_scorer(*args)`; returns before they are ready."""
    actor_class = ray.remote(
        num_cpus=cpus_of_actor(num_actors, num_cpus()),
        max_restarts=NUM_RESTARTS,
        max_task_retries=NUM_RESTARTS,
    )(_ScorerActor)
    # One copy in the object store for all actors; the pool holds on to it for restarts.
    shared = ray.put((make_scorer, tuple(args)))
    actors = [actor_class.remote([shared]) for _ in range(num_actors)]
    return Pool(actors, batch_size, shared)


def cpus_of_actor(num_actors: int, cpus: int) -> float:
    """The share of a CPU that each actor claims; where they outnumber the CPUs, several fit."""
    return ACTOR_CPUS / math.ceil(num_actors / cpus)


class _ScorerActor:
    """A `Scorer` behind Ray; a population of one returns its only entry itself."""

    def __init__(self, shared: list[ObjectRef]) -> None:
        make_scorer, args = ray.get(shared[0])
        self.scorer = make_scorer(*args)

    def score(self, schedules: Sequence[Steps], seed: int, images: range) -> list:
        blocks = self.scorer.score(schedules, seed, images)
        return blocks if len(blocks) > 1 else blocks[0]

    def judge(self, *batches: list) -> Replicates:
        return self.scorer.judge(*batches)

    def keep(self, schedules: Sequence[Steps]) -> None:
        self.scorer.keep(schedules)

    def sample(self, steps: Steps, seed: int, images: range) -> tuple:
        return self.scorer.sample(steps, seed, images)

    def latencies(self) -> dict[float, float]:
        return self.scorer.latencies()


def _cuts(schedules: Sequence[Steps], parts: int) -> list[list[int]]:
    """Positions of the schedules in runs of lexicographic neighbours, as even as can be."""
    order = sorted(range(len(schedules)), key=lambda i: tuple(schedules[i]))
    parts = min(parts, len(order))
    edges = [len(order) * p // parts for p in range(parts + 1)]
    return [order[a:b] for a, b in zip(edges, edges[1:], strict=False)]
