"""The configuration of a sweep: that of a search, and a section `sweep` that says what is varied.

The other sections hold for every search; a data set of the sweep is a label and the values, in the
same sections, that differ for it. Nothing heavy is imported here.
"""

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from orchestration.search_sections import Search
from orchestration.section import Section, Seed, wrong
from orchestration.sections import Config

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

OF_THE_WHOLE = ("tracking", "ray", "sweep")
"""Sections that no data set has for itself: one cluster, one MLflow."""

OF_ALL_ACTORS = ("actors", "actors_per_gpu", "device")
"""Keys of `score` that no data set has for itself: one pool of actors."""

OF_ALL_SEARCHES = ("cost",)
"""Keys of `search` that no data set has for itself: all savings are on one axis."""

VARIED = {"seed": "seeds", "optimizer": "optimizers"}
"""Keys of `search` that lists of `sweep` set, and their names there."""

Optimizer = Search.model_fields["optimizer"].annotation


class DataSet(Section):
    """A data set, or a variant of one: sections of values that go over the common ones."""

    model_config = ConfigDict(extra="allow")

    label: str | None = None


class Sweep(Section):
    """Searches over data sets x optimizers x seeds, and who owns the actors that score."""

    data: Annotated[tuple[DataSet, ...], Field(strict=False, min_length=1)] = (DataSet(),)
    optimizers: Annotated[tuple[Optimizer, ...], Field(strict=False, min_length=1)] | None = None
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)] | None = None
    actors: Literal["shared", "own"] = "shared"

    @model_validator(mode="after")
    def _check(self) -> "Sweep":
        for key in VARIED.values():
            values = getattr(self, key)
            if values is not None and len(set(values)) < len(values):
                raise wrong(f"sweep.{key}", values, "each value once")
        for i, entry in enumerate(self.data):
            self._check_entry(f"sweep.data[{i}]", entry)
        return self

    def _check_entry(self, place: str, entry: DataSet) -> None:
        if entry.label is not None and not LABEL.fullmatch(entry.label):
            expected = "letters, digits, '.', '_' and '-': it names folders"
            raise wrong(f"{place}.label", entry.label, expected)
        for name, values in entry.model_extra.items():
            if name in OF_THE_WHOLE:
                raise wrong(f"{place}.{name}", values, f"nothing: {name}.* is of the whole sweep")
        score, search = (entry.model_extra.get(name) for name in ("score", "search"))
        for key in OF_ALL_ACTORS:
            if isinstance(score, dict) and key in score:
                expected = f"nothing: score.{key} is of the whole sweep"
                raise wrong(f"{place}.score.{key}", score[key], expected)
        for key in OF_ALL_SEARCHES:
            if isinstance(search, dict) and key in search:
                expected = f"nothing: search.{key} is of the whole sweep"
                raise wrong(f"{place}.search.{key}", search[key], expected)
        for key, values in VARIED.items():
            if isinstance(search, dict) and key in search:
                expected = f"nothing: sweep.{values} sets it"
                raise wrong(f"{place}.search.{key}", search[key], expected)


class SweepConfig(Config):
    """The common values, and what is varied."""

    sweep: Sweep = Sweep()

    @model_validator(mode="after")
    def _check_varied(self) -> "SweepConfig":
        for key, name in VARIED.items():
            values, value = getattr(self.sweep, name), getattr(self.search, key)
            usual = Search.model_fields[key].default
            if values is not None and value not in (usual, *values):
                raise wrong(f"search.{key}", value, f"nothing: sweep.{name} sets it")
        return self
