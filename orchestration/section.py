"""What every section of the configuration is made of: strict values, and how a check complains."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Device = Literal["auto", "cpu", "cuda"]


def wrong(key: str, value: object, expected: str) -> PydanticCustomError:
    """The error of a check that concerns `key`, whichever section found it."""
    context = {"key": key, "got": show(value), "expected": expected}
    return PydanticCustomError("wrong", "{key}: got {got}, expected {expected}", context)


def show(value: object) -> str:
    """A value as a message shows it: as JSON, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


class Section(BaseModel):
    """Unknown keys are errors, types are strict ("5" is no number), values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
