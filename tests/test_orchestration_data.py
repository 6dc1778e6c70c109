import logging

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray.util.debug
from sklearn.datasets import load_digits

from orchestration import data as module
from orchestration.data import headers, load_arrays, prepare, ray_dataset, read_header
from orchestration.errors import DataError
from orchestration.files import check_manifest, read_json, write_json, write_manifest
from orchestration.formats import Bad, Header, Picture, Source, alike_glimpses
from orchestration.training_sections import Data


@pytest.fixture
def digits(tmp_path):
    return prepare(Data(), tmp_path)


def fake(monkeypatch, images, labels=None, bad=(), **facts):
    """Makes `data.name` stand for the given images; those at the places `bad` can't be decoded."""
    shape = images.shape[1:]

    def read():
        for i, pixels in enumerate(images):
            label = None if labels is None else labels[i]
            yield Bad(f"{i}.png", "is broken") if i in bad else Picture(f"{i}.png", pixels, label)

    source = Source(
        **{"stamp": f"fake {len(images)}", **facts},
        labels=None if labels is None else ("cat", "dog"),
        glance=lambda: alike_glimpses("fake", len(images), shape),
        read=read,
    )
    monkeypatch.setattr(module, "find_source", lambda data, downloads=None, say=None: source)


def random_images(n, shape=(3, 4, 5)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def test_digits_are_scikit_learns_over_the_whole_range(digits):
    images, labels = load_arrays(digits.folder)
    theirs = load_digits()
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    assert images.shape == (1797, 1, 8, 8)
    scaled = {value: round(value * 255 / 16) for value in range(17)}
    assert scaled[0] == 0 and scaled[16] == 255
    expected = np.vectorize(scaled.__getitem__)(theirs.images.astype(int))
    np.testing.assert_array_equal(images[:, 0], expected)
    np.testing.assert_array_equal(labels, theirs.target)


def test_the_header_is_known_before_and_kept_after(digits):
    expected = Header("digits", 1797, (1, 8, 8), tuple("0123456789"))
    assert headers(Data()) == digits.header == read_header(digits.folder) == expected
    manifest = check_manifest(digits.folder)
    assert manifest["format"] == "step-data/1"
    assert list(manifest["files"]) == ["images-00000.parquet"]
    assert digits.name == "digits"


def test_preparing_again_touches_nothing(digits):
    def stamps():
        return {path.name: path.stat().st_mtime_ns for path in digits.folder.iterdir()}

    before = stamps()
    assert prepare(Data(), digits.folder.parent) == digits
    assert stamps() == before


def test_other_data_get_another_folder(digits, monkeypatch):
    fake(monkeypatch, random_images(3))
    assert prepare(Data(), digits.folder.parent).folder != digits.folder


def test_columns_are_tensors_and_integers_with_page_checksums(digits):
    shard = digits.folder / "images-00000.parquet"
    types = {field.name: str(field.type) for field in pq.read_schema(shard)}
    assert types["label"] == "int64"
    assert types["image"].startswith("extension<arrow.fixed_shape_tensor[value_type=uint8, ")
    assert "shape=[1,8,8]" in types["image"]


@pytest.mark.parametrize("labels", [[0, 1, 1, 0, 1, 0, 0], None])
def test_shards_and_their_images_stay_in_order(tmp_path, monkeypatch, labels):
    images = random_images(7)
    fake(monkeypatch, images, labels)
    monkeypatch.setattr(module, "SHARD_BYTES", 3 * 60)
    folder = prepare(Data(), tmp_path).folder
    assert len(list(folder.glob("*.parquet"))) == 3
    found_images, found_labels = load_arrays(folder)
    np.testing.assert_array_equal(found_images, images)
    assert (found_labels is None) == (labels is None)
    if labels is not None:
        np.testing.assert_array_equal(found_labels, labels)


def test_images_of_any_order_in_memory_are_written_in_one(tmp_path, monkeypatch):
    images = random_images(3)
    for i, order in enumerate(("C", "F")):
        fake(monkeypatch, np.asarray(images, order=order), stamp=order)
        folder = prepare(Data(), tmp_path / str(i)).folder
        np.testing.assert_array_equal(load_arrays(folder)[0], images)
    first, second = (path.read_bytes() for path in sorted(tmp_path.rglob("*.parquet")))
    assert first == second


def test_an_image_larger_than_a_shard_is_a_shard(tmp_path, monkeypatch):
    images = random_images(2)
    fake(monkeypatch, images)
    monkeypatch.setattr(module, "SHARD_BYTES", 1)
    np.testing.assert_array_equal(load_arrays(prepare(Data(), tmp_path).folder)[0], images)


def test_a_source_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    fake(monkeypatch, random_images(2), bad=[1])
    with pytest.raises(DataError, match="1.png is broken; mend or remove it, or .*skip_bad=1 or"):
        prepare(Data(), tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_bad_images_are_left_out_as_many_as_allowed_and_reported(tmp_path, monkeypatch):
    images, labels = random_images(7), [0, 1, 1, 0, 1, 0, 1]
    fake(monkeypatch, images, labels, bad=[0, 4], passed_over=3)
    monkeypatch.setattr(module, "SHARD_BYTES", 3 * 60)
    said = []
    data = prepare(Data(skip_bad=2), tmp_path, said.append)
    assert said == [
        "data    2 left out (data.skip_bad): 0.png is broken; 4.png is broken",
        "data    files passed over, which are no images by their names: 3",
    ]
    assert data.header.count == 5 and data.header == read_header(data.folder)
    manifest = check_manifest(data.folder)
    assert manifest["skipped"] == [
        {"name": "0.png", "reason": "is broken"}, {"name": "4.png", "reason": "is broken"}
    ]  # fmt: skip
    assert manifest["passed_over"] == 3 and "notes" not in manifest
    found_images, found_labels = load_arrays(data.folder)
    np.testing.assert_array_equal(found_images, images[[1, 2, 3, 5, 6]])
    assert found_labels.tolist() == [1, 1, 0, 0, 1]
    with pytest.raises(DataError, match=r"0.png is broken \(and 1 more cannot be used\)"):
        prepare(Data(skip_bad=1), tmp_path)
    with pytest.raises(DataError, match="holds no image that can be read"):
        fake(monkeypatch, images, labels, bad=range(7))
        prepare(Data(skip_bad=9), tmp_path)


def test_what_is_prepared_is_as_fresh_as_its_source(tmp_path, monkeypatch):
    fake(monkeypatch, random_images(2))
    first = prepare(Data(), tmp_path).folder
    assert prepare(Data(flip=True), tmp_path).folder == first  # mirrored at training alone
    assert prepare(Data(channels=1), tmp_path).folder != first
    fake(monkeypatch, random_images(2), stamp="later")
    assert prepare(Data(), tmp_path).folder != first


def test_nothing_is_decoded_before_its_shard_is_written(tmp_path, monkeypatch):
    """The images in memory are those of a shard, however many there are."""
    fake(monkeypatch, random_images(12))
    source = module.find_source(Data())
    alive, written, most = [], [], []

    def read():
        for picture in source.read():
            alive.append(picture.name)
            most.append(len(alive))
            yield picture

    write_table = module.pq.write_table

    def write(table, *args, **options):
        write_table(table, *args, **options)
        written.append(len(table))
        del alive[: len(table)]

    counted = module.replace(source, read=read)
    monkeypatch.setattr(module, "find_source", lambda data, downloads, say: counted)
    monkeypatch.setattr(module.pq, "write_table", write)
    monkeypatch.setattr(module, "SHARD_BYTES", 5 * 60)
    prepare(Data(), tmp_path)
    assert written == [5, 5, 2] and max(most) == 5


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("read", [load_arrays, ray_dataset])
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.999])
def test_a_broken_shard_is_named_before_anything_is_read(digits, read, share):
    shard = digits.folder / "images-00000.parquet"
    flip(shard, int(share * shard.stat().st_size))
    with pytest.raises(DataError, match="images-00000.parquet is damaged: .*delete .* again"):
        read(digits.folder)


