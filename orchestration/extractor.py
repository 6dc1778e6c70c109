"""The features that quality is measured on, trained once for a data set and kept.

A folder named by the fingerprint of the data and the settings holds the classifier's weights, the
features of all real images, and the reference statistics in pytorch-fid's own form (`mu`,
`sigma`), with a manifest.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ray
import torch
from safetensors.torch import load_file, save_file

from models.features import Classifier, accuracy, train_classifier
from models.frechet import Reference
from models.images import from_uint8
from models.moments import moments
from orchestration.config import Config, fingerprint
from orchestration.data import DataSet, load_arrays
from orchestration.files import MANIFEST, check_manifest, new_folder, sha256_of, write_manifest

CLASSIFIER, FEATURES, REFERENCE = "classifier.safetensors", "features.npy", "reference.npz"

# Of a batch whose features are taken at once: a quarter of a gigabyte of activations
BATCH_PIXELS = 2**21


@dataclass(frozen=True)
class Extractor:
    """A trained feature extractor with the statistics of the real images.

    Args:
        network: images (n, C, H, W) in [-1, 1] -> `features` (n, D).
        reference: mean and covariance of the features of all real images.
        real: float32 features (M, D) of all real images.
        accuracy: share of the images that it was not trained on that it names rightly.
    """

    network: Classifier
    reference: Reference
    real: np.ndarray
    accuracy: float


def extractor_folder(config: Config, data: DataSet, cache: Path) -> Path:
    """Where the extractor of these settings and data is kept."""
    # By what the images are, not where they lie: files of the same names may change
    content = sha256_of(data.folder / MANIFEST)[:12]
    return cache / f"features-{data.name}-{content}-{fingerprint(config, 'features')}"


def ensure_extractor(config: Config, data: DataSet, cache: Path) -> Path:
    """Trains the extractor, as a task of the cluster, unless it is there already.

    Even-numbered images train it, the others tell its accuracy.

    Raises:
        DataError: the data, or an extractor that is there, is damaged.
    """
    folder = extractor_folder(config, data, cache)
    if folder.exists():
        return folder
    images, labels = load_arrays(data.folder)
    state, features, share = ray.get(
        _train.remote(images, labels, config.features.seed, config.features.iterations)
    )
    reference = moments(features)
    with new_folder(folder) as temporary:
        save_file(state, temporary / CLASSIFIER)
        np.save(temporary / FEATURES, features)
        np.savez(temporary / REFERENCE, mu=reference.mean, sigma=reference.covariance)
        facts = {
            "format": "step-features/1",
            "shape": list(images.shape[1:]),
            "num_classes": len(state["head.1.weight"]),
            "accuracy": share,
        }
        write_manifest(temporary, (CLASSIFIER, FEATURES, REFERENCE), facts)
    return folder


def load_extractor(folder: Path) -> Extractor:
    """Reads what `ensure_extractor` wrote; DataError where it is damaged."""
    facts = check_manifest(folder)
    channels, size, _ = facts["shape"]
    network = Classifier(channels, size, facts["num_classes"])
    network.load_state_dict(load_file(folder / CLASSIFIER))
    with np.load(folder / REFERENCE, allow_pickle=False) as statistics:
        reference = Reference(statistics["mu"], statistics["sigma"])
    real = np.load(folder / FEATURES, allow_pickle=False)
    return Extractor(network.eval(), reference, real, facts["accuracy"])


@ray.remote(num_cpus=0)
def _train(
    images: np.ndarray, labels: np.ndarray, seed: int, iterations: int
) -> tuple[dict[str, torch.Tensor], np.ndarray, float]:
    torch.set_num_threads(1)
    pixels, classes = torch.from_numpy(images.copy()), torch.from_numpy(labels.copy())
    network = train_classifier(pixels[::2], classes[::2], seed=seed, iterations=iterations)
    share = accuracy(network, pixels[1::2], classes[1::2])
    rows = max(1, BATCH_PIXELS // math.prod(pixels.shape[2:]))
    with torch.inference_mode():
        features = [network.features(from_uint8(batch)) for batch in pixels.split(rows)]
    return network.state_dict(), torch.cat(features).numpy(), share
