"""What scoring stands on: the networks, the features, the costs, and how to build a scorer.

Everything that a scoring actor needs is gathered here by the driver and reaches the actors
through the object store; they read no files.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.conditioning import Conditioning
from models.diffusion import noise_levels
from models.frechet import Reference
from models.sampling import Sampler
from orchestration import stub
from orchestration.config import Config
from orchestration.errors import ConfigError
from orchestration.extractor import load_extractor
from orchestration.files import MANIFEST, check_manifest, sha256_of
from orchestration.machine import assigned_device, settle
from orchestration.scorer import Execution, Scorer, SupernetSource
from search_spaces.per_step import PerStepSpace
from search_spaces.schedule import StepSchedule, even_grid


@dataclass(frozen=True)
class Setting:
    """All that scoring needs beside schedules.

    Args:
        dataset: its name.
        supernet: sha256 of the supernet.
        extractor: sha256 of what takes the features, and of the reference.
        features: what the distance is taken on, as part of the quality's name.
        real: float32 features (M, D) of the real images, for the noise floor, KID, precision and
            recall.
        num_reference: real images that the reference is made of; None where it was given.
        macs: multiply-accumulates of one sample's call at each width.
        image_shape: (C, H, W); None for the stub, which has no images.
        make_scorer: builds a scorer from `args`, in an actor.
        args: of `make_scorer`.
    """

    dataset: str
    supernet: str
    extractor: str
    features: str
    real: np.ndarray
    num_reference: int | None
    macs: dict[float, int]
    image_shape: tuple[int, int, int] | None
    make_scorer: Callable[..., Scorer]
    args: tuple[Any, ...]

    def args_with(self, execution: Execution) -> tuple[Any, ...]:
        """`args` with another execution in place of theirs."""
        (place,) = (i for i, arg in enumerate(self.args) if isinstance(arg, Execution))
        return (*self.args[:place], execution, *self.args[place + 1 :])


def network_setting(
    config: Config, chain: StepSchedule, supernet_folder: Path, extractor_folder: Path
) -> Setting:
    """Scoring by all widths of a trained supernet, on the chain of a schedule.

    DataError where an artifact is missing or damaged.
    """
    # heavy: not for the stub, nor for actors before they need it
    from models.cost import macs_by_width
    from orchestration.checkpoints import load_supernet, supernet_sha

    supernet = load_supernet(supernet_folder)
    extractor = load_extractor(extractor_folder)
    subnets = {width: supernet.subnet(width) for width in supernet.widths}
    size, channels = supernet.full.config["sample_size"], supernet.full.config["in_channels"]
    shape = (channels, size, size)
    named = config.features.name
    told = conditioning(chain, supernet_folder)
    args = (subnets, sampler_of(chain), told, extractor.network, shape, execution(config))
    return Setting(
        dataset=config.data.name,
        supernet=supernet_sha(supernet_folder),
        extractor=sha256_of(extractor_folder / MANIFEST),
        features=config.data.name if named == "classifier" else named,
        real=extractor.real,
        num_reference=extractor.num_reference,
        macs=macs_by_width(subnets, shape, told is not None),
        image_shape=shape,
        make_scorer=_network_scorer,
        args=(*args, extractor.reference, config.score.block_size),
    )


def check_fits(supernet_folder: Path, chain: StepSchedule, widths: Iterable[float]) -> None:
    """Holds a supernet against what is to run on it.

    Raises:
        ConfigError: it lacks a width, or was trained on another chain.
        DataError: it is missing or damaged.
    """
    from orchestration.checkpoints import read_description

    check_manifest(supernet_folder)
    supernet = read_description(supernet_folder)
    if not set(widths) <= set(supernet["widths"]):
        raise ConfigError(
            f"widths {sorted(set(widths))}: expected those of {supernet_folder},"
            f" {sorted(supernet['widths'])}"
        )
    trained_on = supernet["meta"].get("diffusion", {})
    if trained_on:  # it tells only of a chain that is rescaled
        trained_on = {"rescale_zero_terminal_snr": False, **trained_on}
    for name, value in trained_on.items():
        if getattr(chain, name) != value:
            raise ConfigError(
                f"{name}: got {getattr(chain, name)}, expected {value} as in {supernet_folder}"
            )
    if chain.guidance != 1 and supernet["network"].get("num_classes") is None:
        raise ConfigError(
            f"guidance: got {chain.guidance:g}, expected 1 (none):"
            f" {supernet_folder} was trained without labels"
        )


def check_shape(supernet_folder: Path, shape: tuple[int, int, int]) -> None:
    """ConfigError where a supernet was trained on images of another shape (C, H, W)."""
    from orchestration.checkpoints import read_description

    network = read_description(supernet_folder)["network"]
    expected = (network["channels"], network["image_size"], network["image_size"])
    if expected != shape:
        found, trained = (" x ".join(map(str, sizes)) for sizes in (shape, expected))
        raise ConfigError(
            f"data: images of {found}, expected {trained} as {supernet_folder} was trained on:"
            " see data.image_size and data.channels"
        )


def stub_setting(config: Config) -> Setting:
    """Scoring in closed form, without data, training or networks."""
    size = stub.NUM_FEATURES
    return Setting(
        dataset="stub",
        supernet="stub",
        extractor="stub",
        features="stub",
        real=np.random.default_rng(0).standard_normal((2000, size)).astype("f4"),
        num_reference=None,
        macs=stub.macs_table(config.supernet.widths),
        image_shape=None,
        make_scorer=_stub_scorer,
        args=(
            config.diffusion.num_train_timesteps,
            Reference(np.zeros(size), np.eye(size)),
            config.score.block_size,
        ),
    )


def space(config: Config) -> PerStepSpace:
    """The space that is searched."""
    spacing = config.search.spacing
    grid = even_grid(config.diffusion.num_train_timesteps, config.search.steps, spacing)
    return PerStepSpace(grid, config.supernet.widths, spacing)


def baseline(config: Config) -> StepSchedule:
    """Every timestep of the grid at width 1."""
    return StepSchedule(
        **config.diffusion.model_dump(),
        sampler=config.sampler.name,
        eta=config.sampler.eta,
        clip_sample=config.sampler.clip_sample,
        guidance=config.sampler.guidance,
        steps=tuple((t, 1.0) for t in space(config).grid),
    )


def sampler_of(schedule: StepSchedule) -> Sampler:
    """The reverse moves of a schedule's chain."""
    return Sampler(
        schedule.sampler,
        noise_levels(
            schedule.num_train_timesteps, schedule.betas, schedule.rescale_zero_terminal_snr
        ),
        schedule.eta,
        schedule.clip_sample,
        schedule.prediction,
    )


