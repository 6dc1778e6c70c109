"""What one worker does to train a supernet, wherever it runs.

Every worker holds the same weights and takes its share of each batch; gradients are averaged over
the workers. All randomness is a function of position (`training_batches`), so weights, their
average, Adam's moments and the iteration are the whole state: a training that was interrupted and
resumed ends with the same bits as one that was not, and the number of workers changes nothing but
the order of sums.

Loss: sandwich rule, squared error of the prediction (Yang et al., arXiv 2310.03337, section 3.1).
In bfloat16 the network's calls alone are of that precision; weights, their average, the optimizer,
the loss and what is reported stay in float32.
"""

import math
from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from models.diffusion import noise_levels
from models.losses import SandwichLoss, drawn_widths
from orchestration.checkpoints import build_supernet
from orchestration.config import Config
from orchestration.machine import has_bfloat16
from orchestration.training_batches import Batch, Labels, make_batch
from orchestration.training_iterations import Diverged, Iterated
from orchestration.training_network import network_arguments, training_dtype
from orchestration.training_state import TrainingState, under
from orchestration.training_weights import LearningWeights
from orchestration.training_windows import Windows, make_window_batch


class Training(Iterated):
    """One worker's part of a training.

    Attributes:
        supernet: of the weights as they are.
        weights: all that learning them needs, and their average, which is the result.

    Args:
        config: of the run.
        images: uint8 (n, C, H, W), all of them, or windows of time series.
        worker: which one this is, from 0.
        num_workers: how many there are; above 1, torch's process group is up.
        labels: of the images, for a conditional network.
        device: to train on; None for that of the images.
        dtype: of the network's calls, `float32` or `bfloat16`, the same for all workers; None for
            what the configuration says, for this device alone.
    """

    def __init__(
        self,
        config: Config,
        images: Tensor | Windows,
        worker: int = 0,
        num_workers: int = 1,
        labels: Labels | None = None,
        device: torch.device | None = None,
        dtype: str | None = None,
    ) -> None:
        train, device = config.train, images.device if device is None else device
        super().__init__(train)
        self.config, self.images, self.num_workers = config, images, num_workers
        self.device = device
        self.dtype = training_dtype(train, has_bfloat16(device.type)) if dtype is None else dtype
        share = train.batch_size / num_workers
        self.batch_rows = range(round(worker * share), round((worker + 1) * share))
        # Workers average gradients as if their shares were equal
        self.share_weight = len(self.batch_rows) / share
        self.labels = labels
        num_classes = None if labels is None else labels.num_classes
        shape = images.shape if isinstance(images, Windows) else tuple(images.shape[1:])
        network = network_arguments(config, shape, num_classes)
        supernet = build_supernet(
            network, config.supernet.widths, train.seed, config.supernet.private_norms
        )
        # Convolutions of few channels train faster so than in contiguous layout
        self.supernet = supernet.to(device=device, memory_format=torch.channels_last)
        chain = config.diffusion
        levels = noise_levels(
            chain.num_train_timesteps, chain.betas, chain.rescale_zero_terminal_snr
        )
        loss = SandwichLoss(self.supernet, levels.to(device), chain.prediction, train.distillation)
        self.loss = loss if num_workers == 1 else _replicated(loss)
        self.weights = LearningWeights(self.supernet, train)

    def step(self) -> Tensor:
        """One iteration.

        Returns:
            (k + 1,) without gradients: the loss of each width on this worker's rows, weighted so
            that the mean over workers is that of the batch; and the norm of the gradient.
        """
        batch = self._batch()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"):
            losses = self.loss(
                batch.x_0,
                batch.t,
                batch.eps,
                batch.widths,
                batch.labels,
                batch.weights,
                self._teacher(),
            )
        losses = losses * self.share_weight
        norm = self.weights.learn(losses.sum(), self.iteration)
        self.iteration += 1
        return torch.cat([losses.detach(), norm[None]])

    def losses(self, window: Sequence[Tensor]) -> dict[float, float]:
        """Mean losses of the widths that were trained; see `Iterated`."""
        table = torch.stack(list(window))
        if self.num_workers > 1:
            torch.distributed.all_reduce(table)
        found: dict[float, list[float]] = {}
        first = self.iteration - len(table)
        for iteration, (*values, norm) in enumerate((table / self.num_workers).tolist(), first):
            widths = drawn_widths(
                self.config.supernet.widths,
                self.train.seed,
                iteration,
                self.train.width_sampling,
            )
            for width, loss in zip(widths, values, strict=True):
                _check_finite(loss, f"loss of width {width:g}", iteration)
                found.setdefault(width, []).append(loss)
            _check_finite(norm, "norm of the gradient", iteration)
        return {width: math.fsum(found[width]) / len(found[width]) for width in found}

    def _batch(self) -> Batch:
        """This worker's share of the iteration."""
        train = self.train
        position = {
            "seed": train.seed,
            "iteration": self.iteration,
            "batch_size": train.batch_size,
            "widths": self.config.supernet.widths,
            "num_train_timesteps": self.config.diffusion.num_train_timesteps,
            "sampling": train.width_sampling,
            "same_noise": train.distillation > 0,  # so that one prediction teaches all
            "device": self.device,
        }
        if isinstance(self.images, Windows):
            return make_window_batch(self.images, self.batch_rows, **position)
        return make_batch(
            self.images,
            self.batch_rows,
            **position,
            labels=self.labels,
            flips=self.config.data.flips,
        )

    def state(self) -> TrainingState:
        """Everything that a resumed training needs."""
        return TrainingState(self.iteration, self.weights.state(), tuple(self.rows))

    def load(self, state: TrainingState) -> None:
        """Goes on from what `state` gave."""
        self.weights.load(state.tensors)
        self.iteration, self.rows = state.iteration, list(state.rows)

    def _teacher(self) -> dict[str, Tensor] | None:
        """The averaged weights of the full width, where they teach the narrower ones."""
        train = self.train
        if not train.distillation or train.teacher == "newest":
            return None
        return dict(under("full.", self.weights.ema.averages))


def _replicated(loss: SandwichLoss) -> DistributedDataParallel:
    """`loss` with its gradients averaged over the workers."""
    return DistributedDataParallel(
        loss,
        forward_sync_buffers=False,
        gradient_as_bucket_view=True,
        # An iteration leaves out private parameters of the widths that were not drawn. It also
        # keeps the buckets as they are, and with them the order of sums after a resume.
        find_unused_parameters=True,
    )


def _check_finite(value: float, what: str, iteration: int) -> None:
    if not math.isfinite(value):
        raise Diverged(
            f"training diverged: the {what} is {value} at iteration {iteration}; expected a"
            " number: lower train.learning_rate, or raise train.warmup_iterations"
        )
