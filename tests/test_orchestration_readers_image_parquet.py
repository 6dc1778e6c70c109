"""Parquet files in the three forms that people have, against the pixels that were written."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from orchestration import config as configs
from orchestration.data import headers, load_arrays, look, prepare
from orchestration.dry_run import check_features, check_network
from orchestration.errors import ConfigError, DataError
from orchestration.readers import parquet_rows
from orchestration.training_sections import Data

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (5, 6, 8, 3), np.uint8)  # n, H, W, C


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


ENCODED = [png(pixels) for pixels in COLOR]


def tensors(values):
    return pa.FixedShapeTensorArray.from_numpy_ndarray(values)


def write(path, metadata=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return Data(name="parquet", path=path)


def arrays(data, tmp_path):
    return load_arrays(prepare(data, tmp_path / "cache").folder)


BYTES = pa.array(ENCODED)
STRUCTS = pa.array([{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(ENCODED)])
FORMS = {
    "bytes": BYTES,
    "large bytes": BYTES.cast(pa.large_binary()),
    "structs": STRUCTS,
    "H, W, C": tensors(COLOR),
    "C, H, W": tensors(np.ascontiguousarray(COLOR.transpose(0, 3, 1, 2))),
    "C, H, W stored as H, W, C": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.uint8(), [6, 8, 3], permutation=[2, 0, 1]), tensors(COLOR).storage
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", ["image", "photo"])
def test_every_form_gives_the_pixels(tmp_path, monkeypatch, form, column):
    monkeypatch.setattr(parquet_rows, "ROWS", 2)
    data = write(tmp_path / "a.parquet", **{"id": pa.array(range(5)), column: FORMS[form]})
    header = headers(data)
    assert (header.count, header.shape, header.labels) == (5, (3, 6, 8), None)
    images, labels = arrays(data, tmp_path)
    np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), COLOR)
    assert labels is None


@pytest.mark.parametrize("axis", [None, 1, -1])
def test_grey_tensors_and_encoded_grey_stay_grey(tmp_path, axis):
    grey = np.ascontiguousarray(COLOR[..., 0])
    column = tensors(grey if axis is None else np.expand_dims(grey, axis))
    for name, content in (("a", column), ("b", pa.array([png(pixels) for pixels in grey]))):
        images, _ = arrays(write(tmp_path / f"{name}.parquet", image=content), tmp_path)
        np.testing.assert_array_equal(images[:, 0], grey)


@pytest.mark.parametrize(
    ("label", "names", "numbers"),
    [
        (pa.array([7, 3, 3, 9, 7]), ("3", "7", "9"), [1, 0, 0, 2, 1]),
        (pa.array(["dog", "cat", "dog", "ant", "cat"]), ("ant", "cat", "dog"), [2, 1, 2, 0, 1]),
        (pa.array(["b", "a", "b", "b", "a"]).dictionary_encode(), ("a", "b"), [1, 0, 1, 1, 0]),
        (pa.nulls(5, pa.int64()), None, None),
    ],
)
def test_labels_are_numbered_in_their_order(tmp_path, label, names, numbers):
    data = write(tmp_path / "a.parquet", image=BYTES, label=label)
    assert headers(data).labels == names
    _, labels = arrays(data, tmp_path)
    assert (labels if labels is None else labels.tolist()) == numbers


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (
            {"fine_label": pa.array(range(5)), "coarse_label": pa.array([0, 0, 1, 1, 1])},
            "labels are read from a column label, and there is only img, fine_label, coarse_label",
        ),
        ({"label": pa.nulls(5, pa.int64())}, "the column label is null in every row"),
    ],
)
def test_why_there_are_no_labels_is_told(tmp_path, columns, reason):
    """As of CIFAR-100, whose names on Hugging Face these are."""
    data = write(tmp_path / "a.parquet", img=BYTES, **columns)
    header, odd = look(data)
    assert odd == [f"no labels: {reason}"] and header.labels is None
    said = []
    prepared = prepare(data, tmp_path / "cache", said.append)
    assert said == [f"data    no labels: {reason}"]
    config = configs.load(
        None,
        ["search.budget=1", "network.conditional=true", "data.name=parquet", "data.image_size=8",
         f"data.path={data.path}"],
    )  # fmt: skip
    whole = rf"have no labels \({reason}\)"
    with pytest.raises(ConfigError, match=f"{whole}; expected labels, or features.name=effic"):
        check_features(config, prepared.header)
    with pytest.raises(ConfigError, match=f"^network.conditional: got true, .* {whole}$"):
        check_network(config, (3, 8, 8))


def test_hugging_faces_names_are_taken(tmp_path):
    features = {"label": {"names": ["plane", "car", "bird"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    label = pa.array([2, 0, 0, 2, 0])  # 1 doesn't occur
    data = write(tmp_path / "a.parquet", metadata, image=STRUCTS, label=label)
    assert headers(data).labels == ("plane", "car", "bird")
    assert arrays(data, tmp_path)[1].tolist() == [2, 0, 0, 2, 0]
    data = write(tmp_path / "b.parquet", metadata, image=STRUCTS, label=pa.array([0, -1, 1, 2, 3]))
    expected = "b.parquet, image 1 has the label -1, expected one of 3"
    with pytest.raises(DataError, match=expected):
        prepare(data, tmp_path / "cache")
    some = Data(name="parquet", path=data.path, skip_bad=2)
    assert arrays(some, tmp_path)[1].tolist() == [0, 1, 2]


def test_a_folder_is_its_files_in_order(tmp_path):
    parts = {"part-1/a": slice(3, 5), "part-0/b": slice(2, 3), "part-0/a": slice(2)}
    for name, rows in parts.items():
        label = pa.array(["x", "y", "z", "y", "x"][rows])
        write(tmp_path / "all" / f"{name}.parquet", image=STRUCTS[rows], label=label)
    data = Data(name="parquet", path=tmp_path / "all")
    images, labels = arrays(data, tmp_path)
    np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), COLOR)
    assert labels.tolist() == [0, 1, 2, 1, 0]
    told = "files read: 3, part-0/a.parquet to part-1/a.parquet"
    said = []
    prepare(data, tmp_path / "cache", said.append)
    assert look(data)[1] == [told] and said == [f"data    {told}"]
    one = look(Data(name="parquet", path=tmp_path / "all" / "part-1"))[1]
    assert one == ["files read: 1, a.parquet"]
    assert look(Data(name="parquet", path=tmp_path / "all" / "part-1" / "a.parquet"))[1] == []
    write(tmp_path / "all" / "part-2.parquet", image=BYTES)
    with pytest.raises(DataError, match="part-2.parquet has another schema than part-0/a.parquet"):
        headers(data)


def test_rows_that_hold_no_image_are_named_and_may_be_left_out(tmp_path):
    rows = [
        *({"bytes": content, "path": None} for content in ENCODED[:2]),
        {"bytes": b"text", "path": None},
        {"bytes": None, "path": "cat.png"},
        None,
        {"bytes": ENCODED[2][:-40], "path": None},
    ]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    data = write(tmp_path / "a.parquet", image=pa.array(rows, kind))
    with pytest.raises(DataError, match="a.parquet, image 2 is no PNG.*and 2 more"):
        headers(data)
    said = []
    allowing = Data(name="parquet", path=data.path, skip_bad=4)
    folder = prepare(allowing, tmp_path / "cache", said.append).folder
    np.testing.assert_array_equal(load_arrays(folder)[0].transpose(0, 2, 3, 1), COLOR[:2])
    assert "image 3 holds no bytes, only the path cat.png; " in said[0] and said[0].endswith("...")


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"id": pa.array([1])}, "no column of images among id int64; expected one, named image"),
        ({"image": pa.array(["a.png"])}, "no column of images among image string"),
        ({"a": BYTES, "b": BYTES}, "several columns of images among a binary, b binary"),
        ({"image": tensors(np.zeros((1, 4, 4, 4), np.uint8))}, "no column of images among"),
        ({"image": tensors(np.zeros((1, 4, 4), np.float32))}, "no column of images among"),
        ({"image": BYTES, "label": pa.array([0.5] * 5)}, "column label holds double, expect"),
    ],
)
def test_a_file_without_what_is_needed_says_what_it_has(tmp_path, columns, line):
    with pytest.raises(DataError, match=f"a.parquet: {line}"):
        headers(write(tmp_path / "a.parquet", **columns))


def test_files_that_are_missing_or_broken_are_named(tmp_path):
    data = write(tmp_path / "a.parquet", image=BYTES)
    whole = data.path.read_bytes()
    for content in (b"", b"PAR1", whole[:-5], bytes(100)):
        data.path.write_bytes(content)
        with pytest.raises(DataError, match="a.parquet is damaged: "):
            headers(data)
    middle = bytearray(whole)
    middle[8:40] = bytes(32)
    data.path.write_bytes(middle)
    with pytest.raises(DataError, match="a.parquet is damaged: "):
        prepare(data, tmp_path / "cache")
    with pytest.raises(DataError, match="none.parquet is not there; expected a parquet file"):
        headers(Data(name="parquet", path=tmp_path / "none.parquet"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no .parquet file"):
        headers(Data(name="parquet", path=tmp_path / "empty"))


@pytest.mark.parametrize("column", ["image", "photo.raw"])
def test_tensors_that_are_null_are_told_by_their_number(tmp_path, column):
    rows = [None if i in (1, 3) else list(range(48)) for i in range(5)]
    storage = pa.array(rows, pa.list_(pa.uint8(), 48))
    kind = pa.fixed_shape_tensor(pa.uint8(), (4, 4, 3))
    nulls = {column: pa.ExtensionArray.from_storage(kind, storage)}
    data = write(tmp_path / "a.parquet", **nulls)
    with pytest.raises(DataError, match=f"a.parquet: 2 of 5 rows of {column} are null; expected"):
        headers(data)
    assert headers(write(tmp_path / "b.parquet", **{column: FORMS["H, W, C"]})).count == 5
