"""What one worker does to learn which steps to keep, wherever it runs.

An iteration evaluates the network on a batch: one row an image at levels spread evenly over the
candidates where the weights are frozen; else two rows an image, each at a step kept by one of two
masks, on the same noise, and the weights learn from them (Zhang et al., ICML 2024: weights and
mask together). Of weights that learn calls are of `train.dtype`, else float32. s takes its
`mask.updates` steps as the weights learn, the same number in each iteration; of a network that is
frozen, when all of the error curve is known. All workers hold the same s: what they add to the
error curve is summed. Of windows of time series all that counts are hidden entries.

As in `training_loop`, randomness is a function of position, and a resumed learning ends with the
same bits. So weights learn in eval mode too: a network from elsewhere may have dropout, which
draws from torch's own generator. Nothing else hangs on the mode, for no network has batch norms.
"""

import math
from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.diffusion import add_noise, velocity
from models.noise import uniform_integers
from models.supernet import predict
from orchestration.config import Config
from orchestration.machine import has_bfloat16
from orchestration.mask_batches import NOISE, Rows, image_rows, second_moment, window_rows
from orchestration.mask_learning import MaskLearner, kept_rows
from orchestration.mask_plan import Budgets, make_chain
from orchestration.training_iterations import Diverged, Iterated
from orchestration.training_network import training_dtype
from orchestration.training_sections import Train
from orchestration.training_state import TrainingState
from orchestration.training_weights import LearningWeights
from orchestration.training_windows import Windows

SHOWN = 60
"""How often s is noted for the heat map."""
TUNED_RATE = 0.1
"""Of `train.learning_rate`, for weights that are trained: a few iterations of all of it undo more
than they teach."""


