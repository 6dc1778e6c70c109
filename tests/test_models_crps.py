import numpy as np
import pytest
from scipy.stats import norm

from models.crps import (
    LEVELS,
    crps,
    errors,
    fair_crps,
    mae,
    replicates,
    rmse,
    share,
    window_sums,
)
from models.intervals import Replicates, estimate, paired
from models.moments import NonFiniteFeatures


def one(samples, truth, scored=None):
    """The sums of one window."""
    samples, truth = np.asarray(samples, float)[None], np.asarray(truth, float)[None]
    scored = np.ones(truth.shape, bool) if scored is None else np.asarray(scored)[None]
    return window_sums(samples, truth, scored)


def test_a_worked_example():
    """Two entries, three samples each; every quantile by hand."""
    samples, truth = [[0.0, 1.0], [1.0, 5.0], [4.0, 2.0]], [3.0, -2.0]
    ordered = ([0.0, 1.0, 4.0], [1.0, 2.0, 5.0])
    total = 0.0
    for a in [0.05 * i for i in range(1, 20)]:
        for (low, middle, high), x in zip(ordered, truth, strict=True):
            place = 2 * a
            q = low + (middle - low) * place
            if place > 1:
                q = middle + (high - middle) * (place - 1)
            total += 2 * abs((q - x) * ((1 if x <= q else 0) - a)) / 19
    rows = one(samples, truth)
    assert crps(rows) == pytest.approx(total / 5)
    # medians 1 and 2: errors -2 and 4
    assert (mae(rows), rmse(rows)) == pytest.approx((3.0, 10**0.5))


def test_of_a_gaussian_it_is_the_closed_form():
    """E |q - x| parts of N(0, 1) at x: by quadrature over the same 19 levels."""
    rng = np.random.default_rng(0)
    x = np.array([-1.3, 0.2, 2.0])
    samples = np.repeat(norm.ppf((np.arange(20000) + 0.5) / 20000)[:, None], 3, 1)
    rng.shuffle(samples)
    quantiles = norm.ppf(LEVELS)[:, None]
    exact = 2 * np.abs((quantiles - x) * ((x <= quantiles) - LEVELS[:, None]))
    assert crps(one(samples, x)) == pytest.approx(exact.mean(0).sum() / 3.5, rel=1e-4)
    # and with levels from 0 to 1 it would be CRPS itself (Gneiting & Raftery 2007, equation 21)
    whole = x * (2 * norm.cdf(x) - 1) + 2 * norm.pdf(x) - 1 / np.pi**0.5
    assert crps(one(samples, x)) * 3.5 == pytest.approx(whole.sum(), rel=0.08)


def test_equal_samples_are_a_point_forecast():
    rows = one(np.repeat([[1.0, -2.0]], 7, 0), [4.0, -1.0])
    assert crps(rows) == pytest.approx((3 + 1) / 5)
    assert mae(rows) == pytest.approx(2.0)


def test_the_fair_one_by_hand():
    rows = one([[0.0, 1.0], [1.0, 5.0], [4.0, 2.0]], [3.0, -2.0])
    first = (3 + 2 + 1) / 3 - (1 + 4 + 3) / 3 / 2
    second = (3 + 7 + 4) / 3 - (4 + 1 + 3) / 3 / 2
    assert fair_crps(rows) == pytest.approx((first + second) / 5)
    assert fair_crps(one([[1.0, 2.0]], [3.0, -2.0])) == pytest.approx((2 + 4) / 5)


def test_of_few_samples_the_fair_one_is_least_at_the_true_spread_and_the_other_below_it():
    rng = np.random.default_rng(4)
    truth, samples = rng.normal(size=60_000), rng.normal(size=(5, 60_000))
    spreads = np.array([0.7, 0.85, 1.0, 1.15, 1.3])
    rows = [one(spread * samples, truth) for spread in spreads]
    assert spreads[np.argmin([fair_crps(row) for row in rows])] == 1.0
    assert spreads[np.argmin([crps(row) for row in rows])] < 1.0
    many = fair_crps(one(rng.normal(size=(200, 60_000)), truth))
    assert fair_crps(rows[2]) == pytest.approx(many, rel=0.01)


def test_a_calibrated_forecast_beats_its_own_median():
    rng = np.random.default_rng(1)
    truth, samples = rng.normal(size=2000), rng.normal(size=(100, 2000))
    assert crps(one(samples, truth)) < 0.75 * crps(one(np.zeros((1, 2000)), truth))


def test_what_is_not_scored_is_never_looked_at():
    samples, truth = np.ones((4, 3)), np.array([2.0, 1.0, 9.0])
    clean = one(samples, truth, [True, True, False])
    samples[:, 2], truth[2] = np.nan, np.nan
    assert np.array_equal(one(samples, truth, [True, True, False]), clean)
    samples[1, 1] = np.inf
    with pytest.raises(NonFiniteFeatures, match="1 of 8 sampled values"):
        one(samples, truth, [True, True, False])


