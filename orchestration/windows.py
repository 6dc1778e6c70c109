"""Windows of time series in the one form that everything else reads, whatever they came in.

A prepared data set is a folder with an array for each part, `train.npy`, `validation.npy` and
`test.npy`: float32 (n, K, L), normalised by the mean and the standard deviation of each variable
over what was recorded in the training data, NaN at gaps; perhaps `test-hidden.npy`, entries of the
test that the source itself hides; and `manifest.json` with the format, variables, counts, mean,
standard deviation, names of the windows and the sha256 of each file. It is written once into a
cache, complete or not at all. Neither torch nor ray is imported.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from orchestration.errors import ConfigError, DataError
from orchestration.files import (
    MANIFEST,
    Json,
    cached_folder,
    canonical_json,
    check_manifest,
    read_json,
    write_manifest,
)
from orchestration.sections import Config
from orchestration.training_sections import Data
from orchestration.window_formats import (
    PARTS,
    Part,
    WindowHeader,
    WindowSource,
    find_window_source,
)

FORMAT = "step-windows/1"
HIDDEN = "test-hidden.npy"

UNSEEN = ("path", "flip")
"""Keys of `data` that change nothing in what is prepared; the path is in the source's stamp."""


def look(data: Data) -> tuple[WindowHeader, list[str]]:
    """What the configured data hold, and lines on what is odd: the share of gaps.

    Raises:
        DataError: there are none, or they are too few.
    """
    source = find_window_source(data)
    parts = source.read()
    header = _header(data, source, parts)
    train = parts["train"].values
    return header, [f"{np.isnan(train).mean():.1%} of the training entries are gaps"]


def prepare(data: Data, cache_dir: Path, say: Callable[[str], None]) -> Path:
    """Writes the configured windows into the cache, unless they are there; returns the folder.

    Raises:
        DataError: the source is missing or unreadable, or has too few windows.
        MachineError: the cache cannot be written.
    """
    source = find_window_source(data)
    asked = {
        "format": FORMAT,
        "data": data.model_dump(mode="json", exclude=set(UNSEEN)),
        "stamp": source.stamp,
    }
    key = hashlib.sha256(canonical_json(asked)).hexdigest()[:12]
    folder = cache_dir.resolve() / f"{data.name}-{key}"
    with cached_folder(folder) as unfinished:
        if unfinished is not None:
            say(f"data    windows of {data.name} are cut ...")
            parts = source.read()
            _write(unfinished, _header(data, source, parts), parts)
    return folder


def header_of(manifest: Mapping[str, Json]) -> WindowHeader:
    """What a prepared data set holds, by its manifest."""
    return WindowHeader(
        name=manifest["name"],
        variables=tuple(manifest["variables"]),
        length=manifest["length"],
        counts=dict(manifest["counts"]),
        mean=tuple(manifest["mean"]),
        std=tuple(manifest["std"]),
        own_unit=manifest["own_unit"],
        hides=manifest["hides"],
        step_s=manifest.get("step_s"),  # older ones have none
    )


def load_part(folder: Path, name: str) -> Part:
    """A part of a prepared data set, normalised.

    Raises:
        DataError: a file is missing, damaged or not the one that was written.
    """
    try:
        manifest = check_manifest(folder)
    except DataError as error:
        raise DataError(f"{error}; delete {folder} to have it made again") from error
    hidden = None
    if name == "test" and manifest["hides"]:
        hidden = np.load(folder / HIDDEN, allow_pickle=False)
    values = np.load(folder / f"{name}.npy", allow_pickle=False)
    return Part(values, tuple(manifest["names"][name]), hidden)


def check_counts(config: Config, header: WindowHeader, *, searches: bool = True) -> None:
    """ConfigError where the front, or candidates of a search, are judged by more than exist."""
    candidates = (
        ("search.num_images", config.search.num_images, "validation"),
        ("search.max_images", config.search.max_images, "validation"),
    )
    for key, number, part in (
        *(candidates if searches else ()),
        ("score.num_images", config.score.num_images, "test"),
    ):
        if number is not None:
            check_count(key, number, header, part)


def check_count(key: str, number: int, header: WindowHeader, part: str) -> None:
    """ConfigError where `number` is more than the windows of a part."""
    if number > header.counts[part]:
        raise ConfigError(
            f"{key}: got {number}, expected at most {header.counts[part]}, the {part} windows of"
            f" {header.name}"
        )


def normalise(values: np.ndarray, header: WindowHeader) -> np.ndarray:
    """Values (..., K, L) in standard deviations from the mean of the training data."""
    mean, std = (np.array(each)[:, None] for each in (header.mean, header.std))
    return ((values - mean) / std).astype(np.float32)


def restore(values: np.ndarray, header: WindowHeader) -> np.ndarray:
    """What `normalise` was given, float64."""
    mean, std = (np.array(each)[:, None] for each in (header.mean, header.std))
    return values * std + mean


def _header(data: Data, source: WindowSource, parts: Mapping[str, Part]) -> WindowHeader:
    """Mean and standard deviation are the training data's; what never varies there counts as 1."""
    for name in PARTS:
        if not len(parts[name].values):
            raise DataError(f"data.name {data.name}: no window for the part {name!r}")
    known = parts["train"].values.transpose(1, 0, 2).reshape(len(source.variables), -1)
    empty = [v for v, row in zip(source.variables, known, strict=True) if np.isnan(row).all()]
    if empty:
        raise DataError(
            f"data.name {data.name}: {empty[0]} was never recorded in the training data; expected"
            " some values of every variable"
        )
    std = np.nanstd(known, axis=1, dtype=np.float64)
    return WindowHeader(
        name=data.name,
        variables=source.variables,
        length=source.length,
        counts={name: len(parts[name].values) for name in PARTS},
        mean=tuple(np.nanmean(known, axis=1, dtype=np.float64).tolist()),
        std=tuple(np.where(std > 0, std, 1.0).tolist()),
        own_unit=source.own_unit,
        hides=parts["test"].hidden is not None,
        step_s=source.step_s,
    )


def _write(folder: Path, header: WindowHeader, parts: Mapping[str, Part]) -> None:
    files = []
    for name in PARTS:
        files.append(f"{name}.npy")
        np.save(folder / files[-1], normalise(parts[name].values, header))
    if header.hides:
        files.append(HIDDEN)
        np.save(folder / HIDDEN, parts["test"].hidden)
    facts = {key: value for key, value in vars(header).items() if key != "labels"}
    if header.step_s is None:  # as before there was one: the manifest is what runs know data by
        del facts["step_s"]
    names: dict[str, Json] = {name: list(parts[name].names) for name in ("validation", "test")}
    names["train"] = []  # nobody asks which they are
    write_manifest(folder, files, {"format": FORMAT, **facts, "names": names})


def read_window_header(folder: Path) -> WindowHeader:
    """What a prepared data set holds; DataError where it is none of windows."""
    manifest = read_json(folder / MANIFEST)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(f"{folder / MANIFEST}: got format {found!r}, expected {FORMAT!r}")
    return header_of(manifest)
