"""What scoring stands on: the networks, the features, the costs, and how to build a scorer.

Everything that a scoring actor needs is gathered here by the driver and reaches the actors
through the object store; they read no files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.conditioning import Conditioning, Told
from models.crps import window_sums
from models.frechet import Reference
from models.sampling import Sampler
from models.windows import Panel
from orchestration import stub
from orchestration.baseline_imputers import BASELINES
from orchestration.chains import sampler_of
from orchestration.config import Config
from orchestration.errors import ConfigError
from orchestration.execution import Execution
from orchestration.extractor import load_extractor
from orchestration.files import MANIFEST, sha256_of
from orchestration.machine import assigned_device, settle
from orchestration.quality import CrpsQuality, FrechetQuality, Quality
from orchestration.scorer import Scorer
from orchestration.supernet_description import read_description, supernet_sha
from orchestration.supernet_source import SupernetSource
from orchestration.window_formats import WindowHeader
from orchestration.window_panels import report_panel, search_panel
from orchestration.window_plot import WindowPicture
from orchestration.window_scorer import Unit, WindowScorer
from orchestration.windows import load_part, read_window_header
from search_spaces.schedule import StepSchedule


@dataclass(frozen=True)
class Setting:
    """All that scoring needs beside schedules.

    Args:
        dataset: its name.
        supernet: sha256 of the supernet.
        extractor: sha256 of what takes the features, and of the reference; or of the windows.
        quality: what is to be said of it.
        macs: multiply-accumulates of one sample's call at each width.
        image_shape: (C, H, W); None for the stub, which has no images.
        make_scorer: builds a scorer from `args`, in an actor.
        args: of `make_scorer`.
    """

    dataset: str
    supernet: str
    extractor: str
    quality: Quality
    macs: dict[float, int]
    image_shape: tuple[int, int, int] | None
    make_scorer: Callable[..., Scorer | WindowScorer]
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
    from orchestration.checkpoints import load_supernet

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
        quality=FrechetQuality(
            config.data.name if named == "classifier" else named,
            extractor.real,
            extractor.num_reference,
        ),
        macs=macs_by_width(subnets, shape, None if told is None else told.blank(1)),
        image_shape=shape,
        make_scorer=_network_scorer,
        args=(*args, extractor.reference, config.score.block_size),
    )


def window_setting(
    config: Config, chain: StepSchedule, supernet_folder: Path, data_folder: Path
) -> Setting:
    """Scoring by all widths of a supernet that imputes, on prepared windows.

    DataError where an artifact is missing or damaged.
    """
    from models.cost import macs_by_width
    from orchestration.checkpoints import load_supernet

    supernet = load_supernet(supernet_folder)
    subnets = {width: supernet.subnet(width) for width in supernet.widths}
    header = read_window_header(data_folder)
    search, report = search_panel(config, data_folder), report_panel(config, data_folder)
    for part, panel in (("validation", search), ("test", report)):
        if not panel.scored.any():
            raise ConfigError(
                f"score.hide: got {config.score.hide:g}, which hides nothing in any {part} window;"
                " expected a larger share, or longer windows (data.window)"
            )
    size, seed = len(header.variables), config.score.noise_seed
    scale = (header.mean, header.std) if header.own_unit else ((0.0,) * size, (1.0,) * size)
    parts = (subnets, sampler_of(chain), header.shape, execution(config), search, report, seed)
    return Setting(
        dataset=config.data.name,
        supernet=supernet_sha(supernet_folder),
        extractor=sha256_of(data_folder / MANIFEST),
        quality=window_quality(config, header, report, Unit(*scale), data_folder),
        macs=macs_by_width(subnets, header.shape, report.blank(1)),
        image_shape=header.shape,
        make_scorer=_window_scorer,
        args=(*parts, Unit(*scale), config.score.block_size),
    )


def window_quality(
    config: Config, header: WindowHeader, report: Panel, unit: Unit, data_folder: Path
) -> CrpsQuality:
    """What is said of the CRPS of the test windows, with what the baseline imputers reach."""
    values, given, scored = (p.numpy() for p in (report.values, report.given, report.scored))
    rows = {
        name: window_sums(unit.of(impute(values, given))[:, None], unit.of(values), scored)
        for name, impute in BASELINES.items()
    }
    label = header.name if header.hides else f"{header.name}_hidden{100 * config.score.hide:g}"
    names = load_part(data_folder, "test").names
    drawn = WindowPicture(
        names[0], header.variables, header.mean, header.std, values[0], given[0], scored[0]
    )
    return CrpsQuality(label, rows, report.num_samples, drawn)


def stub_setting(config: Config) -> Setting:
    """Scoring in closed form, without data, training or networks."""
    size = stub.NUM_FEATURES
    return Setting(
        dataset="stub",
        supernet="stub",
        extractor="stub",
        quality=FrechetQuality(
            "stub", np.random.default_rng(0).standard_normal((2000, size)).astype("f4"), None
        ),
        macs=stub.macs_table(config.supernet.widths),
        image_shape=None,
        make_scorer=_stub_scorer,
        args=(
            config.diffusion.num_train_timesteps,
            Reference(np.zeros(size), np.eye(size)),
            config.score.block_size,
        ),
    )


def conditioning(
    schedule: StepSchedule, supernet_folder: Path, label: int | None = None
) -> Conditioning | None:
    """What the networks of a supernet are told of each image; None where that is nothing.

    Raises:
        ConfigError: a label is given that is none of its classes.
    """
    description = read_description(supernet_folder)
    num_classes = description["network"].get("num_classes")
    counts = description["meta"].get("class_counts")
    if label is not None and label not in range(num_classes or 0):
        classes = f"0 to {num_classes - 1}" if num_classes else "none"
        raise ConfigError(
            f"label: got {label}, expected {classes}, the classes that {supernet_folder} knows"
        )
    if label is not None and counts is not None and not counts[label]:
        raise ConfigError(
            f"label: got {label}, of which {supernet_folder} has seen no image, expected one of"
            f" {', '.join(str(i) for i, count in enumerate(counts) if count)}"
        )
    if num_classes is None:
        return None
    counts = None if counts is None else tuple(counts)
    return Conditioning(num_classes, schedule.guidance, label, counts)


def execution(config: Config) -> Execution:
    """How subnets run, but for the ways, which are measured.

    A call has the rows of a batch of images, or of a batch of windows as a search samples them.
    """
    rows, score = config.score.batch_size, config.score
    if config.data.is_windows:
        rows *= config.search.num_samples
    return Execution(rows, 1, score.state_bytes, tf32=score.tf32)


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
    source = _source(subnets, sampler, extractor, image_shape, execution, conditioning)
    return Scorer(source, reference, block_size, execution.threads)


def _window_scorer(
    subnets: dict[float, torch.nn.Module],
    sampler: Sampler,
    shape: tuple[int, int, int],
    execution: Execution,
    search: Panel,
    report: Panel,
    report_seed: int,
    unit: Unit,
    block_size: int,
) -> WindowScorer:
    source = _source(subnets, sampler, None, shape, execution, report)
    return WindowScorer(source, search, report, report_seed, unit, block_size, execution.threads)


def _source(
    subnets: dict[float, torch.nn.Module],
    sampler: Sampler,
    extractor: torch.nn.Module | None,
    shape: tuple[int, int, int],
    execution: Execution,
    told: Told | None,
) -> SupernetSource:
    """On the device that this process has been given."""
    device = assigned_device()
    settle(device, execution.tf32)
    return SupernetSource(subnets, sampler, extractor, shape, execution, device, told)


def _stub_scorer(num_train_timesteps: int, reference: Reference, block_size: int) -> Scorer:
    return Scorer(stub.StubSource(num_train_timesteps), reference, block_size)
