"""The sections of sampling, searching, learning masks, scoring, and where runs are kept.

Nothing heavy is imported here.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from orchestration.section import Count, Device, Positive, Section, Seed, Share, wrong


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
    `warm_start` is a run of `jobs.mask` (or its `s.parquet`): where first guesses come from, and
    what mutations tend to.
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
    updates: Count = 2000
    ramp: Annotated[tuple[Share, Share], Field(strict=False)] = (0.0, 0.6)
    evaluations: Count | None = None
    elbo_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    num_images: Annotated[int, Field(ge=4)] = 50
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
