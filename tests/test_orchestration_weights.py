"""Files of pretrained features: found, held against what they should be, told of in one line."""

import hashlib
import io
import struct
import zipfile
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from orchestration import weights
from orchestration.errors import DataError, MachineError
from orchestration.training_sections import Features

RNG = np.random.default_rng(0)
NAME = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def serve(monkeypatch, answer):
    """Has the network answer with some bytes, or an error."""
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)

    monkeypatch.setattr(weights, "urlopen", urlopen)
    return asked


def publish(monkeypatch, name, content):
    """Has some bytes be the published weights."""
    dimension = weights.PUBLISHED[name].dimension
    known = weights.Published(dimension, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(weights.PUBLISHED, name, known)


@pytest.mark.parametrize("variable", ["TORCH_HOME", "XDG_CACHE_HOME", None])
def test_downloads_lie_where_torch_hub_has_them(tmp_path, monkeypatch, variable):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    assert weights.hub_folder() == Path(torch.hub.get_dir()) / "checkpoints"
    assert weights.weights_place(Features(name="inception")) == weights.hub_folder() / NAME


def test_efficientnets_come_with_their_package_to_the_byte():
    features = Features(name="efficientnet")
    weights.check_files(features)
    assert weights.ensure_weights(features, print) == weights.weights_place(features)


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"others")
    for name in ("efficientnet", "inception"):
        with pytest.raises(DataError, match=f"{path} is not {name}'s published weights: got sha"):
            weights.check_files(Features(name=name, path=path))
    with pytest.raises(DataError, match="none.pth: No such file"):
        weights.check_files(Features(name="inception", path=tmp_path / "none.pth"))


def test_what_is_missing_is_downloaded_once(home, monkeypatch):
    content = b"weights" * 1000
    publish(monkeypatch, "inception", content)
    asked, said = serve(monkeypatch, content), []
    features = Features(name="inception")
    weights.check_files(features)  # which may be missing
    assert weights.ensure_weights(features, said.append) == home / NAME
    assert (home / NAME).read_bytes() == content and str(home / NAME) in said[0]
    weights.ensure_weights(features, said.append)
    assert asked == [weights.INCEPTION_URL] and len(said) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(URLError("no route"), "cannot download .*: no route"), (TimeoutError("late"), "late"),
     (IncompleteRead(b"weig", 3), "cannot download .*: IncompleteRead.4 bytes read, 3 more"),
     (b"a page that says sign in", "gave another file")],
)  # fmt: skip
def test_without_network_one_line_says_where_to_put_it(home, monkeypatch, answer, expected):
    serve(monkeypatch, answer)
    with pytest.raises(MachineError, match=expected) as caught:
        weights.ensure_weights(Features(name="inception"), lambda line: None)
    assert f"expected it at {home / NAME}, or where features.path says" in str(caught.value)
    assert not home.exists()


def statistics(path, size=6, **changed):
    x = RNG.standard_normal((20, size))
    arrays = {"mu": x.mean(0), "sigma": np.cov(x, rowvar=False), **changed}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return arrays


def test_a_reference_of_pytorch_fids_is_read(tmp_path):
    arrays = statistics(tmp_path / "a.npz")
    mu, sigma = weights.read_reference(tmp_path / "a.npz", 6)
    np.testing.assert_array_equal(mu, arrays["mu"])
    np.testing.assert_array_equal(sigma, arrays["sigma"])
    statistics(tmp_path / "b.npz", **{name: value.astype("f4") for name, value in arrays.items()})
    mu, sigma = weights.read_reference(tmp_path / "b.npz", 6)
    assert mu.dtype == sigma.dtype == np.float64


LOPSIDED = np.eye(6)
LOPSIDED[0, 3] = 0.5


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"mu": np.zeros(5)}, r"got mu \(5,\) and sigma \(6, 6\); expected .* mu \(6,\)"),
        ({"sigma": np.zeros((6, 5))}, r"sigma \(6, 5\)"),
        ({"mu": None}, "mu is not a file in the archive"),
        ({"mu": np.full(6, np.nan)}, "NaN or an infinity"),
        ({"sigma": np.full((6, 6), np.inf)}, "NaN or an infinity"),
        ({"sigma": LOPSIDED}, "sigma is not symmetric"),
        ({"mu": np.array(["a"] * 6)}, "could not convert"),
        ({"mu": np.array([object()] * 6)}, "allow_pickle=False"),
    ],
)
def test_statistics_that_cannot_be_are_told_in_one_line(tmp_path, changed, expected):
    path = tmp_path / "bad.npz"
    statistics(path, **changed)
    with pytest.raises(DataError, match=expected) as caught:
        weights.read_reference(path, 6)
    assert str(path) in str(caught.value) and "expected pytorch-fid's" in str(caught.value)


def test_damage_inside_a_compressed_archive_is_told_in_one_line(tmp_path):
    """The first byte says which kind of block follows; of the kind 3 there are none."""
    path = tmp_path / "bad.npz"
    np.savez_compressed(path, mu=np.zeros(6), sigma=np.eye(6))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        (first, *_) = archive.infolist()
    name, extra = struct.unpack_from("<HH", content, first.header_offset + 26)
    content[first.header_offset + 30 + name + extra] |= 0b110
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: .*invalid block type; expected pytorch-fid's"):
        weights.read_reference(path, 6)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_what_is_no_archive_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "bad.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}.*expected pytorch-fid's"):
        weights.read_reference(path, 6)


def test_one_array_alone_is_no_archive(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(6))
    with pytest.raises(DataError, match="expected pytorch-fid's"):
        weights.read_reference(tmp_path / "one.npy", 6)
