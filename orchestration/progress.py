"""What a long command says of itself: one line for each report, pure text."""

from orchestration.search import Generation
from orchestration.sections import Search
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


def generation_line(generation: Generation, settings: Search, elapsed_s: float) -> str:
    """Where a search stands after a generation."""
    shared = 1 - generation.calls / generation.calls_alone
    gain = (
        f"{generation.hypervolume / generation.hypervolume_uniform:.2f} x uniform"
        if generation.hypervolume_uniform
        else f"{generation.hypervolume:.3f}"
    )
    return (
        f"search  {generation.num_scored} scored   hypervolume {gain}"
        f"   saves {generation.best_savings:.0%} at no loss   calls shared {shared:.0%}"
        f"   {left(share_done(generation, settings, elapsed_s), elapsed_s)}"
    )


def share_done(generation: Generation, settings: Search, elapsed_s: float) -> float:
    """The share of its budget that a search has used, 0 to 1; 0 where only patience stops it."""
    if generation.stop is not None:
        return 1.0
    shares = [0.0]
    if settings.budget is not None:
        shares.append(generation.num_scored / settings.budget)
    if settings.budget_calls is not None:
        shares.append(generation.calls / settings.budget_calls)
    if settings.budget_minutes is not None:
        shares.append(elapsed_s / 60 / settings.budget_minutes)
    return min(1.0, max(shares))


def left(share: float, elapsed_s: float) -> str:
    """The time left, if the rest goes on as the share that is done."""
    if share <= 0:
        return f"{clock(elapsed_s)} so far"
    return f"{clock(elapsed_s * (1 - share) / share)} left"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