def test_windows_add_up():
    rng = np.random.default_rng(2)
    samples, truth = rng.normal(size=(6, 10, 3, 4)), rng.normal(size=(6, 3, 4))
    scored = rng.random((6, 3, 4)) < 0.5
    rows = window_sums(samples, truth, scored)
    joined = one(np.moveaxis(samples, 1, 0)[:, scored], truth[scored])
    assert crps(rows) == pytest.approx(crps(joined))
    assert (mae(rows), rmse(rows)) == pytest.approx((mae(joined), rmse(joined)))
    parts = (samples, truth, scored)
    apart = [window_sums(*(part[i : i + 1] for part in parts)) for i in range(6)]
    assert np.array_equal(np.concatenate(apart), rows)


def test_leaving_a_block_out():
    rows = np.random.default_rng(3).random((7, 6)) + 0.1
    blocks = [rows[:2], rows[2:4], rows[4:6], rows[6:]]
    found = replicates(blocks)
    assert found.full == pytest.approx(crps(rows))
    assert found.without[1] == pytest.approx(crps(np.concatenate([rows[:2], rows[4:]])))
    assert found.counts.tolist() == [2, 2, 2, 1]
    with pytest.raises(ValueError, match="at least 2 blocks of windows, got 1"):
        replicates(blocks[:1])


def test_errors_and_their_intervals_are_those_of_the_samples():
    """From the errors themselves, block by block left out, for blocks of unequal sizes."""
    rng = np.random.default_rng(5)
    samples, truth = rng.normal(size=(7, 9, 4)), rng.normal(size=(7, 4))
    rows = window_sums(samples, truth, np.ones((7, 4), bool))
    blocks, off = np.split(rows, [2, 4, 6]), np.median(samples, 1) - truth
    found = errors(blocks)
    assert (found.mae, found.rmse) == pytest.approx((abs(off).mean(), (off**2).mean() ** 0.5))
    for number, interval, of in (
        (mae, found.mae_ci, lambda e: abs(e).mean()),
        (rmse, found.rmse_ci, lambda e: (e**2).mean() ** 0.5),
    ):
        without = [of(np.delete(off, cut, 0)) for cut in ([0, 1], [2, 3], [4, 5], [6])]
        expected = Replicates(of(off), np.array(without), np.array([2, 2, 2, 1]))
        assert interval == pytest.approx(estimate(expected).interval())
        assert replicates(blocks, number).without == pytest.approx(without)
    with pytest.raises(ValueError, match="at least 2 blocks of windows, got 1"):
        errors([rows])


def test_a_share_is_paired():
    rows = np.random.default_rng(6).random((6, 6)) + 0.1
    third = rows.copy()
    third[:, :4] /= 3
    third[:, 1] = rows[:, 1]
    of, reference = (replicates(np.split(each, 3)) for each in (third, rows))
    found = estimate(share(of, reference))
    assert found.value == pytest.approx(1 / 3) and found.se == pytest.approx(0, abs=1e-12)
    assert estimate(of).se > 1e-3
    perfect = replicates(np.split(rows * [0, 1, 0, 0, 1, 0], 3))
    assert share(of, perfect) is None
    with pytest.raises(ValueError, match=r"equal blocks, got \[2, 2, 2\] and \[3, 3\] windows"):
        share(of, replicates(np.split(rows, 2)))


def test_an_empty_window_and_windows_without_any():
    rows = one(np.ones((3, 2)), [1.0, 2.0], [False, False])
    assert not rows.any()
    with pytest.raises(ValueError, match="scored entries"):
        crps(rows)
    for number in (mae, rmse):
        with pytest.raises(ValueError, match="scored entries"):
            number(rows)


def test_intervals_cover_what_windows_scatter_about():
    """Coverage of the 95 % interval of a ratio over 30 windows, of a paired difference, and of a
    paired share."""
    rng = np.random.default_rng(4)
    inside = paired_inside = share_inside = 0
    for _ in range(400):
        size = rng.uniform(0.5, 1.5, 30)
        rows = np.zeros((30, 5))
        rows[:, 0], rows[:, 1] = 0.3 * size * rng.gamma(4, 0.25, 30), size
        worse = rows.copy()
        worse[:, 0] += 0.03 * size * rng.gamma(4, 0.25, 30)
        base, other = (replicates(np.split(r, 30)) for r in (rows, worse))
        low, high = estimate(base).interval()
        inside += low <= 0.3 <= high
        low, high = paired(other, base).interval()
        paired_inside += low <= 0.03 <= high
        low, high = estimate(share(base, other)).interval()
        share_inside += low <= 0.3 / 0.33 <= high
    assert 0.9 <= share_inside / 400 <= 0.99
    assert 0.9 <= inside / 400 <= 0.99 and 0.9 <= paired_inside / 400 <= 0.99


def test_intervals_of_errors_cover_what_windows_scatter_about():
    """Of medians whose errors are N(0, 2^2): MAE 2 (2 / pi)^.5, RMSE 2."""
    rng = np.random.default_rng(7)
    inside = np.zeros(2)
    for _ in range(400):
        off = 2 * rng.normal(size=(30, 1, 20))
        rows = window_sums(off, np.zeros((30, 20)), np.ones((30, 20), bool))
        found = errors(np.split(rows, 15))
        for i, (interval, true) in enumerate(
            ((found.mae_ci, 2 * (2 / np.pi) ** 0.5), (found.rmse_ci, 2.0))
        ):
            inside[i] += interval[0] <= true <= interval[1]
    assert (inside / 400 > 0.9).all() and (inside / 400 < 0.99).all()
