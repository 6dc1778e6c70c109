"""The one configuration: read in layers, checked at once, saved with every run.

Values come in layers, each over the one before: the defaults of the sections (`sections.py`), the
command's own file (`jobs/configs/*.yaml`), the user's `--config FILE`, each `--set
section.key=value`. So a file need only name what differs. A mistake is one ConfigError of one
line: key, value, what is expected.

Nothing heavy is imported here (no torch, ray, mlflow, diffusers), so that a mistake is answered
before anything starts.
"""

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestration.errors import ConfigError
from orchestration.files import Json
from orchestration.section import show
from orchestration.sections import Config, keys_of
from orchestration.yaml_values import parse_value, read_yaml

Kind = TypeVar("Kind", bound=Config)

PLAIN = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text (a number in quotes: '\"5\"')",
    "path_type": "a path",
    "tuple_type": "a list, such as [1, 2]",
    "too_short": "at least one value",
}
"""pydantic's error types in the words of someone who writes YAML."""

EXECUTION_ONLY = (
    "score.actors", "score.device", "train.device", "tracking.", "ray.",
)  # fmt: skip
"""Keys (or, with a dot, whole sections) that say where a run happens, not what comes out of it.

Another type of device does change bits: what is scored is held to the one of the run's plan.
"""

FREE: dict[str, Json] = {"score.state_bytes": 2**29}
"""Keys that change no bit either, each with the value by which fingerprints know it.

They were part of fingerprints once, by their defaults for the most part: so those are found again.
"""

ADDED: dict[str, Json] = {
    "diffusion.rescale_zero_terminal_snr": False,
    "features.path": None,
    "features.reference": None,
    "features.num_real": None,
    "search.spacing": "leading",
    "network.conditional": False,
    "train.label_dropout": 0.1,
    "sampler.guidance": 1.0,
    "data.image_size": None,
    "data.fit": "crop",
    "data.channels": None,
    "data.flip": None,
    "data.skip_bad": 0,
    "search.space": "per-step",
    "search.segments": 6,
    "search.racing": False,
    "search.max_images": None,
    "search.num_samples": 20,
    "score.num_samples": 100,
    "data.window": None,
    "data.time": None,
    "score.hide": 0.1,
    "imputer.channels": 64,
    "imputer.num_heads": 8,
    "imputer.num_layers": 4,
    "imputer.feedforward": 64,
    "supernet.private_norms": False,
    "train.width_sampling": "sandwich",
    "train.distillation": 0.0,
    "train.teacher": "newest",
    "train.dtype": "float32",
    "train.tf32": False,
    "score.tf32": False,
    "search.warm_start": None,
    "mask.steps": [20, 10, 5],
    "mask.weights": "frozen",
    "mask.form": "respaced",
    "mask.reward": "quality",
    "mask.candidates": 50,
    "mask.draws": "pivotal",
    "mask.masks": 16,
    "mask.rate": 0.1,
    "mask.updates": 2000,
    "mask.ramp": [0.0, 0.6],
    "mask.evaluations": None,
    "mask.elbo_share": 0.2,
    "mask.num_images": 50,
    "mask.seed": 0,
}
"""Keys that came later than others, each with the value that changes nothing.

There they are left out of fingerprints, so that what was made before them is found again.
"""


def load(
    path: Path | None,
    overrides: Sequence[str] = (),
    default: Path | None = None,
    kind: type[Kind] = Config,
) -> Kind:
    """The effective configuration of a command.

    Args:
        path: the user's own YAML file, if any.
        overrides: "section.key=value" each; the value is YAML.
        default: the command's own YAML file, the layer under the user's.
        kind: of configuration: a command may have sections of its own.

    Raises:
        ConfigError: a file is missing or is no YAML, a key is unknown, a value is not acceptable.
    """
    values: dict[str, Json] = {section: {} for section in kind.model_fields}
    for layer in (default, path):
        if layer is not None:
            values = _merge(values, read_yaml(layer))
    for override in overrides:
        values = _merge(values, _parse_override(override))
    return _validate(values, kind)


