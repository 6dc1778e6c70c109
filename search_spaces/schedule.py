"""StepSchedule: which timesteps are sampled, by which width, on which chain; its JSON and key.

The JSON form is the contract "step-schedule/1":

    {"format": "step-schedule/1", "num_train_timesteps": 1000, "betas": "linear",
     "prediction": "epsilon", "sampler": "ddim", "eta": 0.0, "clip_sample": true,
     "steps": [{"t": 980, "width": 0.5}, ...]}

with timesteps in sampling order, strictly falling. The last move goes to alpha_cumprod = 1. Keys
that are only there where they differ from what they would be otherwise:
"rescale_zero_terminal_snr" (false), "guidance" (1), and of a step "alpha_cumprod" (the chain's at
t).
"""

import hashlib
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

from search_spaces.prefixes import Step

FORMAT = "step-schedule/1"
BETAS = ("linear", "squaredcos_cap_v2", "quadratic")
PREDICTIONS = ("epsilon", "v_prediction")
SAMPLERS = ("ddim", "ddpm", "dpmsolver++2m")
SPACINGS = ("leading", "trailing")
CHAIN_KEYS = ("num_train_timesteps", "betas", "prediction", "sampler", "eta", "clip_sample")
OPTIONAL: dict[str, bool | float] = {"rescale_zero_terminal_snr": False, "guidance": 1.0}
STEP_KEYS = ("t", "width")
LEVEL = "alpha_cumprod"


def even_grid(
    num_train_timesteps: int, num_steps: int, spacing: str = "leading"
) -> tuple[int, ...]:
    """Evenly spaced timesteps, falling.

    "leading" is t_i = floor(i T / S), i = S-1 .. 0, which ends at 0: diffusers' where S divides T.
    "trailing" is t_i = round(i T / S) - 1, i = S .. 1, which starts at T - 1: diffusers' (halves
    to even), but for its rounding errors.

    Raises:
        ValueError: not 1 <= num_steps <= num_train_timesteps, or another spacing.
    """
    if spacing not in SPACINGS:
        raise ValueError(f"spacing is {spacing!r}, expected one of {', '.join(SPACINGS)}")
    if not 1 <= num_steps <= num_train_timesteps:
        raise ValueError(
            f"num_steps is {num_steps}, expected 1 to {num_train_timesteps} (num_train_timesteps)"
        )
    gap = Fraction(num_train_timesteps, num_steps)
    if spacing == "trailing":
        return tuple(round(i * gap) - 1 for i in range(num_steps, 0, -1))
    return tuple(math.floor(i * gap) for i in reversed(range(num_steps)))


