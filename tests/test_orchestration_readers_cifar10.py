"""CIFAR-10's two formats, written byte by byte as their authors' files are."""

import os
import pickle
import struct

import numpy as np
import pytest

from orchestration.data import headers, load_arrays, prepare
from orchestration.errors import DataError
from orchestration.readers.array_pickle import RefusedPickle, read_dict
from orchestration.readers.cifar10 import NAMES
from orchestration.training_sections import Data

RNG = np.random.default_rng(0)
NUM = 3  # images a batch
PIXELS = RNG.integers(0, 256, (5, NUM, 3072), np.uint8)
CLASSES = RNG.integers(0, 10, (5, NUM))


def text(value):
    """Python 2's str in protocol 2: SHORT_BINSTRING or BINSTRING."""
    short = b"U" + bytes([len(value)]) if len(value) < 256 else None
    return (short or b"T" + struct.pack("<i", len(value))) + value


def number(value):
    """BININT1, BININT2 or BININT."""
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if 0 <= value < 2**16:
        return b"M" + struct.pack("<H", value)
    return b"J" + struct.pack("<i", value)


def array(values, dtype=b"u1", order=b"\x89"):
    """An array as numpy 1 on Python 2 wrote it: _reconstruct, then its state."""
    shape = b"(" + b"".join(map(number, values.shape)) + b"t"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85"
    made += text(b"b") + b"\x87R"
    kind = b"cnumpy\ndtype\n" + text(dtype) + number(0) + number(1) + b"\x87R"
    kind += b"(" + number(3) + text(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    return made + b"(" + number(1) + shape + kind + order + text(values.tobytes()) + b"tb"


def batch(pixels, classes, label=b"training batch 1 of 5"):
    """The original's dictionary: batch_label, labels, data, filenames."""
    labels = b"](" + b"".join(map(number, classes)) + b"e"
    names = b"](" + b"".join(text(b"a_s_%06d.png" % i) for i in range(len(classes))) + b"e"
    items = text(b"batch_label") + text(label) + text(b"labels") + labels
    items += text(b"data") + array(pixels) + text(b"filenames") + names
    return b"\x80\x02}(" + items + b"u."


def write(folder, kind="python"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, (pixels, classes) in enumerate(zip(PIXELS, CLASSES, strict=True)):
        path = folder / f"data_batch_{i + 1}"
        if kind == "python":
            path.write_bytes(batch(pixels, classes.tolist()))
        elif kind == "python 3":
            content = {"labels": classes.tolist(), "data": pixels}
            path.write_bytes(pickle.dumps(content, protocol=2))
        else:
            records = np.concatenate([classes[:, None].astype(np.uint8), pixels], 1)
            path.with_suffix(".bin").write_bytes(records.tobytes())
    return Data(name="cifar10", path=folder)


def test_the_bytes_are_what_a_plain_unpickler_reads_as_such():
    """So that what is tested is the original's format, not our own idea of it."""
    plain = pickle.loads(batch(PIXELS[0], CLASSES[0].tolist()), encoding="bytes")
    np.testing.assert_array_equal(plain[b"data"], PIXELS[0])
    assert plain[b"data"].dtype == np.uint8 and plain[b"labels"] == CLASSES[0].tolist()


@pytest.mark.parametrize("kind", ["python", "python 3", "binary"])
@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py", "cifar-10-batches-bin"])
def test_all_batches_in_order(tmp_path, kind, inside):
    write(tmp_path / "raw" / inside, kind)
    data = Data(name="cifar10", path=tmp_path / "raw")
    header = headers(data)
    assert (header.count, header.shape, header.labels) == (15, (3, 32, 32), NAMES)
    images, labels = load_arrays(prepare(data, tmp_path / "cache").folder)
    np.testing.assert_array_equal(images, PIXELS.reshape(15, 3, 32, 32))
    np.testing.assert_array_equal(labels, CLASSES.flatten())


def test_red_comes_first_and_rows_are_rows(tmp_path):
    data = write(tmp_path)
    images, _ = load_arrays(prepare(data, tmp_path / "cache").folder)
    assert images[0, 0, 0, 1] == PIXELS[0, 0, 1]
    assert images[0, 0, 1, 0] == PIXELS[0, 0, 32]
    assert images[0, 2, 0, 0] == PIXELS[0, 0, 2048]


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_pickle_that_runs_something_is_refused_and_not_run(tmp_path):
    data = write(tmp_path / "raw")
    victim = tmp_path / "run"
    content = pickle.dumps({"data": Evil(victim), "labels": [0]}, protocol=2)
    pickle.loads(content)
    assert victim.exists()  # it would have
    victim.unlink()
    (tmp_path / "raw" / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_2 is refused: it asks for posix.system; exp"):
        headers(data)
    assert not victim.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"builtins\neval", b"__builtin__\neval", b"os\nsystem", b"numpy\nload", b"numpy\nfromfile",
        b"numpy.core.multiarray\nscalar", b"_codecs\ndecode", b"copyreg\n_reconstructor",
        b"builtins\ngetattr", b"numpy.core.multiarray\n_reconstruct.__globals__",
    ],
)  # fmt: skip
@pytest.mark.parametrize("opcode", ["GLOBAL", "STACK_GLOBAL"])
def test_every_other_name_is_refused(name, opcode):
    module, function = name.split(b"\n")
    if opcode == "GLOBAL":
        content = b"\x80\x02c" + name + b"\n."
    else:
        short = (b"\x8c" + bytes([len(part)]) + part for part in (module, function))
        content = b"\x80\x04" + b"".join(short) + b"\x93."
    with pytest.raises(RefusedPickle, match="it asks for"):
        read_dict(content)


def test_other_ways_out_are_refused():
    for content, reason in (
        (b"\x80\x02X\x01\0\0\0aQ.", "an object from outside"),  # persistent id
        (b"\x80\x02\x82\x01.", "it is damaged"),  # extension registry
        (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x03\0\0\0zip\x86R.", "bytes as 'zip'"),
        (b"\x80\x02K\x05.", "it holds a int, expected a dictionary"),
        (b"\x80\x02}U\x01aK", "it is damaged"),
        (b"", "it is damaged"),
        (b"no pickle at all", "it is damaged"),
    ):
        with pytest.raises(RefusedPickle, match=reason):
            read_dict(content)


def test_arrays_are_bytes_that_fill_their_shape():
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)

    def holding(content):
        return b"\x80\x02}" + text(b"data") + content + b"s."

    np.testing.assert_array_equal(read_dict(holding(array(values)))["data"], values)
    for content, reason in (
        (array(values, dtype=b"O8"), "array of 'O8'"),
        (array(values, dtype=b"f8"), "array of 'f8'"),
        (array(values, order=b"\x88"), "do not fill in order"),
        (array(values).replace(number(2), number(200)), "do not fill"),
    ):
        with pytest.raises(RefusedPickle, match=reason):
            read_dict(holding(content))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (batch(PIXELS[0][:, :3071], [1, 2, 3]), r"'data' of shape \(3, 3071\), expected"),
        (batch(PIXELS[0], [1, 2]), "expected under 'labels' a list of 3 numbers"),
        (batch(PIXELS[0], [1, 2, 10]), "image 2: label 10, expected 0 to 9"),
        (b"\x80\x02}.", "'data' of shape None"),
        (batch(PIXELS[0], [1, 2, 3])[:-50], "is refused: it is damaged"),
    ],
)
def test_a_batch_that_is_not_as_it_should_be_is_named(tmp_path, content, line):
    data = write(tmp_path / "raw")
    (tmp_path / "raw" / "data_batch_3").write_bytes(content)
    with pytest.raises(DataError, match=f"data_batch_3.*{line}"):
        prepare(data, tmp_path / "cache")


def test_binary_files_of_another_size_and_missing_ones_are_named(tmp_path):
    data = write(tmp_path, "binary")
    path = tmp_path / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="data_batch_4.bin has 9,218 bytes, expected a multiple o"):
        headers(data)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="data_batch_4.bin has 0 bytes"):
        headers(data)
    path.unlink()
    with pytest.raises(DataError, match="lacks data_batch_4.bin; expected data_batch_1.bin to"):
        headers(data)
    with pytest.raises(DataError, match="holds neither data_batch_1 nor data_batch_1.bin"):
        headers(Data(name="cifar10", path=tmp_path.parent))
