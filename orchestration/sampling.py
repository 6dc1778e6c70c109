"""Sampling with one schedule in this process, without Ray."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestration.batches import batches
from orchestration.chains import baseline, sampler_of
from orchestration.checkpoints import load_supernet
from orchestration.compatibility import check_fits, check_imputes
from orchestration.config import Config
from orchestration.execution import Execution
from orchestration.image_grids import samples_png
from orchestration.machine import settle
from orchestration.setting import conditioning
from orchestration.supernet_source import SupernetSource
from orchestration.window_panels import search_panel, spread_order
from orchestration.window_plot import WindowPicture
from orchestration.windows import load_part, read_window_header
from search_spaces.schedule import StepSchedule, even_grid

BATCH_SIZE = 64

# Samples that show how well a supernet has been trained.
NUM_SAMPLES, NUM_STEPS = 16, 25


def sample_images(
    schedule: StepSchedule,
    supernet_folder: Path,
    seed: int,
    num_images: int,
    label: int | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """Float32 images (num_images, C, H, W) in about [-1, 1].

    Args:
        schedule: by which they are sampled.
        supernet_folder: of the supernet.
        seed: of the noise.
        num_images: how many.
        label: of all of them; None for labels in turn, where the supernet is conditional.
        device: `cpu` or `cuda`; a GPU gives other last bits.

    Raises:
        DataError: the supernet is missing or damaged.
        ConfigError: it has not all of the schedule's widths, was trained on another chain, or
            does not know the label.
    """
    settle(device)
    widths = {width for _, width, *_ in schedule.steps}
    check_fits(supernet_folder, schedule, widths)
    check_imputes(supernet_folder, False)
    supernet = load_supernet(supernet_folder)
    size, channels = supernet.full.config["sample_size"], supernet.full.config["in_channels"]
    source = SupernetSource(
        {width: supernet.subnet(width) for width in widths},
        sampler_of(schedule),
        None,
        (channels, size, size),
        Execution(BATCH_SIZE, threads=1, state_bytes=0),
        device,
        conditioning(schedule, supernet_folder, label),
    )
    images = []
    for run in batches(num_images, BATCH_SIZE):
        ((_, x_0),) = source.samples([schedule.steps], seed, run, len(run))
        images.append(x_0.cpu().numpy())
    return np.concatenate(images)


def widths_png(config: Config, supernet_folder: Path, data_folder: Path) -> bytes:
    """A few samples of each width alone as PNG: images, or a validation window."""
    if config.data.is_windows:
        return _imputed_png(config, supernet_folder, data_folder)
    return samples_png(sample_widths(config, supernet_folder))


def _imputed_png(config: Config, supernet_folder: Path, data_folder: Path) -> bytes:
    chain, header = baseline(config), read_window_header(data_folder)
    supernet = load_supernet(supernet_folder)
    panel = search_panel(config, data_folder)
    source = SupernetSource(
        {width: supernet.subnet(width) for width in supernet.widths},
        sampler_of(chain),
        None,
        header.shape,
        Execution(NUM_SAMPLES, threads=1, state_bytes=0),
        conditioning=panel,
    )
    rows = []
    draws = range(min(NUM_SAMPLES, panel.num_samples))
    for width in supernet.widths:
        steps = [(t, width) for t, _ in chain.steps]
        ((_, x_0),) = source.samples([steps], 0, draws, NUM_SAMPLES)
        rows.append((f"width {width:g}, {len(steps)} steps", x_0[:, 0].numpy()))
    window = (part[0].numpy() for part in (panel.values, panel.given, panel.scored))
    names = load_part(data_folder, "validation").names
    name = names[spread_order(len(names))[0]]  # of the panel's first
    return WindowPicture(name, header.variables, header.mean, header.std, *window).png(rows)


def sample_widths(config: Config, supernet_folder: Path) -> list[tuple[str, np.ndarray]]:
    """A few samples of each width alone, evenly spaced, on the same noise; with titles."""
    chain = baseline(config)
    num_steps = min(NUM_STEPS, len(chain.steps))
    grid = even_grid(chain.num_train_timesteps, num_steps, config.search.spacing)
    rows = []
    for width in config.supernet.widths:
        schedule = replace(chain, steps=tuple((t, width) for t in grid))
        title = f"width {width:g}, {len(grid)} steps"
        rows.append((title, sample_images(schedule, supernet_folder, 0, NUM_SAMPLES)))
    return rows
