"""The chain of a network from elsewhere: what diffusers' scheduler beside it says of it.

A `UNet2DModel` does not know what it was trained on; a saved pipeline keeps that in the
scheduler's `scheduler_config.json`. Where there is none, `diffusion` of the configuration is taken
at its word.
"""

import math
from collections.abc import Mapping
from pathlib import Path

from orchestration.errors import ConfigError, DataError
from orchestration.files import Json, read_json
from orchestration.section import show
from orchestration.training_sections import Diffusion

SCHEDULER_CONFIG = "scheduler_config.json"
TIMESTEPS = "num_train_timesteps"
BETAS: dict[str, dict[str, Json]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "quadratic": {"beta_schedule": "scaled_linear", "beta_start": 1e-4, "beta_end": 0.5},
    "squaredcos_cap_v2": {"beta_schedule": "squaredcos_cap_v2"},  # it has no other start and end
}
"""Those of `models.diffusion` in the words of diffusers' schedulers."""


def check_chain(folder: Path, network: Mapping[str, Json], diffusion: Diffusion) -> None:
    """Holds the configured chain against what a network's files say of its own.

    Args:
        folder: of the network; a scheduler's config is looked for in it, in its folder
            `scheduler`, and in the one beside it, as a saved pipeline has it.
        network: its config, which tells the number of timesteps where it has learned an embedding
            of each.
        diffusion: of the configuration.

    Raises:
        ConfigError: they differ.
        DataError: a scheduler's config is damaged, or of one without betas.
    """
    expected = expected_scheduler(diffusion)
    _compare(folder / "config.json", network, {TIMESTEPS: expected[TIMESTEPS]})
    for place in (folder, folder / "scheduler", folder.parent / "scheduler"):
        path = place / SCHEDULER_CONFIG
        if not path.exists():
            continue
        found = read_json(path)
        if not isinstance(found, dict):
            raise DataError(f"{path}: expected an object, as diffusers' schedulers save it")
        _compare(path, found, expected)
        if "_class_name" in found and "beta_schedule" not in found:
            raise DataError(
                f"{path}: got {found['_class_name']} without a beta_schedule, expected a scheduler"
                " of a chain of betas"
            )


def expected_scheduler(diffusion: Diffusion) -> dict[str, Json]:
    """What diffusers' scheduler of this chain would be made with."""
    return {
        TIMESTEPS: diffusion.num_train_timesteps,
        **BETAS[diffusion.betas],
        "trained_betas": None,
        "prediction_type": diffusion.prediction,
        "rescale_betas_zero_snr": diffusion.rescale_zero_terminal_snr,
    }


def _compare(path: Path, found: Mapping[str, Json], expected: Mapping[str, Json]) -> None:
    """ConfigError at the first key that has another value than is expected, if it has any."""
    for key, value in expected.items():
        if found.get(key) is not None and not _same(found[key], value):
            raise ConfigError(
                f"{path}: {key} is {show(found[key])}, expected {show(value)} as diffusion.* of"
                " the configuration says, which has to be the chain that the network was trained"
                " on"
            )


def _same(found: Json, expected: Json) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6)  # it may have been a float32
    return found == expected
