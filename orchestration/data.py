"""Images in the one form that everything else reads, whatever format they came in.

Of time series, `windows.py` does the same; here it is only asked.

A prepared data set is a folder: parquet shards with a column `image` (a fixed-shape tensor of
uint8, (C, H, W)) and, where there are labels, `label` (int64), with page checksums; and
`manifest.json` with the format, count, shape, labels and the sha256 of each shard, and where there
is such a thing `skipped` (name and reason of each image left out), `notes` (how many images had
what done to them) and `passed_over` (number of files that are no images). It is written once into
a cache, complete or not at all, one shard at a time in memory. Shards and the order in them are
those of the source; another source, or the same with a file changed, has another folder.

pyarrow is imported here; ray only by `ray_dataset`, torch never.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration import windows
from orchestration.alike import survey
from orchestration.errors import DataError
from orchestration.files import (
    MANIFEST,
    cached_folder,
    canonical_json,
    check_manifest,
    read_json,
    write_manifest,
)
from orchestration.formats import Header, Picture, Source, find_source
from orchestration.intake import Odd, describe_odd, read_good
from orchestration.training_sections import Data
from orchestration.window_formats import WindowHeader

if TYPE_CHECKING:
    import ray.data

FORMAT = "step-data/1"
OF_WINDOWS = ("window", "time")  # keys of `data` that mean nothing to images
SHARD_BYTES = 2**26  # pixels of a shard: few files, yet several for parallel readers


@dataclass(frozen=True)
class DataSet:
    """A prepared data set: what it holds, and the folder where it is."""

    header: Header | WindowHeader
    folder: Path

    @property
    def name(self) -> str:
        """`data.name`."""
        return self.header.name


def headers(data: Data) -> Header | WindowHeader:
    """What the configured data hold, without preparing them; DataError where there are none."""
    return look(data)[0]


def look(data: Data) -> tuple[Header | WindowHeader, list[str]]:
    """What the configured data hold, and lines on what is odd, by headers alone.

    Raises:
        DataError: there are none, or they don't fit together.
    """
    if data.is_windows:
        return windows.look(data)
    source = find_source(data)
    header, bad = survey(source, data)
    return header, [*describe_odd(Odd(bad).facts(source.passed_over)), *_remarks(source)]


def prepare(
    data: Data, cache_dir: Path, say: Callable[[str], None] = lambda line: None
) -> DataSet:
    """Writes the configured data into the cache, unless they are there already.

    Args:
        data: of the configuration.
        cache_dir: where prepared data lie, and downloads beside them.
        say: takes lines on what takes long, and on what is odd in the data.

    Raises:
        DataError: the source is missing or unreadable, or more images are bad than may be.
        MachineError: the cache cannot be written.
    """
    if data.is_windows:
        folder = windows.prepare(data, cache_dir, say)
        return DataSet(read_header(folder), folder)
    source = find_source(data, cache_dir.resolve() / "downloads", say)
    asked = {
        "format": FORMAT,
        "data": data.model_dump(mode="json", exclude={"flip", "path", *OF_WINDOWS}),
        "stamp": source.stamp,
    }
    key = hashlib.sha256(canonical_json(asked)).hexdigest()[:12]
    folder = cache_dir.resolve() / f"{data.name}-{key}"
    with cached_folder(folder) as unfinished:
        if unfinished is not None:
            header, _ = survey(source, data)
            odd = Odd()
            pictures = read_good(source, header, data, odd, say)
            names, count = _write_shards(unfinished, header, pictures)
            facts = {**asdict(replace(header, count=count)), **odd.facts(source.passed_over)}
            write_manifest(unfinished, names, {"format": FORMAT, **facts})
    for line in [*describe_odd(read_json(folder / MANIFEST)), *_remarks(source)]:
        say(f"data    {line}")
    return DataSet(read_header(folder), folder)


def read_header(folder: Path) -> Header | WindowHeader:
    """What a prepared data set holds, by its manifest; the files beside it are not looked at.

    Raises:
        DataError: there is no manifest, or it is of another format.
    """
    manifest = read_json(folder / MANIFEST)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found == windows.FORMAT:
        return windows.header_of(manifest)
    if found != FORMAT:
        raise DataError(f"{folder / MANIFEST}: got format {found!r}, expected {FORMAT!r}")
    labels = manifest["labels"]
    return Header(
        manifest["name"],
        manifest["count"],
        tuple(manifest["shape"]),
        None if labels is None else tuple(labels),
    )


def load_arrays(folder: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """All images, uint8 (n, C, H, W), and their labels, int64 (n,), or None where there are none.

    Raises:
        DataError: a shard is missing, damaged or not the one that was written.
    """
    tables = [_read_shard(path) for path in _checked_shards(folder)]
    images = [table["image"].combine_chunks().to_numpy_ndarray() for table in tables]
    labels = [table["label"].to_numpy() for table in tables if "label" in table.column_names]
    return np.concatenate(images), np.concatenate(labels) if labels else None


def class_counts(folder: Path) -> tuple[int, ...] | None:
    """How many images of each class a prepared data set has; None where there are no labels.

    Raises:
        DataError: a shard is missing, damaged or not the one that was written.
    """
    header = read_header(folder)
    if header.num_classes is None:
        return None
    labels = [_read_shard(path, ["label"])["label"].to_numpy() for path in _checked_shards(folder)]
    return tuple(np.bincount(np.concatenate(labels), minlength=header.num_classes).tolist())


def ray_dataset(folder: Path) -> "ray.data.Dataset":
    """The same as a Ray Dataset with columns `image` and `label`, a block a shard, in order.

    The driver reads the shards, one at a time, into the object store: so they are verified, no
    other node needs this disk, and no CPU has to be free for reading while workers hold them all.

    Raises:
        DataError: a shard is missing, damaged or not the one that was written.
    """
    import ray.data

    # Ray Data warns where no CPU is free; for what is in the object store already it needs none.
    logging.getLogger("ray.data.dataset").setLevel(logging.ERROR)
    return ray.data.from_arrow_refs(
        [ray.put(_read_shard(path)) for path in _checked_shards(folder)]
    )


def _remarks(source: Source) -> list[str]:
    """Lines on the files as they are now, which no manifest keeps."""
    found = {"files read": source.files, "no labels": source.unlabelled}
    return [f"{what}: {text}" for what, text in found.items() if text]


def _write_shards(
    folder: Path, header: Header, pictures: Iterable[Picture]
) -> tuple[list[str], int]:
    """Writes the shards and returns their names, and the number of images in them."""
    names, count = [], 0
    size = max(1, SHARD_BYTES // int(np.prod(header.shape)))
    for shard in _chunks(pictures, size):
        names.append(f"images-{len(names):05d}.parquet")
        count += len(shard)
        # Of another order in memory pyarrow would write another tensor type
        images = np.ascontiguousarray(np.stack([picture.pixels for picture in shard]))
        columns = {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images)}
        if header.labels is not None:
            columns["label"] = pa.array([picture.label for picture in shard], pa.int64())
        pq.write_table(pa.table(columns), folder / names[-1], write_page_checksum=True)
    return names, count


def _chunks(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    remaining = iter(pictures)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _checked_shards(folder: Path) -> list[Path]:
    """The shards in order, each held against its sha256."""
    read_header(folder)
    try:
        names = check_manifest(folder)["files"]
    except DataError as error:
        raise DataError(f"{error}; delete {folder} to have it made again") from error
    return [folder / name for name in sorted(names)]


def _read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}; expected a parquet of images") from error
