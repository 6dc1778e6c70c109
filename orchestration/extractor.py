"""The features that quality is measured on, made once for a data set and kept.

A folder named by the fingerprint of the data and the settings holds the network's weights, the
features of the real images, and the reference statistics in pytorch-fid's own form (`mu`,
`sigma`), with a manifest. Weights that were pretrained are there too: who has the folder needs
neither the file that they came from nor its pickle.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import ray
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from models.features import Classifier, accuracy, halves, images_at_once, train_classifier
from models.frechet import Reference
from models.moments import moments
from orchestration.config import Config, fingerprint
from orchestration.data import DataSet, load_arrays
from orchestration.errors import DataError
from orchestration.files import (
    MANIFEST,
    Json,
    cached_folder,
    check_manifest,
    sha256_of,
    write_bytes,
    write_manifest,
)
from orchestration.real_features import real_features
from orchestration.weights import ensure_weights, read_reference

log = logging.getLogger(__name__)

FORMAT = "step-features/2"
WEIGHTS, FEATURES, REFERENCE = "weights.safetensors", "features.npy", "reference.npz"

IMAGES_A_TASK = {"classifier": 2000, "efficientnet": 500, "inception": 50}

Say = Callable[[str], None]


class FeatureNetwork(Protocol):
    """A torch module with features of images (n, C, H, W) in [-1, 1]."""

    def features(self, x: Tensor) -> Tensor:
        """Features (n, D)."""



@dataclass(frozen=True)
class Extractor:
    """A feature network with what it says of the real images.

    Args:
        network: images (n, C, H, W) in [-1, 1] -> `features` (n, D).
        reference: mean and covariance of features, that others are compared with.
        real: float32 features (M, D) of the real images.
        num_reference: real images that the reference is made of; None where it was given.
        accuracy: of a classifier, the share of the images that it was not trained on that it
            names rightly; else None.
    """

    network: FeatureNetwork
    reference: Reference
    real: np.ndarray
    num_reference: int | None
    accuracy: float | None


def extractor_folder(config: Config, data: DataSet, cache: Path) -> Path:
    """Where the extractor of these settings and data is kept; DataError without the reference."""
    # By what the images are, not where they lie: files of the same names may change
    content = sha256_of(data.folder / MANIFEST)
    known_by = [FORMAT, content, fingerprint(config, "features")]
    if config.features.reference is not None:
        known_by.append(sha256_of(config.features.reference.expanduser()))
    if config.score.tf32:  # the real images' features are another GPU's bits then
        known_by.append("tf32")
    key = hashlib.sha256(" ".join(known_by).encode()).hexdigest()[:12]
    return cache / f"features-{data.name}-{key}"


def ensure_extractor(config: Config, data: DataSet, cache: Path, say: Say = log.info) -> Path:
    """Makes the extractor, by tasks of the cluster, unless it is there already.

    A classifier is trained by half of the images (`models.features.halves`), the others tell its
    accuracy. The features of pretrained networks need no labels. That there are some for a
    classifier, `dry_run.check_features` has told.

    Args:
        config: its `data` and `features`.
        data: the prepared images.
        cache: where the folder goes.
        say: takes lines of progress.

    Raises:
        DataError: the data, a given file, or an extractor that is there, is damaged.
        MachineError: weights cannot be downloaded, or a package is missing.
    """
    folder = extractor_folder(config, data, cache)
    with cached_folder(folder) as unfinished:
        if unfinished is not None:
            _make(config, data, unfinished, say)
    return folder


def load_extractor(folder: Path) -> Extractor:
    """Reads what `ensure_extractor` wrote; DataError where it is damaged."""
    facts = check_manifest(folder)
    if facts.get("format") != FORMAT:
        raise DataError(f"{folder}: got format {facts.get('format')!r}, expected {FORMAT!r}")
    state = load_file(folder / WEIGHTS)
    network: FeatureNetwork
    if facts["name"] == "classifier":
        network = _classifier(state, facts)
    else:
        from orchestration.pretrained import build  # torchvision: not for the classifier

        network = build(facts["name"], state)
    with np.load(folder / REFERENCE, allow_pickle=False) as statistics:
        reference = Reference(statistics["mu"], statistics["sigma"])
    real = np.load(folder / FEATURES, allow_pickle=False)
    return Extractor(network, reference, real, facts["num_reference"], facts["accuracy"])


def _make(config: Config, data: DataSet, folder: Path, say: Say) -> None:
    """Writes an extractor into an empty folder."""
    images, labels = load_arrays(data.folder)
    network, state, facts = _network(config, images, labels, data.header.num_classes, say)
    chosen = _chosen(len(images), config)
    seen = images if chosen is None else images[chosen]
    images_a_task = _images_a_task(config.features.name, seen.shape)
    features = real_features(network, seen, images_a_task, config, say)
    if config.features.reference is None:
        found = moments(features)
        mu, sigma = found.mean, found.covariance
        facts["num_reference"] = found.count
    else:
        mu, sigma = read_reference(config.features.reference, features.shape[1])
        facts["num_reference"] = None
    write_bytes(folder / WEIGHTS, save(state))  # save_file has errors of its own for a full disk
    np.save(folder / FEATURES, features)
    np.savez(folder / REFERENCE, mu=mu, sigma=sigma)
    write_manifest(folder, (WEIGHTS, FEATURES, REFERENCE), facts)


def _network(
    config: Config,
    images: np.ndarray,
    labels: np.ndarray | None,
    num_classes: int | None,
    say: Say,
) -> tuple[FeatureNetwork, dict[str, Tensor], dict[str, Json]]:
    """The feature network, what to save of it, and what to say of it."""
    features = config.features
    facts: dict[str, Json] = {"format": FORMAT, "name": features.name}
    if features.name != "classifier":
        from orchestration.pretrained import build, read_weights

        state = read_weights(ensure_weights(features, say))
        say(f"data    features of the real images by {features.name} ...")
        weights = {name: value.contiguous() for name, value in state.items()}
        return build(features.name, state), weights, {**facts, "accuracy": None}
    say("data    a classifier learns the labels: quality is measured on its features ...")
    state, share = ray.get(
        _train.remote(images, labels, num_classes, features.seed, features.iterations)
    )
    facts |= {
        "shape": list(images.shape[1:]),
        "num_classes": num_classes,
        "accuracy": share,
    }
    say(f"data    ... and knows {share:.0%} of the images that it was not shown")
    return _classifier(state, facts), state, facts


def _classifier(state: dict[str, Tensor], facts: dict[str, Json]) -> Classifier:
    channels, size, _ = facts["shape"]
    network = Classifier(channels, size, facts["num_classes"])
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _images_a_task(name: str, shape: Sequence[int]) -> int:
    """Of a task that takes features of images (n, C, H, W).

    Pretrained networks bring every image to their own size; a classifier takes it as it is, and
    what a task itself holds of large ones, as float32, is no less than what the network does.
    """
    most = IMAGES_A_TASK[name]
    return min(most, images_at_once(*shape[2:])) if name == "classifier" else most


def _chosen(count: int, config: Config) -> np.ndarray | None:
    """Indices of the real images that are looked at, rising; None for all."""
    number = config.features.num_real
    if number is None or number >= count:
        return None
    rng = np.random.default_rng(config.features.seed)
    return np.sort(rng.choice(count, number, replace=False))


@ray.remote(num_cpus=0)
def _train(
    images: np.ndarray, labels: np.ndarray, num_classes: int, seed: int, iterations: int
) -> tuple[dict[str, Tensor], float]:
    torch.set_num_threads(1)
    shown, others = (half.numpy() for half in halves(torch.from_numpy(labels.copy())))
    network = train_classifier(
        torch.from_numpy(images[shown]), torch.from_numpy(labels[shown]),
        seed=seed, iterations=iterations, num_classes=num_classes,
    )  # fmt: skip
    rest = torch.from_numpy(images[others]), torch.from_numpy(labels[others])
    return network.state_dict(), accuracy(network, *rest)
