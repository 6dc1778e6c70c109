"""What a supernet's folder says of it, without its weights: `supernet.json`, and its sha256."""

from collections.abc import Mapping
from pathlib import Path

from orchestration.errors import DataError
from orchestration.files import MANIFEST, Json, read_json, sha256_of

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


def supernet_sha(folder: Path) -> str:
    """What a saved supernet is known by: the sha256 of its manifest, which names all the rest.

    Raises:
        DataError: there is no supernet.
    """
    return sha256_of(folder / MANIFEST)


def is_imputer(network: Mapping[str, object]) -> bool:
    """Whether a supernet's description of its network is of one that imputes windows."""
    return network.get("kind") == "imputer"
