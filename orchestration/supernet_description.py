"""What a supernet's folder says of it, without its weights: `supernet.json`, and its sha256."""

from collections.abc import Mapping
from pathlib import Path

from orchestration.config import Config, decisive
from orchestration.errors import DataError
from orchestration.files import MANIFEST, Json, read_json, sha256_of
from orchestration.formats import Header
from orchestration.window_formats import WindowHeader

FORMAT = "step-supernet/1"
DESCRIPTION = "supernet.json"


def read_description(folder: Path) -> dict[str, Json]:
    """`supernet.json`: "widths", "network" and "meta" of a saved supernet.

    Raises:
        DataError: there is none, or it is of another format.
    """
    description = read_json(folder / DESCRIPTION)
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise DataError(f"{folder / DESCRIPTION}: got format {found!r}, expected {FORMAT!r}")
    return description


def trained_on(config: Config, header: Header | WindowHeader | None) -> dict[str, Json]:
    """What "meta" tells of the chain and the data that a network was trained on.

    Args:
        config: of the training.
        header: of the data; None where they are not known. Of windows it is kept which variables
            they have, how these were normalised, and the seconds between their times where that
            is known: to impute what is no part of the data.
    """
    chain = {key.partition(".")[2]: v for key, v in decisive(config, "diffusion").items()}
    if not isinstance(header, WindowHeader):
        return {"diffusion": chain}
    windows: dict[str, Json] = {
        "name": header.name,
        "variables": list(header.variables),
        "mean": list(header.mean),
        "std": list(header.std),
    }
    if header.step_s is not None:
        windows["step_s"] = header.step_s
    return {"diffusion": chain, "windows": windows}


def windows_of(folder: Path) -> dict[str, Json]:
    """What `trained_on` has told of the windows that a saved supernet was trained on.

    Raises:
        DataError: nothing, or there is no supernet.
    """
    windows = read_description(folder)["meta"].get("windows")
    if windows is None:
        raise DataError(
            f"{folder / DESCRIPTION}: got no meta.windows, expected the variables that it was"
            " trained on, with mean and standard deviation: train it anew, to another --out"
        )
    return windows


def supernet_sha(folder: Path) -> str:
    """What a saved supernet is known by: the sha256 of its manifest, which names all the rest.

    Raises:
        DataError: there is no supernet.
    """
    return sha256_of(folder / MANIFEST)


def is_imputer(network: Mapping[str, object]) -> bool:
    """Whether a supernet's description of its network is of one that imputes windows."""
    return network.get("kind") == "imputer"