def overlay(config: Config, values: Mapping[str, Json]) -> Config:
    """A configuration with some values, by section, in place of its own; ConfigError as `load`."""
    return _validate(_merge(config.model_dump(mode="json"), values), type(config))


def to_yaml(config: Config) -> str:
    """The whole configuration as YAML; reading it again gives an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def fingerprint(config: Config, *sections: str) -> str:
    """A short key (12 hexadecimal digits) of some sections, or of all; execution-only keys apart.

    Equal for configurations that ask for the same bits: the name of what is cached.
    """
    canonical = json.dumps(decisive(config, *sections), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def decisive(config: Config, *sections: str) -> dict[str, Json]:
    """The values that decide which bits come out, by key, of some sections or of all."""
    known = list(type(config).model_fields)
    unknown = set(sections) - set(known)
    if unknown:
        raise ValueError(f"sections {sorted(unknown)}: expected some of {known}")
    return {
        key: FREE.get(key, value)
        for key, value in flatten(config).items()
        if not key.startswith(EXECUTION_ONLY)
        and (not sections or key.partition(".")[0] in sections)
        and not (key in ADDED and ADDED[key] == value)
    }


def changes(old: Config, new: Config) -> list[str]:
    """The keys that differ, in the order of the file, but for those that change no bit."""
    before, after = flatten(old), flatten(new)
    return [
        key
        for key, value in after.items()
        if value != before[key] and key not in FREE and not key.startswith(EXECUTION_ONLY)
    ]


def flatten(config: Config) -> dict[str, Json]:
    """Every value by its key, such as `search.budget`."""
    return dict(_flatten(config.model_dump(mode="json")))


def _validate(values: Mapping[str, Json], kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, kind)) from None


def _merge(base: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    """`over` over `base`, section by section; a section left empty changes nothing."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping):
            if value is not None:
                merged[key] = _merge(below, value) if isinstance(value, Mapping) else value
        else:
            merged[key] = value
    return merged


def _parse_override(text: str) -> dict[str, Json]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, such as search.budget=300")
    try:
        parsed = parse_value(value)
    except ValueError as error:
        raise ConfigError(f"{key}: got {value}, expected {error}") from None
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return parsed


def _explain(error: ValidationError, kind: type[Config]) -> str:
    """The first mistake in one line, unknown keys before wrong values, and how many there are."""
    mistakes = sorted(
        error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden"
    )
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    return _explain_one(mistakes[0], kind) + more


def _explain_one(mistake: ErrorDetails, kind: type[Config]) -> str:
    if mistake["type"] == "wrong":
        return mistake["msg"]
    key = ""
    for part in mistake["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
    key, value = key.lstrip("."), mistake["input"]
    if mistake["type"] == "extra_forbidden":
        inner = next((f".{name}" for name in value), "") if isinstance(value, dict) else ""
        return f"{key}{inner}: unknown key; {_suggest(key + inner, kind)}"
    if mistake["type"] == "model_type":
        names = ", ".join(name for name in keys_of(kind) if name.startswith(f"{key}."))
        expected = f"a section with {names}" if names else "sections with keys"
        return f"{key}: got {show(value)}, expected {expected}"
    expected = PLAIN.get(mistake["type"], mistake["msg"].removeprefix("Input should be "))
    return f"{key}: got {show(value)}, expected {expected}"


def _suggest(unknown: str, kind: type[Config]) -> str:
    """The nearest key by its whole name, else (section forgotten or wrong) by its last part."""
    keys = keys_of(kind)
    whole = difflib.get_close_matches(unknown, keys, n=1, cutoff=0.75)
    last_parts = {key.rpartition(".")[2]: key for key in reversed(keys)}
    last = difflib.get_close_matches(unknown.rpartition(".")[2], last_parts, n=1, cutoff=0.75)
    if whole or last:
        return f"did you mean '{whole[0] if whole else last_parts[last[0]]}'?"
    return "expected one of the sections " + ", ".join(kind.model_fields)


def _flatten(values: Mapping[str, Mapping[str, Json]]) -> Iterator[tuple[str, Json]]:
    for section, keys in values.items():
        for key, value in keys.items():
            yield f"{section}.{key}", value
