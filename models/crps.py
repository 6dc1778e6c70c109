"""CRPS, MAE and RMSE of imputed windows, by CSDI's definitions, as sums that can be merged.

Tashiro et al., NeurIPS 2021 (arXiv 2107.03502), section 6.1 and appendix: with q_a the a-quantile
of the samples of an entry (linear between order statistics) and x its true value, over all scored
entries of all windows

    CRPS = mean over a in {.05, .10, .. , .95} of 2 sum |(q_a - x) (1[x <= q_a] - a)| / sum |x|
    MAE  = sum |median - x| / n,    RMSE = sqrt(sum (median - x)^2 / n)

All samples equal to one value make it that of a point forecast: sum |q - x| / sum |x|.

Of few samples it is least for a forecast that is too narrow, since their quantiles are. What
learns from few goes by the fair one (Ferro 2014, "Fair scores for ensemble forecasts"), whose mean
does not depend on their number: with all means over samples, s != s',

    fair CRPS = sum (mean |x_s - x| - 1/2 mean |x_s - x_s'|) / sum |x|

A window is a row of sums; rows of windows add up. Entries that are not scored hold no truth and
are never looked at.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from models.intervals import Replicates, estimate
from models.moments import NonFiniteFeatures

LEVELS = np.arange(1, 20) / 20
COLUMNS = ("pinball", "magnitude", "absolute", "squared", "entries", "fair")
PINBALL, MAGNITUDE, ABSOLUTE, SQUARED, ENTRIES, FAIR = range(len(COLUMNS))


class Errors(NamedTuple):
    """Of the medians, in the unit of the values, with 95 % intervals over windows."""

    mae: float
    mae_ci: list[float]
    rmse: float
    rmse_ci: list[float]


def window_sums(samples: np.ndarray, truth: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """The sums of each window, of which every number here is made.

    Args:
        samples: float (n, S, ...), S >= 1 samples of each of n windows.
        truth: float (n, ...).
        scored: bool (n, ...), the entries that count.

    Returns:
        float64 (n, 6): the mean over levels of 2 sum |(q - x) (1[x <= q] - a)|, sum |x|, of the
        medians sum |error| and sum error^2, the number of entries, and the fair CRPS's sum.

    Raises:
        NonFiniteFeatures: a sample of a scored entry, or its truth, is NaN or infinite.
    """
    rows = np.zeros((len(samples), len(COLUMNS)))
    for row, of_window, x, counts in zip(rows, samples, truth, scored, strict=True):
        drawn, x = of_window[:, counts].astype(np.float64), x[counts].astype(np.float64)
        if not (np.isfinite(drawn).all() and np.isfinite(x).all()):
            raise NonFiniteFeatures(
                f"{np.count_nonzero(~np.isfinite(drawn))} of {drawn.size} sampled values are not"
                " finite; the samples have diverged"
            )
        if not len(x):
            continue
        levels = LEVELS[:, None]
        quantiles = np.quantile(drawn, LEVELS, axis=0)
        pinball = 2 * np.abs((quantiles - x) * ((x <= quantiles) - levels)).sum(1)
        error = np.median(drawn, axis=0) - x
        row[:] = (
            pinball.mean(), np.abs(x).sum(), np.abs(error).sum(), (error**2).sum(), len(x),
            _fair(drawn, x),
        )  # fmt: skip
    return rows


def crps(rows: np.ndarray) -> float:
    """Of all windows together, rows (n, 6) of `window_sums`; ValueError where no entry counts."""
    return _relative(rows, PINBALL)


def fair_crps(rows: np.ndarray) -> float:
    """The fair one, as `crps`."""
    return _relative(rows, FAIR)


def _relative(rows: np.ndarray, column: int) -> float:
    total = rows.sum(0)
    if not total[MAGNITUDE] > 0:
        raise ValueError("CRPS needs scored entries that are not all 0")
    return float(total[column] / total[MAGNITUDE])


def _fair(drawn: np.ndarray, x: np.ndarray) -> float:
    """Samples (S, n) against values (n,); of one sample the absolute error."""
    number = len(drawn)
    error = np.abs(drawn - x).mean(0).sum()
    if number == 1:
        return float(error)
    # sum over pairs of |x_s - x_s'| by the order statistics
    turns = 2 * np.arange(number) - number + 1
    pairs = (turns[:, None] * np.sort(drawn, axis=0)).sum()
    return float(error - pairs / (number * (number - 1)))


def mae(rows: np.ndarray) -> float:
    """Of the medians of all windows together; ValueError where no entry counts."""
    return _mean(rows, ABSOLUTE)


def rmse(rows: np.ndarray) -> float:
    """As `mae`."""
    return _mean(rows, SQUARED) ** 0.5


def _mean(rows: np.ndarray, column: int) -> float:
    total = rows.sum(0)
    if not total[ENTRIES]:
        raise ValueError("MAE and RMSE need scored entries")
    return float(total[column] / total[ENTRIES])


def errors(blocks: Sequence[np.ndarray]) -> Errors:
    """MAE and RMSE of all windows together; arguments and errors as of `replicates`."""
    of_mae, of_rmse = (estimate(replicates(blocks, number)) for number in (mae, rmse))
    return Errors(
        of_mae.value, list(of_mae.interval()), of_rmse.value, list(of_rmse.interval())
    )


def replicates(
    blocks: Sequence[np.ndarray], number: Callable[[np.ndarray], float] = crps
) -> Replicates:
    """A number of all windows and of all but one block, for error bars over windows.

    The same bits however the windows were divided among those who computed the rows.

    Args:
        blocks: at least 2, of rows of `window_sums` each, in their order.
        number: of rows: `crps`, `mae` or `rmse`.

    Raises:
        ValueError: fewer than 2 blocks, or no scored entry beside one of them.
    """
    if len(blocks) < 2:
        raise ValueError(f"an error bar needs at least 2 blocks of windows, got {len(blocks)}")
    sums = np.stack([block.sum(0) for block in blocks])
    without = [number(np.delete(sums, i, axis=0)) for i in range(len(sums))]
    return Replicates(number(sums), np.array(without), np.array([len(block) for block in blocks]))


def share(of: Replicates, reference: Replicates) -> Replicates | None:
    """The paired ratio of two numbers of the same blocks; None where the second one is 0.

    Raises:
        ValueError: the blocks are of other sizes.
    """
    if not np.array_equal(of.counts, reference.counts):
        raise ValueError(
            f"a paired ratio needs equal blocks, got {of.counts.tolist()} and"
            f" {reference.counts.tolist()} windows"
        )
    if not (reference.full and reference.without.all()):
        return None
    return Replicates(of.full / reference.full, of.without / reference.without, of.counts)
