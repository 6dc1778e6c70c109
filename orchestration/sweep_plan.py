"""What a sweep consists of, worked out from its configuration alone: searches and supernets.

A supernet is named by a fingerprint of what determines it, so that data sets which share it train
it once; a search by its data set's label, optimizer and seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration.config import fingerprint, load, overlay
from orchestration.errors import ConfigError
from orchestration.sections import SUPERNET_SECTIONS, Config
from orchestration.sweep_sections import VARIED, DataSet, SweepConfig


@dataclass(frozen=True)
class PlannedSearch:
    """One search of a sweep.

    Args:
        dataset: label of its data set.
        config: its own whole configuration, which `jobs.search` would take as it is.
    """

    dataset: str
    config: Config

    @property
    def optimizer(self) -> str:
        """`search.optimizer`."""
        return self.config.search.optimizer

    @property
    def seed(self) -> int:
        """`search.seed`."""
        return self.config.search.seed

    @property
    def name(self) -> str:
        """Of its run directory; no other search of the sweep has it."""
        return f"{self.dataset}-{self.optimizer}-{self.seed}"

    @property
    def supernet(self) -> str | None:
        """Fingerprint of the supernet that it runs on; None for the stub."""
        if self.config.score.scorer == "stub":
            return None
        return fingerprint(self.config, *SUPERNET_SECTIONS)


def load_sweep(path: Path | None, overrides: Sequence[str], default: Path | None) -> SweepConfig:
    """The effective configuration of a sweep, each of its data sets checked too.

    Raises:
        ConfigError: as `config.load`; a mistake in a data set is told by its place.
    """
    config = load(path, overrides, default, SweepConfig)
    planned_searches(config)
    return config


def planned_searches(config: SweepConfig) -> list[PlannedSearch]:
    """All searches: seed by seed, so that the first results cover every data set.

    Raises:
        ConfigError: a data set's values are not acceptable, by themselves or with an optimizer,
            or two share a label.
    """
    sweep, search = config.sweep, config.search
    data_sets: dict[str, Config] = {}
    for i, entry in enumerate(sweep.data):
        common = {name: getattr(config, name) for name in Config.model_fields}
        own = _of_data_set(Config(**common), entry, f"sweep.data[{i}]")
        label = entry.label or own.data.name
        if label in data_sets:
            raise ConfigError(
                f"sweep.data[{i}].label: got {label}, expected another than that of"
                f" sweep.data[{list(data_sets).index(label)}]"
            )
        data_sets[label] = own
    return [
        PlannedSearch(label, _with_search(own, seed=seed, optimizer=optimizer))
        for seed in sweep.seeds or (search.seed,)
        for label, own in data_sets.items()
        for optimizer in sweep.optimizers or (search.optimizer,)
    ]


def supernets(searches: Sequence[PlannedSearch]) -> dict[str, Config]:
    """The supernets that searches need, by fingerprint: of each, a search's configuration."""
    found = {s.supernet: s.config for s in reversed(searches) if s.supernet is not None}
    return dict(reversed(found.items()))


def _of_data_set(common: Config, entry: DataSet, place: str) -> Config:
    try:
        return overlay(common, entry.model_extra)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _with_search(config: Config, **values: int | str) -> Config:
    assert set(values) <= set(VARIED)
    try:
        return overlay(config, {"search": values})
    except ConfigError as error:  # seeds were looked at; not every optimizer goes with all keys
        raise ConfigError(f"sweep.optimizers ({values['optimizer']}): {error}") from None
