"""samples.png and other grids of images: every pixel a whole number of pixels, nothing smoothed.

Images are uint8 (n, C, H, W), or floating point in [-1, 1] as samplers leave them; C is 1 or 3.
"""

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from orchestration.figures import INK

TARGET_PIXELS = 56
"""Images are magnified up to about this size; those that are larger stay as they are."""
FONT_SIZE = 15


def samples_png(rows: Sequence[tuple[str, np.ndarray]]) -> bytes:
    """Samples of several schedules, a titled row each, as PNG.

    Column k holds the image that each schedule makes of the same noise, so that what changes from
    row to row is the schedule's doing.

    Args:
        rows: (title, images) from top to bottom; all rows of one shape (n, C, H, W).

    Raises:
        ValueError: no rows, or shapes or values that are not as described.
    """
    if not rows or len({images.shape for _, images in rows}) > 1:
        shapes = [images.shape for _, images in rows]
        raise ValueError(f"rows of samples have shapes {shapes}, expected one shape (n, C, H, W)")
    strips = [_tile(images, len(images)) for _, images in rows]
    font = ImageFont.truetype(
        Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), FONT_SIZE
    )
    margin = 12
    left = margin + math.ceil(max(font.getlength(title) for title, _ in rows)) + margin
    height, width = strips[0].shape[:2]
    page = Image.new("RGB", (left + width + margin, len(rows) * height + 2 * margin), "white")
    draw = ImageDraw.Draw(page)
    for i, ((title, _), strip) in enumerate(zip(rows, strips, strict=True)):
        top = margin + i * height
        page.paste(Image.fromarray(strip), (left, top))
        draw.text((left - margin, top + height // 2), title, INK, font, anchor="rm")
    return _png_bytes(page)


def sample_grid(images: np.ndarray) -> bytes:
    """Images (n, C, H, W), n >= 1, as a grid that is about square, row by row, as PNG.

    Raises:
        ValueError: shape or values are not as described.
    """
    return _png_bytes(Image.fromarray(_tile(images, math.ceil(math.sqrt(len(images))))))


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Images as uint8: those in [-1, 1] are scaled to 0 .. 255, rounded, and clipped.

    Raises:
        ValueError: the shape is not (n, 1 or 3, H, W), n >= 1, or a value is not finite.
    """
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise ValueError(f"images have shape {images.shape}, expected (n, 1 or 3, H, W), n >= 1")
    if images.dtype == np.uint8:
        return images
    if not np.isfinite(images).all():
        raise ValueError("images hold NaN or infinity, expected values in [-1, 1]")
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8)


def _tile(images: np.ndarray, num_columns: int) -> np.ndarray:
    """RGB array of the magnified images in rows of `num_columns`, a gap of white around each."""
    images = as_uint8(images)
    num, _, height, width = images.shape
    scale = max(1, round(TARGET_PIXELS / max(height, width)))
    num_rows = math.ceil(num / num_columns)
    large = images.repeat(scale, axis=2).repeat(scale, axis=3)
    large = np.broadcast_to(large, (num, 3, height * scale, width * scale))
    missing = num_rows * num_columns - num
    framed = np.pad(large, ((0, missing), (0, 0), (2, 2), (2, 2)), constant_values=255)
    cell_height, cell_width = framed.shape[2:]
    cells = framed.reshape(num_rows, num_columns, 3, cell_height, cell_width)
    return np.ascontiguousarray(cells.transpose(0, 3, 1, 4, 2)).reshape(
        num_rows * cell_height, num_columns * cell_width, 3
    )


def _png_bytes(image: Image.Image) -> bytes:
    content = BytesIO()
    image.save(content, format="png")
    return content.getvalue()
