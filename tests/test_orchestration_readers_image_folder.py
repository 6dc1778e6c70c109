import os
import re

import numpy as np
import pytest
from PIL import Image

from orchestration.data import headers, load_arrays, look, prepare
from orchestration.errors import DataError
from orchestration.files import check_manifest
from orchestration.training_sections import Data

RNG = np.random.default_rng(0)


def save(path, size=(8, 8), mode="L", **options):
    """Writes a random image; returns its pixels (C, H, W)."""
    shape = size if mode == "L" else (*size, 3)
    pixels = RNG.integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "images"


def folder(root, **values):
    return Data(name="folder", path=root, **values)


def arrays(root, tmp_path, **values):
    data = prepare(folder(root, **values), tmp_path / "cache")
    return (*load_arrays(data.folder), data)


def test_folders_are_labels_and_order_is_that_of_names(root, tmp_path):
    pixels = {name: save(root / name) for name in ("dog/b.png", "cat/z.png", "cat/a/c.pgm")}
    images, labels, data = arrays(root, tmp_path)
    assert data.header.labels == ("cat", "dog")
    np.testing.assert_array_equal(
        images, [pixels["cat/a/c.pgm"], pixels["cat/z.png"], pixels["dog/b.png"]]
    )
    assert labels.tolist() == [0, 0, 1]
    assert headers(folder(root)) == data.header


def test_without_folders_there_are_no_labels(root, tmp_path):
    pixels = [save(root / name) for name in ("1.png", "10.PNG", "2.png")]
    images, labels, data = arrays(root, tmp_path)
    np.testing.assert_array_equal(images, pixels)
    assert labels is None and data.header.labels is None


def test_grey_stays_grey_until_one_is_coloured(root, tmp_path):
    grey = save(root / "a.png")
    assert arrays(root, tmp_path)[0].shape == (1, 1, 8, 8)
    color = save(root / "b.webp", mode="RGB", lossless=True)
    images, _, _ = arrays(root, tmp_path)
    np.testing.assert_array_equal(images, [np.repeat(grey, 3, 0), color])


