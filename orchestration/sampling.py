"""Sampling with one schedule in this process, without Ray."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from orchestration.checkpoints import load_supernet
from orchestration.config import Config
from orchestration.pool import batches
from orchestration.scorer import Execution, SupernetSource
from orchestration.setting import baseline, check_fits, conditioning, sampler_of
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
) -> np.ndarray:
    """Float32 images (num_images, C, H, W) in about [-1, 1].

    Args:
        schedule: by which they are sampled.
        supernet_folder: of the supernet.
        seed: of the noise.
        num_images: how many.
        label: of all of them; None for labels in turn, where the supernet is conditional.

    Raises:
        DataError: the supernet is missing or damaged.
        ConfigError: it has not all of the schedule's widths, was trained on another chain, or
            does not know the label.
    """
    widths = {width for _, width, *_ in schedule.steps}
    check_fits(supernet_folder, schedule, widths)
    supernet = load_supernet(supernet_folder)
    size, channels = supernet.full.config["sample_size"], supernet.full.config["in_channels"]
    source = SupernetSource(
        {width: supernet.subnet(width) for width in widths},
        sampler_of(schedule),
        None,
        (channels, size, size),
        Execution(BATCH_SIZE, threads=1, state_bytes=0),
        conditioning=conditioning(schedule, supernet_folder, label),
    )
    images = []
    for run in batches(num_images, BATCH_SIZE):
        ((_, x_0),) = source.samples([schedule.steps], seed, run, len(run))
        images.append(x_0.numpy())
    return np.concatenate(images)


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
