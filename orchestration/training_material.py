"""What is trained on, on its way from the driver to the workers: images or windows.

The driver reads the prepared data, verified, into the object store; each worker takes all of it
into its memory, or its GPU's, once. It waits for that copy: to pin the data first, as is done for
batches, would take as much memory again, up to the next power of two, and torch keeps it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import ray
import torch
from ray import ObjectRef
from torch import Tensor

from orchestration.config import Config
from orchestration.data import ray_dataset
from orchestration.training_batches import Labels
from orchestration.training_windows import Windows
from orchestration.windows import load_part

# Of a GPU's free memory, that images may take; larger data sets come batch by batch.
SHARE_OF_GPU = 0.25


def share(config: Config, folder: Path) -> list[ObjectRef]:
    """References to the training data of a prepared data set.

    Of images, tables with a column `image` and perhaps `label`, in order; of windows, one array.

    Raises:
        DataError: the data are damaged.
    """
    if config.data.is_windows:
        return [ray.put(load_part(folder, "train").values)]
    return ray_dataset(folder).to_arrow_refs()


def receive(
    config: Config,
    blocks: Sequence[ObjectRef],
    num_classes: int | None,
    device: torch.device,
) -> tuple[Tensor | Windows, Labels | None]:
    """The training data: images uint8 (n, C, H, W), on a GPU if they fit it well; or windows.

    Args:
        config: of the run.
        blocks: what `share` gave.
        num_classes: of the labels; None where there are none.
        device: that this worker trains on.

    Returns:
        The data, and the labels that a conditional network is told.
    """
    parts = ray.get(list(blocks))
    if config.data.is_windows:
        return Windows(torch.from_numpy(parts[0].copy()).to(device)), None
    images = [table["image"].combine_chunks().to_numpy_ndarray() for table in parts]
    pixels = _kept(torch.from_numpy(np.concatenate(images)), device)
    if not config.network.conditional or num_classes is None:
        return pixels, None
    classes = _classes(parts).to(device)
    return pixels, Labels(classes, num_classes, config.train.label_dropout)


def _kept(images: Tensor, device: torch.device) -> Tensor:
    """The images where they are kept: on a GPU if they take a small part of it, else here."""
    if device.type != "cuda":
        return images
    free, _ = torch.cuda.mem_get_info(device)
    return images.to(device) if images.nbytes <= SHARE_OF_GPU * free else images


def _classes(tables: Sequence[pa.Table]) -> Tensor:
    """The class of each image, int64 (n,)."""
    return torch.from_numpy(np.concatenate([table["label"].to_numpy() for table in tables]))