def test_all_kinds_of_files_and_what_was_done_to_them_is_told(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(root / "a.png", exif=exif)
    save(root / "b.jpg", mode="RGB")
    alpha = Image.fromarray(np.zeros((8, 8, 4), np.uint8))
    alpha.save(root / "c.png")
    alpha.save(root / "d.webp", lossless=True)
    Image.fromarray(np.full((8, 8), 257 * 9, np.uint16)).save(root / "e.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).quantize(2).save(root / "f.png")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / "labels.txt").write_bytes(b"x")
    (root / ".DS_Store").write_bytes(b"x")
    (root / "._a.png").write_bytes(b"x")
    (root / ".git").mkdir()
    save(root / ".git" / "a.png")
    images, _, data = arrays(root, tmp_path)
    np.testing.assert_array_equal(images[0, 0], np.rot90(turned[0], -1))
    assert (images[2:4] == 255).all() and (images[4] == 9).all()
    manifest = check_manifest(data.folder)
    assert manifest["notes"] == {
        "of 16-bit grey, scaled to 8 bits": 1,
        "turned or mirrored as their EXIF says": 1,
        "with a palette, taken as colour": 1,
        "with transparency, laid over white": 2,
    }
    assert manifest["passed_over"] == 4 and "skipped" not in manifest
    said = []
    prepare(folder(root), tmp_path / "cache", said.append)
    assert "data    1 turned or mirrored as their EXIF says" in said
    assert said[-1] == "data    files passed over, which are no images by their names: 4"


def test_a_changed_folder_is_other_data(root, tmp_path):
    save(root / "a.png")
    save(root / "b.png")
    first, _, data = arrays(root, tmp_path)
    assert arrays(root, tmp_path)[2] == data
    (root / "notes.txt").write_text("no image: nothing changes")
    assert arrays(root, tmp_path)[2] == data
    added = save(root / "c.png")
    images, _, more = arrays(root, tmp_path)
    assert more.folder != data.folder
    np.testing.assert_array_equal(images, [*first, added])
    (root / "c.png").unlink()
    (root / "a.png").rename(root / "0.png")
    assert arrays(root, tmp_path)[2].folder not in (data.folder, more.folder)


def test_a_file_rewritten_with_the_same_size_and_time_is_other_data(root, tmp_path):
    save(root / "a.pgm")
    stat = (root / "a.pgm").stat()
    before, _, _ = arrays(root, tmp_path)
    after = save(root / "a.pgm")
    os.utime(root / "a.pgm", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (root / "a.pgm").stat().st_size == stat.st_size
    images, _, _ = arrays(root, tmp_path)
    np.testing.assert_array_equal(images[0], after)
    assert (images != before).any()


def test_several_sizes_need_a_size(root, tmp_path):
    save(root / "a.png")
    save(root / "b.png", (6, 9))
    expected = "b.png is 9x6 pixels, a.png 8x8; expected one size: set data.image_size"
    with pytest.raises(DataError, match=expected):
        headers(folder(root))
    images, _, _ = arrays(root, tmp_path, image_size=12, fit="pad")
    assert images.shape == (2, 1, 12, 12)


BAD = [
    ("b.png", b"", "b.png is empty"),
    ("b.png", b"just a text", "b.png is no PNG, JPEG, WebP, PGM or PPM: it begins with b'just a"),
    ("b.jpg", None, "b.jpg cannot be read: image file is truncated"),
    ("b.png", None, "b.png cannot be read: "),
]


@pytest.mark.parametrize(("name", "content", "line"), BAD)
def test_a_bad_file_is_named_and_may_be_left_out(root, tmp_path, name, content, line):
    good = [save(root / other) for other in ("a.png", "c.png")]
    save(root / name)
    whole = (root / name).read_bytes()
    (root / name).write_bytes(whole[:-30] if content is None else content)
    with pytest.raises(DataError, match=f"/{line}.*; mend or remove it, or .*data.skip_bad=1"):
        prepare(folder(root), tmp_path / "cache")
    images, _, data = arrays(root, tmp_path, skip_bad=1)
    np.testing.assert_array_equal(images, good)
    (skipped,) = check_manifest(data.folder)["skipped"]
    assert re.search(line, f"{skipped['name']} {skipped['reason']}")
    assert data.header.count == 2
    (root / "d.png").write_bytes(b"")
    with pytest.raises(DataError, match="data.skip_bad=2 or more"):
        prepare(folder(root, skip_bad=1), tmp_path / "cache")


def test_bad_headers_are_told_before_anything_is_decoded(root):
    save(root / "a.png")
    (root / "b.png").write_bytes(b"")
    (root / "c.png").symlink_to(root / "none.png")
    with pytest.raises(DataError, match=r"b.png is empty \(and 1 more cannot be used\)"):
        look(folder(root, skip_bad=1))
    header, odd = look(folder(root, skip_bad=2))
    assert header.count == 1
    assert odd[0].startswith("2 left out (data.skip_bad): ") and "No such file" in odd[0]


def test_a_folder_that_is_none_or_holds_none_is_named(root, tmp_path):
    for make, line in (
        (lambda: None, "images is not there; expected a folder with images"),
        (root.mkdir, "images holds no image; expected files that end in .png, .jpg"),
        (lambda: (root / "a.txt").write_text("x"), "images holds no image"),
    ):
        make()
        with pytest.raises(DataError, match=line):
            headers(folder(root))
    with pytest.raises(DataError, match="a.txt is a file; expected a folder with images"):
        headers(folder(root / "a.txt"))


def test_images_beside_folders_of_images_are_an_error(root):
    save(root / "a.png")
    save(root / "cat" / "b.png")
    with pytest.raises(DataError, match="holds a.png beside cat/b.png; expected all images in fo"):
        headers(folder(root))


def test_links_to_folders_are_followed_but_not_in_circles(root, tmp_path):
    pixels = save(tmp_path / "elsewhere" / "a.png")
    root.mkdir()
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    images, _, data = arrays(root, tmp_path)
    np.testing.assert_array_equal(images, [pixels])
    assert data.header.labels == ("cat",)


def test_a_label_may_be_a_link_to_another(root, tmp_path):
    pixels = save(root / "cat" / "a.png")
    (root / "tiger").symlink_to(root / "cat")
    (root / "cat" / "self").symlink_to(".")
    (root / "cat" / "up").symlink_to("..")
    images, labels, data = arrays(root, tmp_path)
    np.testing.assert_array_equal(images, [pixels, pixels])
    assert data.header.labels == ("cat", "tiger") and labels.tolist() == [0, 1]
