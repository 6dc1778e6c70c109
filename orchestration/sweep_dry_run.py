"""What a sweep would do, told from its configuration, data headers and what is there already."""

from collections.abc import Sequence

from orchestration.data import look
from orchestration.dry_run import describe_features, describe_search, training_lines
from orchestration.sweep_directory import SweepDirectory, check_same
from orchestration.sweep_plan import PlannedSearch, planned_searches, supernets
from orchestration.sweep_sections import SweepConfig


def plan_sweep(config: SweepConfig, directory: SweepDirectory) -> tuple[str, list[Exception]]:
    """The plan in lines, and why data sets cannot be used.

    Raises:
        ConfigError: the directory holds something else.
    """
    check_same(directory, config)
    searches = planned_searches(config)
    nets = supernets(searches)
    labels = list(dict.fromkeys(s.dataset for s in searches))
    done = sum(directory.is_done(s) for s in searches)
    trained = sum(map(directory.is_trained, nets))
    optimizers = len({s.optimizer for s in searches})
    seeds = len({s.seed for s in searches})
    lines = [
        f"run directory: {directory.path}"
        + (" (there: resumes)" if directory.path.exists() else ""),
        f"sweep: {len(labels)} data sets x {optimizers} optimizers x {seeds} seeds"
        f" = {len(searches)} searches ({done} done), {len(nets)} supernets ({trained} trained),"
        f" {'shared actors' if config.sweep.actors == 'shared' else 'actors of their own'}",
    ]
    errors: list[Exception] = []
    for label in labels:
        of_it = [s for s in searches if s.dataset == label]
        lines.append(f"{label}:")
        try:
            lines += [f"  {line}" for line in _describe(of_it, directory)]
        except Exception as error:  # as of a sweep: it fails alone, whatever it is
            errors.append(error)
            lines.append(f"  cannot be used: {error}")
    return "\n".join(lines), errors


def _describe(searches: Sequence[PlannedSearch], directory: SweepDirectory) -> list[str]:
    config, supernet = searches[0].config, searches[0].supernet
    lines = []
    if supernet is not None:
        header, odd = look(config.data)
        lines = training_lines(config, header, odd)
        stands = " (trained)" if directory.is_trained(supernet) else ""
        lines[-1] += f" -> supernets/{supernet}{stands}"
        lines += describe_features(config, header)
    names = [f"{s.name}{' (done)' if directory.is_done(s) else ''}" for s in searches]
    search, front = describe_search(config)
    _, _, rest = search.partition(" on ")
    return [*lines, f"searches: {', '.join(names)}", f"each on {rest}", front]
