"""Scoring on parallel Ray actors.

A population is scored batch by batch: each batch of images is one task, always given to the same
actor, which keeps the states that later candidates can start from. Where there are fewer batches
than actors, the population is cut too, into runs of lexicographic neighbours (subtrees), but not
for rewards, where shared calls are counted once. Blocks
are put together in image order, so neither the number of actors nor the order of arrival changes
a bit. A lost actor is started again by Ray, and its tasks run again to the same bits.

Several pools may go through the same actors, one for each search of a sweep: an actor keeps the
scorers of those that it last worked for, as many as it was told to, and builds one when it is
first asked for it.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from models.crps import Errors
from models.intervals import Replicates
from models.moments import NonFiniteFeatures
from orchestration.batches import batches, cuts
from orchestration.errors import DataError, MachineError
from orchestration.fidelity import MAX_IMAGES, Fidelity
from orchestration.placement import Placement
from orchestration.scorer import Scorer, Steps
from orchestration.scoring_actors import start_actors

MOST_JUDGED = 8
"""Schedules a task: their blocks are in memory together."""


class Pool:
    """Actors that score; can be handed to other processes of the same Ray job.

    Args:
        actors: handles of `ScorerActor`s.
        batch_size: images a task.
        shared: what their scorers are made from.
        timeout_s: longest wait for a batch once the one before it has come, and for what is made
            of all of them: not for the whole, since many images on large networks take days.
    """

    def __init__(
        self,
        actors: Sequence[ActorHandle],
        batch_size: int,
        shared: ObjectRef,
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
            MachineError: actors stay lost, or no batch comes for `timeout_s`.
            DataError: a schedule's samples are not finite: the supernet has diverged.
        """
        blocks = self.blocks(schedules, seed, batches(num_images, self.batch_size))
        judged = self._judging(blocks)
        self._follow(blocks, tell)
        return self._judged(judged)

    def appraise(
        self,
        schedules: Sequence[Steps],
        seed: int,
        num_images: int,
        real: np.ndarray | None,
        tell: Callable[[int, int], None] | None = None,
    ) -> tuple[list[Replicates], list[Fidelity | Errors]]:
        """As `distances`, and further numbers on the same images, or the first of them.

        They are KID, precision and recall; of windows MAE and RMSE.

        Args:
            schedules: steps of each.
            seed: of the noise.
            num_images: that each is scored on.
            real: features (M, D) of real images, all that KID, precision and recall look at; None
                for windows.
            tell: see `distances`.
        """
        runs = batches(num_images, self.batch_size)
        blocks = self.blocks(schedules, seed, runs, num_whole=MAX_IMAGES)
        judged = self._judging(blocks)
        num_batches = math.ceil(min(num_images, MAX_IMAGES) / self.batch_size)
        shared = ray.put(real)
        opinions = [
            self._call(self.actors[i % len(self.actors)], "fidelity", shared, *refs[:num_batches])
            for i, refs in enumerate(blocks)
        ]
        self._follow(blocks, tell)
        return self._judged(judged), self._get(opinions)

    def rewards(
        self,
        schedules: Sequence[Steps],
        seed: int,
        num_images: int,
        real: np.ndarray | None,
        first: int = 0,
        finer: Steps | None = None,
    ) -> tuple[list[float], list[float]]:
        """What few samples tell of each schedule without bias; lower is better.

        The population stays whole, so that first steps are shared however many actors there are,
        and as many network calls are made as `count_calls` says. Arguments as of `appraise`.

        Args:
            first: index of the first image.
            finer: a schedule that the others' samples are held against.

        Returns:
            The quality of each, and the distance of each from the finer one: the mean over images
            of that between their features; nothing without a finer one.
        """
        runs = [
            range(first + run.start, first + run.stop)
            for run in batches(num_images, self.batch_size)
        ]
        asked = list(schedules) if finer is None else [*schedules, finer]
        blocks = self.blocks(asked, seed, runs, num_whole=first + num_images, cut=False)
        shared = ray.put(real)
        judged = [
            self._call(self.actors[i % len(self.actors)], "reward", shared, *refs)
            for i, refs in enumerate(blocks[: len(schedules)])
        ]
        if finer is not None:
            judged += [
                self._call(self.actors[i % len(self.actors)], "distance", *refs, *blocks[-1])
                for i, refs in enumerate(blocks[:-1])
            ]
        self._follow(blocks)
        found = self._get(judged)
        return found[: len(schedules)], found[len(schedules) :]

    def blocks(
        self,
        schedules: Sequence[Steps],
        seed: int,
        runs: Sequence[range],
        num_whole: int = 0,
        cut: bool = True,
    ) -> list[list[ObjectRef]]:
        """References to each schedule's blocks, batch by batch.

        Args:
            schedules: steps of each.
            seed: of the noise.
            runs: of image indices, each a batch of `batches` of some number of images.
            num_whole: batches that begin below this image come as features, never as moments.
            cut: whether the population may be cut where there are fewer batches than actors.
        """
        # Rounded down, no actor has two pieces. One cut more (n + 1) is never shorter: some actor
        # would have two pieces of 1 / (n + 1), which is no less than 1 / n. Many small pieces fill
        # the actors, but lose shared steps and states that lie with other actors
        parts = cuts(schedules, max(1, len(self.actors) // len(runs)) if cut else 1)
        blocks: list[list[ObjectRef]] = [[] for _ in schedules]
        for images in runs:
            first = images.start // self.batch_size * len(parts)
            for c, members in enumerate(parts):
                actor = self.actors[(first + c) % len(self.actors)]
                refs = actor.score.options(num_returns=len(members)).remote(
                    [self.shared], [schedules[i] for i in members], seed, images,
                    images.start < num_whole,
                )  # fmt: skip
                if len(members) == 1:
                    refs = [refs]
                for i, ref in zip(members, refs, strict=True):
                    blocks[i].append(ref)
        return blocks

    def judge(self, blocks: Sequence[Sequence[ObjectRef]]) -> list[Replicates]:
        """The distances of schedules from their blocks; errors as of `distances`."""
        judged = self._judging(blocks)
        self._follow(blocks)
        return self._judged(judged)

    def keep(self, schedules: Sequence[Steps]) -> None:
        """Names the schedules whose states later populations will start from.

        To be called after each population, though they be the same: what actors hold of the others
        would take the room of states that are worth it, and the tree of prefixes would grow.
        """
        for actor in self.actors:
            self._call(actor, "keep", schedules)

    def prepare(self) -> None:
        """Has every actor build its scorer."""
        for actor in self.actors:
            self._call(actor, "keep", ())

    def remake(self, make_scorer: Callable[..., Scorer], args: Sequence[object]) -> None:
        """Has every actor build another scorer before its next call; kept states are gone."""
        self.shared = ray.put((make_scorer, tuple(args)))

    def share_saved(self) -> float | None:
        """The share of network calls that actors have saved since they started; None of none."""
        counts = self._get([self._call(actor, "calls") for actor in self.actors])
        made, alone = (sum(column) for column in zip(*counts, strict=True))
        return 1 - made / alone if alone else None

    def one(self, method: str, *args: object) -> object:
        """The answer of the first actor's scorer to one call."""
        return self._get([self._call(self.actors[0], method, *args)])[0]

    def close(self) -> None:
        """Ends the actors."""
        for actor in self.actors:
            ray.kill(actor)

    def _follow(
        self,
        blocks: Sequence[Sequence[ObjectRef]],
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        """Waits for all batches, and tells of each but the last when it is done.

        Raises:
            MachineError: one did not come in time after the one before it.
        """
        num_batches = len(blocks[0])
        for done, refs in enumerate(zip(*blocks, strict=True), 1):
            _, late = ray.wait(
                list(refs), num_returns=len(refs), timeout=self.timeout_s, fetch_local=False
            )
            if late:
                raise MachineError(
                    f"scoring: got no batch for {self.timeout_s:.0f} s after {done - 1} of"
                    f" {num_batches}, expected the next one by then"
                )
            if tell is not None and done < num_batches:
                tell(done, num_batches)

    def _call(self, actor: ActorHandle, method: str, *args: object) -> ObjectRef:
        return actor.call.remote([self.shared], method, *args)

    def _judging(self, blocks: Sequence[Sequence[ObjectRef]]) -> list[ObjectRef]:
        """References to lists of distances, of runs of schedules: a task for each takes longer."""
        size = min(MOST_JUDGED, math.ceil(len(blocks) / len(self.actors)))
        runs = [blocks[i : i + size] for i in range(0, len(blocks), size)]
        return [
            self.actors[i % len(self.actors)].judge.remote(
                [self.shared], len(run), *(ref for refs in run for ref in refs)
            )
            for i, run in enumerate(runs)
        ]

    def _judged(self, judging: Sequence[ObjectRef]) -> list[Replicates]:
        return [scores for run in self._get(judging) for scores in run]

    def _get(self, refs: Sequence[ObjectRef]) -> list:
        try:
            return ray.get(list(refs), timeout=self.timeout_s)
        except GetTimeoutError as error:
            raise MachineError(
                f"scoring: got no answer of the actors for {self.timeout_s:.0f} s, expected it by"
                " then"
            ) from error
        except RayTaskError as error:
            if isinstance(error.cause, NonFiniteFeatures):
                raise DataError(f"samples of the supernet: {error.cause}") from error
            raise error.cause from error
        except RayError as error:  # an actor, its node or what it had answered
            raise MachineError(f"scoring actors were lost too often: {error}") from error


def start_pool(
    make_scorer: Callable[..., Scorer],
    args: Sequence[object],
    placement: Placement,
    batch_size: int,
) -> Pool:
    """Starts actors, each holding `make_scorer(*args)`; returns before they are ready."""
    shared = ray.put((make_scorer, tuple(args)))  # one copy for all actors
    pool = Pool(start_actors(placement), batch_size, shared)
    pool.prepare()
    return pool
