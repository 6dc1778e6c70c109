"""Whether a supernet that is there fits what is to run on it: by what its folder says of it."""

from collections.abc import Iterable
from pathlib import Path

from orchestration.errors import ConfigError
from orchestration.files import check_manifest
from orchestration.supernet_description import is_imputer, read_description
from search_spaces.schedule import StepSchedule


def check_fits(supernet_folder: Path, chain: StepSchedule, widths: Iterable[float]) -> None:
    """Holds a supernet against what is to run on it.

    Raises:
        ConfigError: it lacks a width, or was trained on another chain.
        DataError: it is missing or damaged.
    """
    check_manifest(supernet_folder)
    supernet = read_description(supernet_folder)
    if not set(widths) <= set(supernet["widths"]):
        raise ConfigError(
            f"widths {sorted(set(widths))}: expected those of {supernet_folder},"
            f" {sorted(supernet['widths'])}"
        )
    trained_on = supernet["meta"].get("diffusion", {})
    if trained_on:  # it tells only of a chain that is rescaled
        trained_on = {"rescale_zero_terminal_snr": False, **trained_on}
    for name, value in trained_on.items():
        if getattr(chain, name) != value:
            raise ConfigError(
                f"{name}: got {getattr(chain, name)}, expected {value} as in {supernet_folder}"
            )
    if chain.guidance != 1 and supernet["network"].get("num_classes") is None:
        raise ConfigError(
            f"guidance: got {chain.guidance:g}, expected 1 (none):"
            f" {supernet_folder} was trained without labels"
        )


def check_shape(supernet_folder: Path, shape: tuple[int, int, int]) -> None:
    """ConfigError where a supernet was trained on images of another shape (C, H, W)."""
    network = read_description(supernet_folder)["network"]
    if is_imputer(network):
        expected = (1, network["num_variables"], network["length"])
    else:
        expected = (network["channels"], network["image_size"], network["image_size"])
    if expected != shape:
        found, trained = (" x ".join(map(str, sizes)) for sizes in (shape, expected))
        raise ConfigError(
            f"data: images of {found}, expected {trained} as {supernet_folder} was trained on:"
            " see data.image_size and data.channels"
        )


def check_imputes(supernet_folder: Path, expected: bool) -> None:
    """ConfigError where a supernet imputes windows and should not, or should and does not."""
    if is_imputer(read_description(supernet_folder)["network"]) != expected:
        kinds = ("images", "windows of time series")
        raise ConfigError(
            f"{supernet_folder} makes {kinds[not expected]}, expected a supernet of"
            f" {kinds[expected]}"
        )
