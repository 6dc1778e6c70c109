"""Whether a supernet that is there fits what is to run on it: by what its folder says of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestration.errors import ConfigError
from orchestration.files import Json, check_manifest
from orchestration.formats import Header
from orchestration.supernet_description import is_imputer, read_description, windows_of
from orchestration.window_formats import WindowHeader
from search_spaces.schedule import StepSchedule

CLOSE = 1e-6
"""Standard deviations: those of the same data differ in last bits from machine to machine."""


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
    if chain.guidance != 1:
        _check_labels(supernet_folder, supernet["network"], chain)


def check_network(
    folder: Path, network: Mapping[str, Json], chain: StepSchedule, header: Header | WindowHeader
) -> None:
    """Holds a network of which there is no supernet yet against what is to run on it.

    Args:
        folder: where it lies, for messages.
        network: its description, as a supernet's would have it.
        chain: to be sampled by.
        header: of the data.

    Raises:
        ConfigError: it is of another kind or shape than the data, or cannot be guided.
    """
    _check_kind(folder, network, isinstance(header, WindowHeader))
    if chain.guidance != 1:
        _check_labels(folder, network, chain)
    _check_shape(folder, network, header.shape)


def _check_labels(folder: Path, network: Mapping[str, Json], chain: StepSchedule) -> None:
    if network.get("num_classes") is None:
        raise ConfigError(
            f"guidance: got {chain.guidance:g}, expected 1 (none):"
            f" {folder} was trained without labels"
        )


def check_data(supernet_folder: Path, header: Header | WindowHeader) -> None:
    """Holds a supernet, of the kind that the data ask for, against the data it is to run on.

    Raises:
        ConfigError: it was trained on another shape; or on windows of other variables, or of the
            same in another order, or normalised otherwise.
        DataError: it does not say which windows it was trained on.
    """
    if isinstance(header, WindowHeader):
        trained = windows_of(supernet_folder)
        _check_variables(supernet_folder, trained, header)
        check_shape(supernet_folder, header.shape)  # means depend on the windows' length
        _check_unit(supernet_folder, trained, header)
    else:
        check_shape(supernet_folder, header.shape)


def _check_variables(
    supernet_folder: Path, trained: dict[str, Json], header: WindowHeader
) -> None:
    variables = list(header.variables)
    if len(variables) != len(trained["variables"]):
        raise ConfigError(
            f"data: windows of {len(variables)} variables, expected {len(trained['variables'])} as"
            f" {supernet_folder} was trained on: {', '.join(trained['variables'])}"
        )
    for place, name in enumerate(variables, 1):
        expected = trained["variables"][place - 1]
        if name != expected:
            raise ConfigError(
                f"data: variable {place} is {name!r}, expected {expected!r} as {supernet_folder}"
                " was trained on: the same variables in the same order"
            )


def _check_unit(supernet_folder: Path, trained: dict[str, Json], header: WindowHeader) -> None:
    facts = (header.mean, header.std, trained["mean"], trained["std"])
    for name, mean, std, of_mean, of_std in zip(header.variables, *facts, strict=True):
        for what, found, expected in (("mean", mean, of_mean), ("std", std, of_std)):
            if abs(found - expected) > CLOSE * of_std:
                raise ConfigError(
                    f"data: the training part's {what} of {name!r} is {found:.9g}, expected"
                    f" {expected:.9g} as {supernet_folder} was trained on: see data.path"
                )


def check_shape(supernet_folder: Path, shape: tuple[int, int, int]) -> None:
    """ConfigError where a supernet was trained on another shape: images (C, H, W), (1, K, L)."""
    _check_shape(supernet_folder, read_description(supernet_folder)["network"], shape)


def _check_shape(
    folder: Path, network: Mapping[str, Json], shape: tuple[int, int, int]
) -> None:
    if is_imputer(network):
        expected = (1, network["num_variables"], network["length"])
        what, keys = "windows", "data.path and data.window"
    else:
        expected = (network["channels"], network["image_size"], network["image_size"])
        what, keys = "images", "data.image_size and data.channels"
    if expected != shape:
        found, trained = (" x ".join(map(str, sizes)) for sizes in (shape, expected))
        raise ConfigError(
            f"data: {what} of {found}, expected {trained} as {folder} was trained on: see {keys}"
        )


def check_imputes(supernet_folder: Path, expected: bool) -> None:
    """ConfigError where a supernet imputes windows and should not, or should and does not."""
    _check_kind(supernet_folder, read_description(supernet_folder)["network"], expected)


def _check_kind(folder: Path, network: Mapping[str, Json], imputes: bool) -> None:
    if is_imputer(network) != imputes:
        kinds = ("images", "windows of time series")
        raise ConfigError(
            f"{folder} makes {kinds[not imputes]}, expected a supernet of {kinds[imputes]}"
        )
