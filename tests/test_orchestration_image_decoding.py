"""Encoded images against what their pixels were, and against Pillow's own way to the same."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from orchestration.image_decoding import (
    FROM_16_BITS,
    FROM_PALETTE,
    OVER_WHITE,
    TURNED,
    Undecodable,
    decode,
    glimpse_shape,
)

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
COLOR = RNG.integers(0, 256, (5, 7, 3), np.uint8)


def encode(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def check(content, expected, *notes):
    pixels, found = decode(content)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels, expected)
    assert set(found) == set(notes)
    assert glimpse_shape(content) == pixels.shape


@pytest.mark.parametrize("kind", ["PNG", "PPM", "WEBP"])
def test_lossless_formats_give_the_pixels_back(kind, tmp_path):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(Image.fromarray(COLOR), kind, **options)
    check(content, COLOR)
    (tmp_path / "a.x").write_bytes(content)
    np.testing.assert_array_equal(decode(tmp_path / "a.x")[0], COLOR.transpose(2, 0, 1))
    if kind != "WEBP":  # which knows colour alone
        check(encode(Image.fromarray(GREY), kind), GREY)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_is_what_pillow_shows(mode):
    content = encode(Image.fromarray(COLOR).convert(mode), "JPEG")
    shown = Image.open(io.BytesIO(content))
    check(content, np.asarray(shown if mode == "L" else shown.convert("RGB")))


def test_black_and_white_is_grey():
    check(encode(Image.fromarray(GREY > 127)), np.where(GREY > 127, 255, 0).astype(np.uint8))


def test_palettes_are_colour():
    image = Image.fromarray(COLOR).quantize(8)
    check(encode(image), np.asarray(image.convert("RGB")), FROM_PALETTE)


def over_white(color, alpha):
    """By its definition in real numbers."""
    share = alpha[..., None] / 255 if color.ndim == 3 else alpha / 255
    return np.rint(color * share + 255 * (1 - share)).astype(np.uint8)


def test_transparent_pixels_lie_over_white():
    alpha = RNG.integers(0, 256, (5, 7), np.uint8)
    alpha[0, :2] = 0, 255
    grey, color = (np.dstack([values, alpha]) for values in (GREY, COLOR))
    check(encode(Image.fromarray(color)), over_white(COLOR, alpha), OVER_WHITE)
    check(encode(Image.fromarray(grey)), over_white(GREY, alpha), OVER_WHITE)
    assert decode(encode(Image.fromarray(color)))[0][:, 0, 0].tolist() == [255] * 3
    opaque = np.dstack([COLOR, np.full((5, 7), 255, np.uint8)])
    check(encode(Image.fromarray(opaque)), COLOR)


def test_a_transparent_colour_and_a_transparent_entry_of_a_palette_do_too():
    image = Image.fromarray(COLOR)
    expected = COLOR.copy()
    expected[2, 3] = 255
    check(encode(image, transparency=tuple(map(int, COLOR[2, 3]))), expected, OVER_WHITE)
    grey = GREY.copy()
    grey[GREY == GREY[2, 3]] = 255
    check(encode(Image.fromarray(GREY), transparency=int(GREY[2, 3])), grey, OVER_WHITE)
    palette = image.quantize(4)
    shown = np.asarray(palette.convert("RGB")).copy()
    shown[np.asarray(palette) == 1] = 255
    check(encode(palette, transparency=1), shown, OVER_WHITE, FROM_PALETTE)


@pytest.mark.parametrize("kind", ["PNG", "PPM"])
def test_16_bit_grey_is_scaled(kind):
    deep = RNG.integers(0, 2**16, (5, 7), np.uint16)
    deep[0, :3] = 0, 65535, 257
    expected = np.rint(deep / 257).astype(np.uint8)
    check(encode(Image.fromarray(deep), kind), expected, FROM_16_BITS)


def test_a_transparent_grey_of_16_bits_lies_over_white():
    deep = np.array([[0, 1, 300], [301, 65535, 300]], np.uint16)
    image, white = Image.fromarray(deep), np.array([[0, 0, 255], [1, 255, 255]], np.uint8)
    check(encode(image, transparency=300), white, FROM_16_BITS, OVER_WHITE)
    check(encode(image, transparency=7), np.rint(deep / 257).astype(np.uint8), FROM_16_BITS)


def test_a_pgm_of_few_levels_is_spread_over_all():
    check(b"P5 3 1 15\n\x00\x05\x0f", np.array([[0, 85, 255]], np.uint8))
    check(b"P2 2 1 4\n4 1\n", np.array([[255, 64]], np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_turns_as_pillow_does(orientation, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(Image.fromarray(COLOR), kind, exif=exif(orientation), **options)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    check(content, np.asarray(shown), *[TURNED] * (orientation > 1))


def test_a_photograph_taken_upright_stands():
    """Orientation 6: its left column was the top row."""
    steep = np.zeros((8, 16), np.uint8)
    steep[:, :8] = 255
    pixels, _ = decode(encode(Image.fromarray(steep), "JPEG", exif=exif(6), quality=95))
    assert pixels.shape == (1, 16, 8)
    assert pixels[0, :7].min() > 200 and pixels[0, 9:].max() < 50


def test_exif_that_makes_no_sense_turns_nothing():
    check(encode(Image.fromarray(COLOR), exif=exif(9)), COLOR)


def test_exif_after_the_pixels_of_a_png_counts():
    content = encode(Image.fromarray(COLOR))
    tags = exif(3).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(tags)) + b"eXIf" + tags
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + tags))
    late = content[:-12] + chunk + content[-12:]
    check(late, COLOR[::-1, ::-1], TURNED)


def animated(kind):
    frames = [Image.fromarray(COLOR), Image.fromarray(255 - COLOR)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:])


def test_the_first_picture_of_a_phones_jpeg_is_taken():
    content = animated("MPO")
    assert Image.open(io.BytesIO(content)).n_frames == 2
    expected = np.asarray(Image.open(io.BytesIO(encode(Image.fromarray(COLOR), "JPEG"))))
    check(content, expected)


PNG = encode(Image.fromarray(COLOR))
BAD = [
    (b"", "is empty"),
    (b"a list of cats", r"is no PNG, JPEG, WebP, PGM or PPM: it begins with b'a list o'"),
    (b"GIF89a" + bytes(30), r"is no PNG, .* begins with b'GIF89a"),
    (PNG[:60], "cannot be read: image file is truncated|cannot be read: "),
    (encode(Image.fromarray(COLOR), "JPEG")[:-40], "cannot be read: .*truncated"),
    (b"P5 7 5 255\n" + bytes(20), "cannot be read: .*truncated"),
    (PNG.replace(b"IHDR", b"IHDX"), "is no PNG|cannot be"),
    (animated("PNG"), r"is animated \(2 frames\), expected one picture"),
    (animated("WEBP"), r"is animated \(2 frames\), expected one picture"),
    (b"Pf 1 1 -1.0\n" + bytes(4), "holds floating-point values, expected integers"),
]


@pytest.mark.parametrize(("content", "reason"), BAD)
def test_what_is_no_image_is_told_apart(content, reason, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    for given in (content, tmp_path / "a.png"):
        with pytest.raises(Undecodable, match=f"^({reason})"):
            decode(given)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Undecodable, match="cannot be read: No such file"):
        glimpse_shape(tmp_path / "none.png")


def test_any_cut_of_a_file_is_refused_or_a_whole_image():
    """No decoder's own exception comes through."""
    webp, ppm = encode(Image.fromarray(COLOR), "WEBP"), encode(Image.fromarray(COLOR), "PPM")
    for content in (PNG, webp, ppm):
        for end in range(len(content)):
            try:
                assert decode(content[:end])[0].shape == (3, 5, 7)
            except Undecodable:
                pass
