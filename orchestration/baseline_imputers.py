"""What anyone can have without a model: the mean, the last observation, linear interpolation.

Each sees what a network sees, the given entries of one window, and says one value for each of the
others. Of a variable with nothing given in a window all say the mean of the training data, which
is 0 in prepared windows. As forecasts they are points, whose CRPS is sum |error| / sum |x|.
"""

from collections.abc import Callable

import numpy as np


def training_mean(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The mean of the training data, everywhere."""
    return np.zeros_like(values)


def last_observation(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The last given value before an entry; before the first one, that one."""
    return _filled(values, given, _last)


def linear_interpolation(values: np.ndarray, given: np.ndarray) -> np.ndarray:
    """On the line between the given values around an entry; beyond them, the nearest."""
    return _filled(values, given, np.interp)


Imputation = Callable[[np.ndarray, np.ndarray], np.ndarray]

BASELINES: dict[str, Imputation] = {
    "mean": training_mean,
    "last_observation": last_observation,
    "linear_interpolation": linear_interpolation,
}
"""By name; each takes values float (n, K, L) and given bool (n, K, L), and returns values."""


def _last(times: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    return values[np.searchsorted(known, times, side="right").clip(min=1) - 1]


def _filled(
    values: np.ndarray,
    given: np.ndarray,
    fill: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    filled = np.zeros_like(values)
    times = np.arange(values.shape[-1])
    for index in np.ndindex(values.shape[:-1]):
        known = np.flatnonzero(given[index])
        if len(known):
            filled[index] = fill(times, known, values[index][known])
    return filled
