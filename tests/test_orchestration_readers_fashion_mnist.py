"""Fashion-MNIST from IDX files that are written here as MNIST's authors describe them."""

import gzip
import hashlib
import struct
import urllib.error
import urllib.request
from io import BytesIO

import numpy as np
import pytest

from orchestration.data import headers, load_arrays, prepare
from orchestration.errors import DataError
from orchestration.readers import fashion_mnist as module
from orchestration.readers.fashion_mnist import IMAGES, LABELS, NAMES
from orchestration.training_sections import Data

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 28, 28), np.uint8)
CLASSES = np.array([9, 0, 3, 3, 1, 7], np.uint8)


def idx(values):
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def write(folder, packed=True, images=None, labels=None):
    images = idx(PIXELS) if images is None else images
    labels = idx(CLASSES) if labels is None else labels
    folder.mkdir(exist_ok=True)
    for name, content in ((IMAGES, images), (LABELS, labels)):
        file = folder / (f"{name}.gz" if packed else name)
        file.write_bytes(gzip.compress(content) if packed else content)
    return Data(name="fashion-mnist", path=folder)


@pytest.mark.parametrize("packed", [True, False])
def test_the_training_split_comes_in_order(tmp_path, packed):
    data = write(tmp_path / "raw", packed)
    header = headers(data)
    assert (header.count, header.shape, header.labels) == (6, (1, 28, 28), NAMES)
    images, labels = load_arrays(prepare(data, tmp_path / "cache").folder)
    np.testing.assert_array_equal(images[:, 0], PIXELS)
    np.testing.assert_array_equal(labels, CLASSES)


def test_the_names_are_those_of_its_authors():
    from torchvision.datasets import FashionMNIST

    assert list(NAMES) == FashionMNIST.classes


PACKED = gzip.compress(idx(PIXELS))
BAD = [
    ({"images": b""}, f"{IMAGES} begins with nothing, expected 00 00 08 03: an IDX file"),
    ({"images": idx(CLASSES)}, f"{IMAGES} begins with 00 00 08 01, expected 00 00 08 03"),
    ({"images": b"\x1f\x8b" + bytes(9)}, f"{IMAGES} begins with 1f 8b 00 00"),
    ({"images": idx(PIXELS)[:9]}, f"{IMAGES} ends within its header"),
    ({"images": idx(PIXELS)[:-1]}, f"{IMAGES} ends within item 5; expected 6 of them"),
    ({"images": idx(PIXELS) + b"x"}, f"{IMAGES} goes on after its 6 items"),
    ({"labels": idx(CLASSES[:5])}, f"{LABELS}: 5 labels, expected 6 as {IMAGES}"),
    ({"labels": idx(CLASSES + 1)}, f"{LABELS}: label 0 is 10, expected 0 to 9"),
]


@pytest.mark.parametrize(("files", "line"), BAD)
def test_a_file_that_is_not_as_it_should_be_is_named(tmp_path, files, line):
    data = write(tmp_path / "raw", False, **files)
    with pytest.raises(DataError, match=line):
        prepare(data, tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (PACKED[:-9], "is damaged: .*expected a gzip file"),
        (PACKED[:40] + bytes([PACKED[40] ^ 255]) + PACKED[41:], "is damaged: .*gzip file"),
        (idx(PIXELS), "is damaged: Not a gzipped file .*expected a gzip file"),
    ],
)
def test_a_broken_gzip_is_named(tmp_path, content, line):
    data = write(tmp_path / "raw")
    (tmp_path / "raw" / f"{IMAGES}.gz").write_bytes(content)
    with pytest.raises(DataError, match=f"{IMAGES}.gz {line}"):
        prepare(data, tmp_path / "cache")


def test_a_missing_file_and_folder_are_named(tmp_path):
    data = write(tmp_path / "raw")
    (tmp_path / "raw" / f"{LABELS}.gz").unlink()
    with pytest.raises(DataError, match=f"raw lacks {LABELS} and {LABELS}.gz; expected one"):
        headers(data)
    with pytest.raises(DataError, match="data.path /none is not there; expected a folder with"):
        headers(Data(name="fashion-mnist", path="/none"))


@pytest.fixture
def network(monkeypatch, tmp_path):
    """A machine without Debian's package; answers by address."""
    from torchvision.datasets import FashionMNIST

    answers, asked = {}, []

    def urlopen(address, timeout):
        asked.append(address)
        if address not in answers:
            raise urllib.error.URLError("Name or service not known")
        return BytesIO(answers[address])

    monkeypatch.setattr(module, "DEBIAN", tmp_path / "usr")
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    contents = {f"{IMAGES}.gz": PACKED, f"{LABELS}.gz": gzip.compress(idx(CLASSES))}
    sums = [(name, hashlib.md5(content).hexdigest()) for name, content in contents.items()]
    monkeypatch.setattr(FashionMNIST, "resources", [*sums, ("t10k-images-idx3-ubyte.gz", "0")])
    for name, content in contents.items():
        answers[FashionMNIST.mirrors[0] + name] = content
    return answers, asked


def test_it_is_downloaded_once(network, tmp_path, monkeypatch):
    answers, asked = network
    data = Data(name="fashion-mnist")
    monkeypatch.setattr(module, "CHUNK_BYTES", 16)
    monkeypatch.setattr(module, "SAY_EVERY_S", -1.0)
    said = []
    folder = prepare(data, tmp_path / "cache", said.append).folder
    np.testing.assert_array_equal(load_arrays(folder)[0][:, 0], PIXELS)
    assert len(asked) == 2
    assert "it is downloaded to" in said[0] and str(tmp_path / "cache") in said[0]
    assert f"data    {IMAGES}.gz: 0.0 MB" in said[1:]
    answers.clear()
    assert prepare(data, tmp_path / "cache").folder == folder and len(asked) == 2


def test_a_dry_run_downloads_nothing_and_tells_what_there_would_be(network):
    header = headers(Data(name="fashion-mnist"))
    assert (header.count, header.shape) == (60_000, (1, 28, 28)) and network[1] == []


@pytest.mark.parametrize("reason", ["Name or service not known", "has another md5 than"])
def test_without_network_one_line_says_where_to_put_the_files(network, tmp_path, reason):
    answers, _ = network
    if "md5" in reason:
        answers.update((address, content + b"x") for address, content in answers.items())
    else:
        answers.popitem()
    with pytest.raises(DataError) as caught:
        prepare(Data(name="fashion-mnist"), tmp_path / "cache")
    line = str(caught.value)
    assert reason in line and "\n" not in line
    assert line.endswith("dataset-fashion-mnist), or in the folder that data.path names")
    assert not list(tmp_path.glob("cache/**/*.gz"))


def test_where_debian_has_it_it_is_found(monkeypatch, tmp_path):
    write(tmp_path / "usr")
    monkeypatch.setattr(module, "DEBIAN", tmp_path / "usr")
    assert headers(Data(name="fashion-mnist")).count == 6
