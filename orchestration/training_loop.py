"""What one worker does to train a supernet, wherever it runs.

Every worker holds the same weights and takes its share of each batch; gradients are averaged over
the workers. All randomness is a function of position (`training_batches`), so weights, their
average, Adam's moments and the iteration are the whole state: a training that was interrupted and
resumed ends with the same bits as one that was not, and the number of workers changes nothing but
the order of sums.

Loss: sandwich rule, squared error of the prediction (Yang et al., arXiv 2310.03337, section 3.1).
In bfloat16 the network's calls alone are of that precision; weights, their average, the optimizer,
the loss and what is reported stay in float32.
Adam with linear warm-up and cosine decay of the learning rate, gradients clipped by their norm,
exponential moving average.
"""

import math
import time
from collections.abc import Callable

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models.diffusion import noise_levels
from models.ema import Ema
from models.losses import SandwichLoss, drawn_widths
from orchestration.checkpoints import build_supernet
from orchestration.config import Config
from orchestration.errors import StepwiseError
from orchestration.machine import has_bfloat16
from orchestration.training_batches import Batch, Labels, make_batch
from orchestration.training_network import network_arguments, training_dtype
from orchestration.training_sections import Train
from orchestration.training_state import Row, TrainingState, under
from orchestration.training_windows import Windows, make_window_batch


class Diverged(StepwiseError):
    """A loss or gradient that is no number: the configuration cannot be trained."""

    exit_code = 2


class Training:
    """One worker's part of a training.

    Attributes:
        supernet: the weights as they are.
        ema: their average, which is the result.
        iteration: iterations done.
        rows: reported so far.

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
        self.config, self.images, self.num_workers = config, images, num_workers
        self.device = device
        self.dtype = training_dtype(train, has_bfloat16(device.type)) if dtype is None else dtype
        share = train.batch_size / num_workers
        self.batch_rows = range(round(worker * share), round((worker + 1) * share))
        # Workers average gradients as if their shares were equal
        self.weight = len(self.batch_rows) / share
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
        loss = SandwichLoss(
            self.supernet, levels.to(device), chain.prediction, train.distillation
        )
        self.loss = loss if num_workers == 1 else _replicated(loss)
        self.parameters = dict(self.supernet.named_parameters())
        self.optimizer = torch.optim.Adam(
            self.parameters.values(), lr=train.learning_rate, fused=True
        )
        self.ema = Ema(self.supernet, train.ema_decay)
        self.iteration = 0
        self.rows: list[Row] = []

    def step(self) -> Tensor:
        """One iteration.

        Returns:
            (k + 1,) without gradients: the loss of each width on this worker's rows, weighted so
            that the mean over workers is that of the batch; and the norm of the gradient.
        """
        train = self.config.train
        batch = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.iteration, train)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"
        ):
            losses = self.loss(
                batch.x_0,
                batch.t,
                batch.eps,
                batch.widths,
                batch.labels,
                batch.weights,
                self._teacher(),
            )
        losses = losses * self.weight
        self.optimizer.zero_grad()
        losses.sum().backward()
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), train.clip_norm)
        self.optimizer.step()
        self.ema.update(self.supernet)
        self.iteration += 1
        return torch.cat([losses.detach(), norm[None]])

    def _batch(self) -> Batch:
        """This worker's share of the iteration."""
        train = self.config.train
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

    def run(self, on_row: Callable[[Row], None], on_checkpoint: Callable[[], None]) -> None:
        """Trains to the end.

        Args:
            on_row: called with each report, every `train.report_every` iterations and before a
                checkpoint.
            on_checkpoint: called when the state is to be saved: every `train.checkpoint_every`
                iterations and at the end.

        Raises:
            Diverged: a loss or gradient is not finite; no checkpoint holds what came of it.
        """
        train = self.config.train
        done, started, window = self.iteration, time.monotonic(), []
        while self.iteration < train.iterations:
            window.append(self.step())
            saves = self._is_due(train.checkpoint_every)
            if saves or self._is_due(train.report_every):
                pace_s = (time.monotonic() - started) / (self.iteration - done)
                row = self._report(torch.stack(window), pace_s)
                self.rows.append(row)
                on_row(row)
                window.clear()
            if saves:
                on_checkpoint()

    def state(self) -> TrainingState:
        """Everything that a resumed training needs."""
        tensors = {f"weights/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"ema/{name}": tensor for name, tensor in self.ema.state().items()}
        for name, parameter in self.parameters.items():
            for key, moment in self.optimizer.state[parameter].items():
                tensors[f"adam/{key}/{name}"] = moment
        return TrainingState(self.iteration, tensors, tuple(self.rows))

    @torch.no_grad()
    def load(self, state: TrainingState) -> None:
        """Goes on from what `state` gave."""
        for name, weight in under("weights/", state.tensors):
            self.parameters[name].copy_(weight)
        self.ema.load_state(dict(under("ema/", state.tensors)))
        for key, moment in under("adam/", state.tensors):
            kind, _, name = key.partition("/")
            parameter = self.parameters[name]
            here = moment.to(self.device)
            if moment.shape == parameter.shape:  # fused Adam reads memory in its order
                here = torch.empty_like(parameter).copy_(moment)
            self.optimizer.state[parameter][kind] = here
        self.iteration, self.rows = state.iteration, list(state.rows)

    def _teacher(self) -> dict[str, Tensor] | None:
        """The averaged weights of the full width, where they teach the narrower ones."""
        train = self.config.train
        if not train.distillation or train.teacher == "newest":
            return None
        return dict(under("full.", self.ema.averages))

    def _is_due(self, every: int) -> bool:
        return self.iteration % every == 0 or self.iteration == self.config.train.iterations

    def _report(self, table: Tensor, pace_s: float) -> Row:
        """The row over the newest iterations: `table` holds what `step` returned for each."""
        if self.num_workers > 1:
            torch.distributed.all_reduce(table)
        train = self.config.train
        losses: dict[float, list[float]] = {}
        first = self.iteration - len(table)
        for iteration, (*values, norm) in enumerate((table / self.num_workers).tolist(), first):
            widths = drawn_widths(
                self.config.supernet.widths, train.seed, iteration, train.width_sampling
            )
            for width, loss in zip(widths, values, strict=True):
                _check_finite(loss, f"loss of width {width:g}", iteration)
                losses.setdefault(width, []).append(loss)
            _check_finite(norm, "norm of the gradient", iteration)
        return Row(
            iteration=self.iteration,
            iterations=train.iterations,
            losses={width: math.fsum(losses[width]) / len(losses[width]) for width in losses},
            images_per_s=train.batch_size / pace_s,
            seconds_left=pace_s * (train.iterations - self.iteration),
        )


def learning_rate(iteration: int, train: Train) -> float:
    """Linear warm-up to `train.learning_rate`, under a half cosine that ends at 0."""
    warmup = min(1.0, (iteration + 1) / max(1, train.warmup_iterations))
    decay = (1 + math.cos(math.pi * iteration / train.iterations)) / 2
    return train.learning_rate * warmup * decay


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
