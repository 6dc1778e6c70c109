"""Images in the one form that everything else reads, whatever format they came in.

A prepared data set is a folder: parquet shards with a column `image` (a fixed-shape tensor of
uint8, (C, H, W)) and, where there are labels, `label` (int64), with page checksums; and
`manifest.json` with the format, count, shape, labels and the sha256 of each shard. It is written
once into a cache, complete or not at all. Shards and the order in them are those of the source.

pyarrow is imported here; ray only by `ray_dataset`, torch never.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.errors import DataError
from orchestration.files import (
    MANIFEST,
    canonical_json,
    check_manifest,
    new_folder,
    read_json,
    write_manifest,
)
from orchestration.formats import Header, find_source
from orchestration.sections import Data

if TYPE_CHECKING:
    import ray.data

FORMAT = "step-data/1"
SHARD_BYTES = 2**26  # pixels of a shard: few files, yet several for parallel readers


@dataclass(frozen=True)
class DataSet:
    """A prepared data set: what it holds, and the folder where it is."""

    header: Header
    folder: Path

    @property
    def name(self) -> str:
        """`data.name`."""
        return self.header.name


def headers(data: Data) -> Header:
    """What the configured data hold, without preparing them; DataError where there are none."""
    return find_source(data).header


def prepare(data: Data, cache_dir: Path) -> DataSet:
    """Writes the configured data into the cache, unless they are there already.

    Raises:
        DataError: the source is missing or unreadable.
        MachineError: the cache cannot be written.
    """
    source = find_source(data)
    asked = {"format": FORMAT, "data": data.model_dump(mode="json"), **asdict(source.header)}
    key = hashlib.sha256(canonical_json(asked)).hexdigest()[:12]
    folder = cache_dir.resolve() / f"{data.name}-{key}"
    if not (folder / MANIFEST).exists():
        with new_folder(folder) as unfinished:
            names = _write_shards(unfinished, source.header, source.read())
            write_manifest(unfinished, names, {"format": FORMAT, **asdict(source.header)})
    return DataSet(source.header, folder)


def read_header(folder: Path) -> Header:
    """What a prepared data set holds, by its manifest; the shards are not looked at.

    Raises:
        DataError: there is no manifest, or it is of another format.
    """
    manifest = read_json(folder / MANIFEST)
    found = manifest.get("format") if isinstance(manifest, dict) else None
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


def ray_dataset(folder: Path) -> "ray.data.Dataset":
    """The same as a Ray Dataset with columns `image` and `label`, a block a shard, in order.

    The driver reads the shards, one at a time, into the object store: so they are verified, no
    other node needs this disk, and no CPU has to be free for reading while workers hold them all.

    Raises:
        DataError: a shard is missing, damaged or not the one that was written.
    """
    import ray.data

    return ray.data.from_arrow_refs(
        [ray.put(_read_shard(path)) for path in _checked_shards(folder)]
    )


def _write_shards(
    folder: Path, header: Header, items: Iterable[tuple[np.ndarray, int | None]]
) -> list[str]:
    """Writes the shards and returns their names."""
    names = []
    size = max(1, SHARD_BYTES // int(np.prod(header.shape)))
    for shard in _chunks(items, size):
        names.append(f"images-{len(names):05d}.parquet")
        images = np.stack([image for image, _ in shard])
        columns = {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(images)}
        if header.labels is not None:
            columns["label"] = pa.array([label for _, label in shard], pa.int64())
        pq.write_table(pa.table(columns), folder / names[-1], write_page_checksum=True)
    return names


def _chunks(
    items: Iterable[tuple[np.ndarray, int | None]], size: int
) -> Iterator[list[tuple[np.ndarray, int | None]]]:
    remaining = iter(items)
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


def _read_shard(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is damaged: {error}; expected a parquet of images") from error
