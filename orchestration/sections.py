"""Every key of the configuration, with its type, range and default, a section a class.

What must hold between keys is checked here too; only what channels a width allows is left to
`models.networks.unet`, which builds them. Loading, and the one line that a mistake is answered
with, are in `config.py`. Nothing heavy is imported here.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from search_spaces.schedule import even_grid

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Device = Literal["auto", "cpu", "cuda"]


def wrong(key: str, value: object, expected: str) -> PydanticCustomError:
    """The error of a check that concerns `key`, whichever section found it."""
    context = {"key": key, "got": show(value), "expected": expected}
    return PydanticCustomError("wrong", "{key}: got {got}, expected {expected}", context)


def show(value: object) -> str:
    """A value as a message shows it: as JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


class Section(BaseModel):
    """Unknown keys are errors, types are strict ("5" is no number), values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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


class Sampler(Section):
    """The reverse move; `eta` is DDIM's alone (0: no noise, 1: as much as DDPM).

    `guidance` scales classifier-free guidance; 1, or null for short, is none.
    """

    name: Literal["ddim", "ddpm", "dpmsolver++2m"] = "ddim"
    eta: Share = 0.0
    clip_sample: bool = True
    guidance: Positive = 1.0

    @field_validator("guidance", mode="before")
    @classmethod
    def _none(cls, guidance: object) -> object:
        return 1.0 if guidance is None else guidance

    @model_validator(mode="after")
    def _check(self) -> "Sampler":
        if self.name != "ddim" and self.eta != 0:
            raise wrong("sampler.eta", self.eta, f"0 where sampler.name is '{self.name}'")
        return self


class Search(Section):
    """The search. It stops at the first of its rules to be met; at least one must be set.

    `segments` is the most pieces of a schedule, and means something in the space `segments` alone.
    Of time series `num_images` counts windows, and each is sampled `num_samples` times.
    `warm_start` is a run of `jobs.mask` (or its `s.parquet`): where first guesses come from.
    """

    optimizer: Literal["nsga2", "de", "one-plus-one", "random"] = "nsga2"
    space: Literal["per-step", "segments", "timesteps"] = "per-step"
    segments: Count = 6
    steps: Count = 50
    spacing: Literal["leading", "trailing"] = "leading"
    num_images: Annotated[int, Field(ge=2)] = 1000
    num_samples: Count = 20
    population: Annotated[int, Field(ge=2)] = 16
    seed: Seed = 0
    noise_seed: Seed = 0
    cost: Literal["macs", "latency"] = "macs"
    budget: Count | None = None
    budget_calls: Count | None = None
    budget_minutes: Positive | None = None
    patience: Count | None = None
    racing: bool = False
    max_images: Count | None = None
    warm_start: Annotated[Path, Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Search":
        rules = ("budget", "budget_calls", "budget_minutes", "patience")
        if all(getattr(self, rule) is None for rule in rules):
            named = ", ".join(f"search.{rule}" for rule in rules)
            expected = f"a stopping rule: at least one of {named}"
            raise wrong("search.budget", None, expected)
        if self.warm_start is not None and self.space == "segments":
            expected = "per-step or timesteps where search.warm_start is set"
            raise wrong("search.space", self.space, expected)
        if self.warm_start is not None and self.optimizer == "random":
            expected = "another than random, which has no first guesses, where it is set"
            raise wrong("search.warm_start", str(self.warm_start), expected)
        if self.max_images is not None and not self.racing:
            raise wrong("search.max_images", self.max_images, "null where search.racing is false")
        if self.max_images is not None and self.max_images < self.num_images:
            expected = f"at least search.num_images ({self.num_images})"
            raise wrong("search.max_images", self.max_images, expected)
        return self


class Mask(Section):
    """Learning which steps to keep (`jobs.mask`): a schedule for each number of `steps`.

    `weights` are a trained network's as they are (frozen), the same learning on (tuned), or learnt
    with the mask from the start (scratch). `evaluations` are network calls x images, at most;
    null: 2 for each training image, and for scratch what `train` asks for.
    """

    steps: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (20, 10, 5)
    weights: Literal["frozen", "tuned", "scratch"] = "frozen"
    form: Literal["respaced", "literal"] = "respaced"
    reward: Literal["elbo", "quality"] = "quality"
    candidates: Count = 50
    draws: Literal["pivotal", "independent"] = "pivotal"
    masks: Annotated[int, Field(ge=2)] = 16
    rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    updates: Count = 20
    ramp: Annotated[tuple[Share, Share], Field(strict=False)] = (0.0, 0.6)
    evaluations: Count | None = None
    elbo_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    num_images: Annotated[int, Field(ge=2)] = 50
    seed: Seed = 0

    @field_validator("steps")
    @classmethod
    def _check_steps(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(steps)) != len(steps):
            raise wrong("mask.steps", steps, "distinct numbers of steps")
        return tuple(sorted(steps, reverse=True))

    @model_validator(mode="after")
    def _check(self) -> "Mask":
        if self.ramp[0] >= self.ramp[1]:
            raise wrong("mask.ramp", self.ramp, "[start, end], shares of the iterations, rising")
        if self.steps[0] > self.candidates:
            raise wrong("mask.steps", self.steps, f"at most mask.candidates ({self.candidates})")
        return self


class Score(Section):
    """How candidates are scored, and on how many fresh images the front is scored again.

    `actors` are parallel scorers in all; without a number `actors_per_gpu` for each GPU where
    there are any, else one for each CPU. `tf32` is of GPUs alone.

    Of time series `num_images`, `batch_size` and `block_size` count windows, each of which is
    sampled `num_samples` times for the front; `hide` is the share of what was recorded that is
    hidden to be scored, where the data don't say themselves what is.
    """

    num_images: Annotated[int, Field(ge=2)] = 2000
    num_samples: Count = 100
    hide: Annotated[float, Field(gt=0, lt=1)] = 0.1
    noise_seed: Seed = 1
    actors: Count | None = None
    device: Device = "auto"
    actors_per_gpu: Count = 1
    batch_size: Count = 250
    block_size: Count = 50
    max_members: Count = 16
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    tf32: bool = False
    compile: Literal["auto", "never"] = "never"
    state_bytes: Annotated[int, Field(ge=0)] = 2**29
    scorer: Literal["network", "stub"] = "network"

    @model_validator(mode="after")
    def _check(self) -> "Score":
        if self.batch_size % self.block_size:
            expected = f"a divisor of score.batch_size ({self.batch_size})"
            raise wrong("score.block_size", self.block_size, expected)
        return self


class Tracking(Section):
    """MLflow; without a uri, a sqlite file beside the run directory."""

    uri: str | None = None
    experiment: Annotated[str, Field(min_length=1)] = "stepwise"


class Ray(Section):
    """The cluster; without an address, one of this machine's own (or the job's).

    `accelerator_type` is the type of GPU to run on, as Ray names it, where a cluster has several;
    `patience_s` how long a command waits for room on a full cluster.
    """

    address: str | None = None
    accelerator_type: str | None = None
    patience_s: Positive = 900.0


class Config(Section):
    """All sections, and what must hold between them."""

    data: Data = Data()
    network: Network = Network()
    imputer: Imputer = Imputer()
    diffusion: Diffusion = Diffusion()
    supernet: Supernet = Supernet()
    train: Train = Train()
    features: Features = Features()
    sampler: Sampler = Sampler()
    search: Search
    mask: Mask = Mask()
    score: Score = Score()
    tracking: Tracking = Tracking()
    ray: Ray = Ray()

    @model_validator(mode="after")
    def _check(self) -> "Config":
        timesteps = self.diffusion.num_train_timesteps
        if self.search.steps > timesteps:
            expected = f"at most diffusion.num_train_timesteps ({timesteps})"
            raise wrong("search.steps", self.search.steps, expected)
        self._check_rescaled()
        if self.sampler.guidance != 1 and not self.network.conditional:
            expected = "1 (none) where network.conditional is false"
            raise wrong("sampler.guidance", self.sampler.guidance, expected)
        for key, count in (
            ("search.num_images", self.search.num_images),
            ("score.num_images", self.score.num_images),
        ):
            if count < 2 * self.score.block_size:
                expected = f"at least two blocks of score.block_size ({self.score.block_size})"
                raise wrong(key, count, expected)
        self._check_racing()
        self._check_windows()
        if self.score.noise_seed == self.search.noise_seed:
            expected = "another than search.noise_seed, so that the front meets unseen noise"
            raise wrong("score.noise_seed", self.score.noise_seed, expected)
        return self

    def _check_rescaled(self) -> None:
        diffusion, search = self.diffusion, self.search
        last = diffusion.num_train_timesteps - 1
        grid = even_grid(diffusion.num_train_timesteps, search.steps, search.spacing)
        if (
            diffusion.rescale_zero_terminal_snr
            and diffusion.prediction == "epsilon"
            and grid[0] == last
        ):
            expected = (
                f"'v_prediction' where diffusion.rescale_zero_terminal_snr is true and the search"
                f" starts at {last}: nothing of the image is left there, and epsilon can't tell it"
            )
            raise wrong("diffusion.prediction", diffusion.prediction, expected)

    def _check_windows(self) -> None:
        if not self.data.is_windows:
            return
        where = f"where data.name is {self.data.name}, a time series"
        if self.sampler.clip_sample:
            raise wrong("sampler.clip_sample", True, f"false {where}: values have no bounds")
        if self.network.conditional:
            raise wrong("network.conditional", True, f"false {where}: windows have no labels")

    def _check_racing(self) -> None:
        search, score = self.search, self.score
        if search.racing and score.batch_size < 2 * score.block_size:
            expected = (
                f"at most half of score.batch_size ({score.batch_size}) where search.racing is"
                " true: candidates are compared after a batch, and an error bar needs two blocks"
            )
            raise wrong("score.block_size", score.block_size, expected)
        if search.max_images is not None and search.num_images % score.batch_size:
            expected = (
                f"a multiple of score.batch_size ({score.batch_size}) where search.max_images"
                " is set"
            )
            raise wrong("search.num_images", search.num_images, expected)


def keys_of(kind: type[Config]) -> list[str]:
    """Every key of a kind of configuration, in the order of the file."""
    return [
        f"{section}.{key}"
        for section, field in kind.model_fields.items()
        for key in field.annotation.model_fields
    ]


SUPERNET_SECTIONS = ("data", "network", "imputer", "diffusion", "supernet", "train")
"""What determines the weights of a supernet, with the data themselves and the code."""

KEYS = keys_of(Config)
"""Every key of the configuration that all commands share."""