def conditioning(
    schedule: StepSchedule, supernet_folder: Path, label: int | None = None
) -> Conditioning | None:
    """What the networks of a supernet are told of each image; None where that is nothing.

    Raises:
        ConfigError: a label is given that is none of its classes.
    """
    from orchestration.checkpoints import read_description

    num_classes = read_description(supernet_folder)["network"].get("num_classes")
    if label is not None and label not in range(num_classes or 0):
        classes = f"0 to {num_classes - 1}" if num_classes else "none"
        raise ConfigError(
            f"label: got {label}, expected {classes}, the classes that {supernet_folder} knows"
        )
    return None if num_classes is None else Conditioning(num_classes, schedule.guidance, label)


def execution(config: Config) -> Execution:
    """How subnets run, but for the ways, which are measured."""
    score = config.score
    return Execution(score.batch_size, 1, score.state_bytes, tf32=score.tf32)


def _network_scorer(
    subnets: dict[float, torch.nn.Module],
    sampler: Sampler,
    conditioning: Conditioning | None,
    extractor: torch.nn.Module,
    image_shape: tuple[int, int, int],
    execution: Execution,
    reference: Reference,
    block_size: int,
) -> Scorer:
    device = assigned_device()
    settle(device, execution.tf32)
    source = SupernetSource(
        subnets, sampler, extractor, image_shape, execution, device, conditioning
    )
    return Scorer(source, reference, block_size, execution.threads)


def _stub_scorer(num_train_timesteps: int, reference: Reference, block_size: int) -> Scorer:
    return Scorer(stub.StubSource(num_train_timesteps), reference, block_size)
