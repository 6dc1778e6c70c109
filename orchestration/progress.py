"""What a long command says of itself: one line for each report, pure text."""

from orchestration.durations import clock
from orchestration.search import Generation
from orchestration.search_sections import Search
from orchestration.training_state import Row


def training_line(row: Row) -> str:
    """Where a training stands."""
    losses = "  ".join(
        f"{width:g}: {loss:.4f}" for width, loss in sorted(row.losses.items())[::-1]
    )
    return (
        f"train   {row.iteration}/{row.iterations}   loss at width {losses}"
        f"   {row.images_per_s:.0f} images/s   {clock(row.seconds_left)} left"
    )


def generation_line(
    generation: Generation,
    settings: Search,
    elapsed_s: float,
    replayed: tuple[int, int] = (0, 0),
) -> str:
    """Where a search stands after a generation.

    Args:
        generation: the last one.
        settings: `search` of the configuration.
        elapsed_s: since the search began, or went on.
        replayed: candidates, and network calls x images, that were there when it went on.
    """
    shared = 1 - generation.calls / generation.calls_alone
    gain = (
        f"{generation.hypervolume / generation.hypervolume_uniform:.2f} x uniform"
        if generation.hypervolume_uniform
        else f"{generation.hypervolume:.3f}"
    )
    saved = ""
    if generation.images_saved is not None:
        saved = f"   images saved {generation.images_saved:.0%}"
    rest_s = seconds_left(generation, settings, elapsed_s, replayed)
    of_what = " of latency" * (settings.cost == "latency")
    return (
        f"search  {generation.num_scored} scored   hypervolume {gain}"
        f"   saves {generation.best_savings:.0%}{of_what} at no loss"
        f"   calls shared {shared:.0%}{saved}"
        f"   {f'{clock(elapsed_s)} so far' if rest_s is None else f'{clock(rest_s)} left'}"
    )


def seconds_left(
    generation: Generation, settings: Search, elapsed_s: float, replayed: tuple[int, int]
) -> float | None:
    """Until the first rule stops the search, if the rest goes at the same pace.

    None where nothing but patience stops it; arguments as of `generation_line`.
    """
    if generation.stop is not None:
        return 0.0
    rest = []
    for limit, done, before in (
        (settings.budget, generation.num_scored, replayed[0]),
        (settings.budget_calls, generation.calls, replayed[1]),
    ):
        if limit is not None and done > before:
            rest.append(elapsed_s * max(0, limit - done) / (done - before))
    if settings.budget_minutes is not None:
        rest.append(max(0.0, 60 * settings.budget_minutes - elapsed_s))
    return min(rest, default=None)
