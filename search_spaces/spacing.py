"""Spacings that need no search: what a learned mask starts from, and is held against."""

from collections.abc import Sequence

from search_spaces.schedule import even_grid

QUADRATIC_END = 0.8
LATE = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Where late schedules start, as a share of the noisiest timestep."""
LATE_POWER = 1.5


def quadratic_grid(num_train_timesteps: int, num_steps: int) -> tuple[int, ...]:
    """t_i = (i / (K - 1))^2 .8 T, falling: DDIM's own (Song et al., arXiv 2010.02502, D.2)."""
    last = max(num_steps - 1, 1)
    most = QUADRATIC_END * num_train_timesteps
    return _distinct([round((i / last) ** 2 * most) for i in range(num_steps)])


def late_grid(num_train_timesteps: int, num_steps: int, start: float) -> tuple[int, ...]:
    """t_i = start (T - 1) (i / K)^LATE_POWER for i = 1 .. K, falling."""
    most = start * (num_train_timesteps - 1)
    shares = [(i / num_steps) ** LATE_POWER for i in range(1, num_steps + 1)]
    return _distinct([round(share * most) for share in shares])


def known_grids(num_train_timesteps: int, num_steps: int) -> dict[str, tuple[int, ...]]:
    """Evenly spaced, quadratic and late grids by name, each falling."""
    late = {
        f"late {start:g}": late_grid(num_train_timesteps, num_steps, start) for start in LATE
    }
    return {
        "even": even_grid(num_train_timesteps, num_steps),
        "quadratic": quadratic_grid(num_train_timesteps, num_steps),
        **late,
    }


def nearest(candidates: Sequence[int], timesteps: Sequence[float]) -> list[int]:
    """Indices into rising candidates that are nearest to timesteps, distinct, rising.

    Where two timesteps share one, the later takes the next that is free.
    """
    chosen: list[int] = []
    free = set(range(len(candidates)))
    for t in sorted(timesteps):
        index = min(free, key=lambda i: (abs(candidates[i] - t), i))
        free.remove(index)
        chosen.append(index)
    return sorted(chosen)


def _distinct(rising: list[int]) -> tuple[int, ...]:
    """Falling timesteps, each raised as far as it takes to differ from the one below it."""
    for i in range(1, len(rising)):
        rising[i] = max(rising[i], rising[i - 1] + 1)
    return tuple(reversed(rising))