@pytest.mark.parametrize("read", [load_arrays, ray_dataset])
def test_a_page_that_breaks_after_the_manifest_was_checked_is_named(digits, read):
    shard = digits.folder / "images-00000.parquet"
    flip(shard, shard.stat().st_size // 3)
    write_manifest(digits.folder, [shard.name], {**read_json(digits.folder / "manifest.json")})
    with pytest.raises(DataError, match="images-00000.parquet is damaged: .*checksum"):
        read(digits.folder)


def test_a_missing_shard_and_a_foreign_format_are_named(digits):
    manifest = read_json(digits.folder / "manifest.json")
    (digits.folder / "images-00000.parquet").unlink()
    with pytest.raises(DataError, match="images-00000.parquet"):
        load_arrays(digits.folder)
    write_json(digits.folder / "manifest.json", {**manifest, "format": "step-data/0"})
    with pytest.raises(DataError, match="got format 'step-data/0', expected 'step-data/1'"):
        load_arrays(digits.folder)


def test_ray_data_are_the_same_in_the_same_order(tmp_path, monkeypatch, ray_cluster):
    images = random_images(7)
    fake(monkeypatch, images, [0, 1, 1, 0, 1, 0, 0])
    monkeypatch.setattr(module, "SHARD_BYTES", 3 * 60)
    dataset = ray_dataset(prepare(Data(), tmp_path).folder)
    batches = list(dataset.iter_batches(batch_size=None))
    np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in batches]), images)
    assert np.concatenate([batch["label"] for batch in batches]).tolist() == [0, 1, 1, 0, 1, 0, 0]


def test_ray_data_are_there_without_a_free_cpu_and_without_a_false_alarm(
    digits, ray_cluster, monkeypatch
):
    monkeypatch.setattr(ray, "available_resources", dict)  # as where workers hold every CPU
    monkeypatch.setattr(ray.util.debug, "_logged", set())  # it warns once a process
    told, handler = [], logging.Handler()
    monkeypatch.setattr(handler, "emit", told.append)
    monkeypatch.setattr(logging.getLogger("ray.data.dataset"), "handlers", [handler])
    assert sum(map(len, ray.get(ray_dataset(digits.folder).to_arrow_refs()))) == 1797
    assert not told