class MaskTraining(Iterated):
    """One worker's part.

    Attributes:
        learner: s and the error curve.
        network: of width 1, as it is.
        weights: all that learning them needs, and their average; None where they are frozen.
        history: (updates done, s) so far, about SHOWN times in all.
        evaluations: network calls x images so far, by all workers.

    Args:
        config: of the run.
        budgets: of `plan_budgets`.
        images: uint8 (n, C, H, W), all of them, or windows of time series; the network runs on
            their device.
        network: predicts eps or v of (x_t, t); with labels, of (x_t, t, no_label), and of windows
            of (x_t, t, what is given).
        worker: which one this is, from 0.
        num_workers: how many there are; above 1, torch's process group is up.
        no_label: what a conditional network is told of an image without a label.
        dtype: of the network's calls where the weights learn, `float32` or `bfloat16`, the same
            for all workers; None for what `train.dtype` says, for this device alone.
    """

    def __init__(
        self,
        config: Config,
        budgets: Budgets,
        images: Tensor | Windows,
        network: nn.Module,
        worker: int = 0,
        num_workers: int = 1,
        no_label: int | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(_settings(config, budgets))
        self.config, self.budgets, self.images = config, budgets, images
        self.num_workers, self.no_label = num_workers, no_label
        if dtype is None:
            dtype = training_dtype(config.train, has_bfloat16(images.device.type))
        self.is_rough = self.learns and dtype == "bfloat16"
        share = budgets.batch_size / num_workers
        self.batch_rows = range(round(worker * share), round((worker + 1) * share))
        self.share_weight = len(self.batch_rows) / share
        self.chain = make_chain(config)
        updates = config.mask.updates
        if self.learns:
            updates = max(updates, budgets.iterations)
        self.learner = MaskLearner(config.mask, self.chain, second_moment(images), updates)
        self.network = network.to(images.device).eval()  # without dropout
        self.replica = self.network
        self.weights: LearningWeights | None = None
        if self.learns:
            self.network.requires_grad_(True)
            if num_workers > 1:
                # Of an imputer's last layer the residual goes nowhere
                self.replica = DistributedDataParallel(
                    self.network, find_unused_parameters=isinstance(images, Windows)
                )
            self.weights = LearningWeights(self.network, self.train)
        self.evaluations = 0
        self.history: list[tuple[int, Tensor]] = [(0, self.learner.s.clone())]

    @property
    def learns(self) -> bool:
        """Whether the weights do."""
        return self.config.mask.weights != "frozen"

    def step(self) -> Tensor:
        """One iteration; the mean squared error of the prediction: float64 ().

        Raises:
            Diverged: it, or the norm of its gradient, is no number.
        """
        positions = self._positions()
        levels, told = self._levels(positions)
        rows = self._rows(positions)
        x_0, eps = rows.x_0, rows.eps
        with torch.set_grad_enabled(self.learns):
            target = velocity(x_0, eps, levels.to(x_0.device)) if self._is_v else eps
            x_t = add_noise(x_0, eps, levels.to(x_0.device))
            inputs = (x_t, told.to(x_0.device), *rows.told)
            with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.is_rough):
                output = predict(self.replica, *inputs) if len(x_t) else x_t
            squares = (output.float() - target).square()
        norm = torch.zeros(())
        if self.weights is not None and len(positions):
            norm = self.weights.learn(rows.loss(squares) * self.share_weight, self.iteration)
        found = rows.errors(squares.detach()).cpu().double()
        counts = rows.counts().cpu().double()
        # Of v the error is that of eps divided by the level
        errors = found * levels if self._is_v else found
        added = self.learner.curve.tally(levels, errors, counts)
        of_rows = [(found * counts).sum(), counts.sum(), torch.tensor(float(len(found)))]
        sums = torch.cat([added.flatten(), torch.stack(of_rows).double()])
        if self.num_workers > 1:
            sums = sums.to(self.images.device)
            torch.distributed.all_reduce(sums)
            sums = sums.cpu()
        total, count, evaluations = sums[-3:].tolist()
        loss = total / max(count, 1.0)
        if not math.isfinite(loss):
            raise Diverged(self._no_number("loss", loss))
        if not norm.isfinite():
            raise Diverged(self._no_number("norm of the gradient", norm.item()))
        self.learner.curve.add(sums[:-3].view(2, -1))
        self.evaluations += int(evaluations)
        for _ in range(self._updates_due()):
            self.learner.update()
            if self._is_noted(self.learner.num_updates):
                self.history.append((self.learner.num_updates, self.learner.s.clone()))
        self.iteration += 1
        return torch.tensor(loss, dtype=torch.float64)

    def losses(self, window: Sequence[Tensor]) -> dict[float, float]:
        """See `Iterated`; `step` has checked them."""
        return {1.0: math.fsum(torch.stack(list(window)).tolist()) / len(window)}

    def state(self) -> TrainingState:
        """Everything that a resumed learning needs."""
        tensors = {f"mask/{name}": tensor for name, tensor in self.learner.state().items()}
        tensors["history/updates"] = torch.tensor([at for at, _ in self.history])
        tensors["history/s"] = torch.stack([s for _, s in self.history])
        tensors["evaluations"] = torch.tensor(self.evaluations)
        tensors["second_moment"] = torch.tensor(self.learner.second_moment, dtype=torch.float64)
        if self.weights is not None:
            tensors |= self.weights.state()
        return TrainingState(self.iteration, tensors, tuple(self.rows))

    def load(self, state: TrainingState) -> None:
        """Goes on from what `state` gave."""
        tensors = state.tensors
        self.learner.load({name: tensors[f"mask/{name}"] for name in self.learner.state()})
        places, values = tensors["history/updates"].tolist(), tensors["history/s"]
        self.history = [(at, s.clone()) for at, s in zip(places, values, strict=True)]
        self.evaluations = int(tensors["evaluations"])
        self.iteration, self.rows = state.iteration, list(state.rows)
        if self.weights is not None:
            self.weights.load(tensors)

    @property
    def _is_v(self) -> bool:
        return self.config.diffusion.prediction == "v_prediction"

    def _no_number(self, what: str, value: float) -> str:
        if self.learns:
            return (
                f"learning a mask diverged: the {what} is {value} at iteration {self.iteration};"
                " expected a number: lower train.learning_rate"
            )
        return (
            f"the network of --supernet predicts no numbers on these data (its loss is {value});"
            " expected one that does, on the chain of diffusion.*"
        )

    def _updates_due(self) -> int:
        """Steps of s after the present iteration."""
        total, iterations = self.learner.total, self.budgets.iterations
        if self.learns:
            done = total * self.iteration // iterations
            return total * (self.iteration + 1) // iterations - done
        return total if self.iteration + 1 == iterations else 0

    def _is_noted(self, num_updates: int) -> bool:
        """Whether s is: every so often, and in the end, which is what searches begin from."""
        total = self.learner.total
        return num_updates % max(1, total // SHOWN) == 0 or num_updates == total

    def _positions(self) -> Tensor:
        """Which rows of the iteration are this worker's: an image's follow each other."""
        rows = torch.arange(
            self.batch_rows.start * self.budgets.passes, self.batch_rows.stop * self.budgets.passes
        )
        if self.learns:
            return rows
        first = self.iteration * self.budgets.batch_size
        return rows[first + rows < self.budgets.learning]

    def _rows(self, positions: Tensor) -> Rows:
        """The rows at positions."""
        budgets = self.budgets
        about = {
            "passes": budgets.passes,
            "seed": self.config.mask.seed,
            "iteration": self.iteration,
            "batch_size": budgets.batch_size,
        }
        if isinstance(self.images, Windows):
            share = None if self.learns else self.config.score.hide
            return window_rows(self.images, positions, **about, hidden_share=share)
        flips = self.learns and self.config.data.flips
        return image_rows(self.images, positions, **about, no_label=self.no_label, flips=flips)

    def _levels(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of rows, float64 (n,), and what the network is told there (n,)."""
        size = len(self.chain.timesteps)
        if not self.learns:
            index = (self.iteration * self.budgets.batch_size + positions) % size
            levels = self.chain.grid[index]
            return levels, torch.tensor(self.chain.timesteps)[index]
        num_lists = len(self.config.mask.steps)
        masks = torch.cat(  # two for each number of steps; streams that no update has
            [
                self.learner.draw(row, 2, self.learner.total + self.iteration)
                for row in range(num_lists)
            ]
        )
        which = 2 * (positions // 2 % num_lists) + positions % 2
        integers = uniform_integers(
            NOISE + self.config.mask.seed, positions, self.iteration, 2**31
        )
        index = kept_rows(masks[which], integers.double() / 2**31)
        levels = self.chain.levels(masks)[which, index]
        return levels, self.chain.told(index, levels)


def _settings(config: Config, budgets: Budgets) -> Train:
    """`train` as a mask's learning goes by it."""
    train, is_tuned = config.train, config.mask.weights == "tuned"
    return train.model_copy(
        update={
            "batch_size": budgets.batch_size,
            "iterations": budgets.iterations,
            "warmup_iterations": min(train.warmup_iterations, budgets.iterations // 10),
            "learning_rate": train.learning_rate * (TUNED_RATE if is_tuned else 1),
        }
    )