@dataclass(frozen=True)
class StepSchedule:
    """One schedule and the chain that it runs on; every field is checked when it is built.

    Attributes:
        num_train_timesteps: T, length of the training chain.
        betas: name of the noise schedule: "linear" or "squaredcos_cap_v2", as in diffusers, or
            CSDI's "quadratic".
        prediction: what the network predicts: "epsilon" or "v_prediction", as in diffusers.
        sampler: "ddim", "ddpm" or "dpmsolver++2m".
        eta: DDIM's share of ancestral noise, 0 to 1.
        clip_sample: whether the predicted x_0 is clipped to [-1, 1].
        steps: (t, width) in sampling order; t strictly falling within 0 .. T-1, width in (0, 1].
            A step whose noise is not the chain's at t is (t, width, alpha_cumprod), the latter in
            (0, 1) and rising; the network is told the timestep that has this level.
        rescale_zero_terminal_snr: whether the chain ends in noise alone, so that alpha_cumprod is
            0 at T-1. There a network that predicts epsilon can't run.
        guidance: scale of classifier-free guidance, above 0; 1 is none. Else the network is
            conditional, and every step calls it twice.

    Raises:
        ValueError: for any other value; the message says what, where and what is expected.
    """

    num_train_timesteps: int
    betas: str
    prediction: str
    sampler: str
    eta: float
    clip_sample: bool
    steps: tuple[Step, ...]
    rescale_zero_terminal_snr: bool = False
    guidance: float = 1.0

    def __post_init__(self) -> None:
        num_train_timesteps = _integer(self.num_train_timesteps, "num_train_timesteps")
        if num_train_timesteps < 1:
            _refuse("num_train_timesteps", num_train_timesteps, "an integer of at least 1")
        for name, allowed in (
            ("betas", BETAS),
            ("prediction", PREDICTIONS),
            ("sampler", SAMPLERS),
        ):
            if getattr(self, name) not in allowed:
                _refuse(name, getattr(self, name), "one of " + ", ".join(allowed))
        eta = _number(self.eta, "eta")
        if not 0 <= eta <= 1:
            _refuse("eta", eta, "a number from 0 to 1")
        guidance = _number(self.guidance, "guidance")
        if guidance <= 0:
            _refuse("guidance", guidance, "a number above 0")
        for name in ("clip_sample", "rescale_zero_terminal_snr"):
            if not isinstance(getattr(self, name), bool):
                _refuse(name, getattr(self, name), "true or false")
        # Numpy scalars and ints become plain ints and floats: equal schedules have equal keys.
        object.__setattr__(self, "num_train_timesteps", num_train_timesteps)
        object.__setattr__(self, "eta", eta)
        object.__setattr__(self, "guidance", guidance)
        object.__setattr__(self, "steps", _checked_steps(self.steps, num_train_timesteps))
        if self.rescale_zero_terminal_snr:
            self._check_rescaled()

    @property
    def key(self) -> str:
        """First 12 hexadecimal digits of the sha256 of the canonical JSON."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def calls_per_step(self) -> int:
        """Network calls of a step: 2 where they are guided."""
        return 1 if self.guidance == 1 else 2

    def macs(self, table: Mapping[float, int]) -> int:
        """Multiply-accumulates of one sample, by the MACs of one call at each width.

        Raises ValueError if the table lacks one of the schedule's widths.
        """
        missing = sorted({width for _, width, *_ in self.steps} - set(table))
        if missing:
            raise ValueError(f"schedule: widths {missing} are not in the table {sorted(table)}")
        return self.calls_per_step * sum(table[width] for _, width, *_ in self.steps)

    def to_json(self) -> dict[str, object]:
        """The schedule as a JSON object of the format above."""
        keys = (*STEP_KEYS, LEVEL)
        steps = [dict(zip(keys, step, strict=False)) for step in self.steps]
        chain = {k: getattr(self, k) for k in CHAIN_KEYS}
        chain |= {k: getattr(self, k) for k in OPTIONAL if getattr(self, k) != OPTIONAL[k]}
        return {"format": FORMAT, **chain, "steps": steps}

    @classmethod
    def from_json(cls, data: object) -> "StepSchedule":
        """The schedule of a JSON object; ValueError for unknown or missing keys and bad values."""
        fields = _fields(data, ("format", *CHAIN_KEYS, "steps"), "schedule", tuple(OPTIONAL))
        name = fields.pop("format")
        if name != FORMAT:
            _refuse("format", name, repr(FORMAT))
        if not isinstance(fields["steps"], list):
            _refuse("steps", fields["steps"], "a list of {t, width}")
        rows = [
            _fields(s, STEP_KEYS, f"steps[{i}]", (LEVEL,)) for i, s in enumerate(fields["steps"])
        ]
        keys = (*STEP_KEYS, LEVEL)
        fields["steps"] = tuple(tuple(row[k] for k in keys if k in row) for row in rows)
        return cls(**fields)

    def _check_rescaled(self) -> None:
        last = self.num_train_timesteps - 1
        if last == 0:
            _refuse("num_train_timesteps", 1, "at least 2 where rescale_zero_terminal_snr is true")
        if self.prediction == "epsilon" and self.steps[0][0] == last:
            _refuse(
                "steps[0].t",
                last,
                f"less than {last} or prediction v_prediction, since rescale_zero_terminal_snr"
                " leaves nothing of x_0 there, and epsilon doesn't tell it",
            )


def _checked_steps(steps: object, num_train_timesteps: int) -> tuple[Step, ...]:
    if not isinstance(steps, tuple | list) or not steps:
        _refuse("steps", steps, "at least one (t, width)")
    checked: list[Step] = []
    below, above = num_train_timesteps, 0.0
    for i, (t, width, *level) in enumerate(steps):
        t, width = _integer(t, f"steps[{i}].t"), _number(width, f"steps[{i}].width")
        if not 0 <= t < below:
            _refuse(f"steps[{i}].t", t, f"0 to {below - 1} (timesteps fall strictly)")
        if not 0 < width <= 1:
            _refuse(f"steps[{i}].width", width, "a number above 0, at most 1")
        for alpha_cumprod in level:
            value = _number(alpha_cumprod, f"steps[{i}].{LEVEL}")
            if not above < value < 1:
                _refuse(f"steps[{i}].{LEVEL}", value, f"above {above:g}, below 1 (levels rise)")
            above = value
        if len(checked) and len(checked[0]) != 2 + len(level):
            _refuse(f"steps[{i}]", (t, width, *level), f"{LEVEL} in all steps or in none")
        checked.append((t, width, *([above] if level else [])))
        below = t
    return tuple(checked)


def _fields(
    data: object, keys: tuple[str, ...], where: str, optional: tuple[str, ...] = ()
) -> dict[str, object]:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is {data!r}, expected an object with {', '.join(keys)}")
    unknown = sorted(set(data) - {*keys, *optional})
    missing = sorted(set(keys) - set(data))
    if unknown or missing:
        raise ValueError(
            f"{where}: unknown keys {unknown}, missing keys {missing}, expected {', '.join(keys)}"
        )
    return dict(data)


def _integer(value: object, where: str) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    _refuse(where, value, "an integer")


def _number(value: object, where: str) -> float:
    try:
        if not isinstance(value, bool | str) and math.isfinite(value):
            return float(value)
    except (TypeError, OverflowError):
        pass
    _refuse(where, value, "a finite number")


def _refuse(where: str, value: object, expected: str) -> NoReturn:
    raise ValueError(f"schedule: {where} is {value!r}, expected {expected}")
