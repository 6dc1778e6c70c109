"""The sections of what a supernet learns from, what it is, how it is trained, and what judges it.

Nothing heavy is imported here.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from orchestration.section import Count, Device, Positive, Section, Seed, Share, wrong

WINDOWED = ("weather", "physionet", "pm25", "table")
"""Data sets that are time series: windows with gaps, which are imputed."""


class Data(Section):
    """Which images, or time series; `path` is a user's own file or folder.

    Sizes and channels of images: see `alike.py`. `flip` mirrors images left to right at training;
    null: where the mirrored ones could be real, as far as that is known. `skip_bad` images may be
    unusable. Of time series, `window` is the times of a window, and `time` the column of times of
    a table.
    """

    name: Literal[
        "digits", "fashion-mnist", "cifar10", "folder", "parquet", "blue-marble",
        "weather", "physionet", "pm25", "table",
    ] = "digits"  # fmt: skip
    path: Annotated[Path, Field(strict=False)] | None = None
    image_size: Count | None = None
    fit: Literal["crop", "resize", "pad"] = "crop"
    channels: Literal[1, 3] | None = None
    flip: bool | None = None
    skip_bad: Annotated[int, Field(ge=0)] = 0
    window: Annotated[int, Field(ge=2)] | None = None
    time: str | None = None

    @model_validator(mode="after")
    def _check(self) -> "Data":
        expected = NEEDED_PATHS.get(self.name)
        if self.name == "digits" and self.path is not None:
            raise wrong("data.path", self.path, "null: the digits come with scikit-learn")
        if expected is not None and self.path is None:
            raise wrong("data.path", None, f"{expected}, as data.name is {self.name}")
        if self.window is not None and self.name not in ("weather", "pm25", "table"):
            raise wrong("data.window", self.window, f"null where data.name is {self.name}")
        if self.time is not None and self.name != "table":
            raise wrong("data.time", self.time, "null where data.name is not table")
        return self

    @property
    def is_windows(self) -> bool:
        """Whether they are windows of time series, not images."""
        return self.name in WINDOWED

    @property
    def flips(self) -> bool:
        """Whether training mirrors images."""
        return self.name in ("cifar10", "blue-marble") if self.flip is None else self.flip


NEEDED_PATHS = {
    "cifar10": "the folder of its batches",
    "folder": "a folder of images",
    "parquet": "a parquet file or a folder of them",
    "physionet": "the folder set-a of PhysioNet 2012",
    "pm25": "the folder of pm25_ground.txt and pm25_missing.txt",
    "table": "a CSV or parquet file, a row a time",
}


class Network(Section):
    """The U-Net at width 1: channels a level, attention a level, channels a head and a group.

    A conditional one is told the images' labels.
    """

    block_out_channels: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (32, 64)
    layers_per_block: Count = 1
    attention: Annotated[tuple[bool, ...], Field(strict=False)] = (False, True)
    head_size: Count = 8
    norm_group_size: Count = 4
    conditional: bool = False

    @model_validator(mode="after")
    def _check(self) -> "Network":
        if len(self.attention) != len(self.block_out_channels):
            expected = f"{len(self.block_out_channels)} values, one for each of block_out_channels"
            raise wrong("network.attention", self.attention, expected)
        return self


class Imputer(Section):
    """The network of time series at width 1, CSDI's; the sizes are its authors'."""

    channels: Count = 64
    num_heads: Count = 8
    num_layers: Count = 4
    feedforward: Count = 64

    @model_validator(mode="after")
    def _check(self) -> "Imputer":
        if self.channels % self.num_heads:
            expected = f"a divisor of imputer.channels ({self.channels})"
            raise wrong("imputer.num_heads", self.num_heads, expected)
        return self


class Diffusion(Section):
    """The training chain, in diffusers' words; "cosine" betas are its "squaredcos_cap_v2".

    "quadratic" betas are CSDI's.
    """

    num_train_timesteps: Count = 1000
    betas: Literal["linear", "squaredcos_cap_v2", "quadratic"] = "linear"
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    rescale_zero_terminal_snr: bool = False

    @field_validator("betas", mode="before")
    @classmethod
    def _name(cls, betas: object) -> object:
        return "squaredcos_cap_v2" if betas == "cosine" else betas

    @model_validator(mode="after")
    def _check(self) -> "Diffusion":
        if self.rescale_zero_terminal_snr and self.num_train_timesteps < 2:
            expected = "at least 2 where diffusion.rescale_zero_terminal_snr is true"
            raise wrong("diffusion.num_train_timesteps", self.num_train_timesteps, expected)
        return self


class Supernet(Section):
    """The allowed widths, kept falling whatever order they are given in.

    With `private_norms` each width has the scale and shift of its norms for itself.
    """

    widths: Annotated[tuple[float, ...], Field(strict=False)] = (1.0, 0.75, 0.5, 0.25)
    private_norms: bool = False

    @field_validator("widths")
    @classmethod
    def _check(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        within = all(0 < width <= 1 for width in widths)
        if not within or 1 not in widths or len(set(widths)) != len(widths):
            raise wrong("supernet.widths", widths, "distinct widths in (0, 1], 1 among them")
        return tuple(sorted(widths, reverse=True))


class Train(Section):
    """Training of the supernet; `batch_size` is that of all `num_workers` together.

    Without a number there is a worker for each GPU of the driver's node, or else of the cluster,
    or else for each CPU of the driver's node, as long as each has 32 images of the batch.

    `width_sampling` says which widths an iteration trains, `distillation` is the share of the full
    width's prediction in what narrower ones learn, `teacher` whose prediction that is: that of
    the newest weights, which costs nothing, or of their average, which costs a call.
    """

    iterations: Count = 1500
    batch_size: Count = 128
    learning_rate: Positive = 1e-3
    warmup_iterations: Annotated[int, Field(ge=0)] = 100
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.995
    clip_norm: Positive = 1.0
    label_dropout: Share = 0.1
    width_sampling: Literal["sandwich", "uniform", "widest", "all"] = "sandwich"
    distillation: Share = 0.0
    teacher: Literal["newest", "average"] = "newest"
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    tf32: bool = False
    device: Device = "auto"
    seed: Seed = 0
    num_workers: Count | None = None
    threads: Count = 1
    report_every: Count = 25
    checkpoint_every: Count = 250

    @model_validator(mode="after")
    def _check(self) -> "Train":
        if self.warmup_iterations > self.iterations:
            expected = f"at most train.iterations ({self.iterations})"
            raise wrong("train.warmup_iterations", self.warmup_iterations, expected)
        if self.num_workers is not None and self.num_workers > self.batch_size:
            expected = f"at most train.batch_size ({self.batch_size})"
            raise wrong("train.num_workers", self.num_workers, expected)
        if self.distillation and self.teacher == "newest" and self.width_sampling == "uniform":
            expected = (
                "another where train.distillation is not 0 and train.teacher is \"newest\": the"
                " full width, which teaches, is not always drawn"
            )
            raise wrong("train.width_sampling", self.width_sampling, expected)
        return self


class Features(Section):
    """The features that the Fréchet distance is taken on.

    `path` and `reference` are files of the pretrained alone, `iterations` is the classifier's.
    """

    name: Literal["classifier", "efficientnet", "inception"] = "classifier"
    path: Annotated[Path, Field(strict=False)] | None = None
    reference: Annotated[Path, Field(strict=False)] | None = None
    num_real: Annotated[int, Field(ge=4)] | None = None
    iterations: Count = 600
    seed: Seed = 0

    @model_validator(mode="after")
    def _check(self) -> "Features":
        for key, path in (("path", self.path), ("reference", self.reference)):
            if self.name == "classifier" and path is not None:
                expected = "null, or pretrained features by features.name"
                raise wrong(f"features.{key}", path, expected)
        return self
