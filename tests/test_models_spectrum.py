"""Spectra, from errors that are known."""

import pytest
import torch

from models.diffusion import noise_levels
from models.spectrum import Spectrum, error, spectrum_of

LEVELS = noise_levels(1000, "linear")
DATA = Spectrum(
    torch.tensor([1e-3, 0.2, 3.0], dtype=torch.float64),
    torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    torch.tensor([0.5, 0.0, 1.0], dtype=torch.float64),
)


def test_the_error_is_that_of_the_best_prediction():
    """Of eps by its regression on x_t, where all is Gaussian."""
    level, variance = torch.tensor(0.3, dtype=torch.float64), torch.tensor(2.0).double()
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 400_000, generator=generator, dtype=torch.float64)
    x_t = (level * variance).sqrt() * x_0 + (1 - level).sqrt() * eps
    slope = (x_t * eps).mean() / x_t.square().mean()
    assert error(level, variance).item() == pytest.approx(
        (eps - slope * x_t).square().mean().item(), rel=0.01
    )


def test_a_spectrum_has_the_errors_that_it_was_taken_from():
    levels = LEVELS[::20]
    true = error(levels[:, None], DATA.variances) @ DATA.shares
    variance = (DATA.shares * DATA.variances).sum().item()
    found = spectrum_of(levels, true, variance + 0.35)
    assert found.shares.sum().item() == pytest.approx(1, abs=1e-9)
    assert (found.shares * found.variances).sum().item() == pytest.approx(variance, rel=0.02)
    assert (found.shares * found.means.square()).sum().item() == pytest.approx(0.35, rel=0.05)
    again = error(levels[:, None], found.variances) @ found.shares
    torch.testing.assert_close(again, true, rtol=0, atol=1e-3)


def test_a_spectrum_minds_noise_little():
    levels = LEVELS[::20]
    true = error(levels[:, None], DATA.variances) @ DATA.shares
    noise = 0.1 * true * torch.randn(50, generator=torch.Generator().manual_seed(3)).double()
    found = spectrum_of(levels, true + noise, 5.0)
    again = error(levels[:, None], found.variances) @ found.shares
    assert ((again - true) / true).square().mean() < 0.25 * (noise / true).square().mean()
    variance = (DATA.shares * DATA.variances).sum().item()
    assert (found.shares * found.variances).sum().item() == pytest.approx(variance, rel=0.1)


def test_what_a_network_misses_everywhere_is_no_variance():
    """Else it would pass for a great one, for which noise alone says something of the data."""
    levels = noise_levels(50, "quadratic")
    true = error(levels[:, None], DATA.variances) @ DATA.shares
    variance = (DATA.shares * DATA.variances).sum().item()
    found = spectrum_of(levels, true + 2e-3, 100.0)
    assert (found.shares * found.variances).sum().item() == pytest.approx(variance, rel=0.05)


def test_data_that_are_all_the_same_have_a_spectrum():
    found = spectrum_of(LEVELS[::20], torch.zeros(50, dtype=torch.float64), 0.0)
    assert found.shares.sum().item() == pytest.approx(1) and found.means.isfinite().all()
    assert (found.shares * found.variances).sum().item() < 1e-4


def test_one_error_of_0_ruins_nothing():
    levels = LEVELS[::20]
    errors = error(levels[:, None], DATA.variances) @ DATA.shares
    errors[30] = 0
    found = spectrum_of(levels, errors, 5.0)
    variance = (DATA.shares * DATA.variances).sum().item()
    assert (found.shares * found.variances).sum().item() == pytest.approx(variance, rel=0.5)


def test_an_error_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="finite"):
        spectrum_of(LEVELS[::20], torch.full((50,), torch.nan, dtype=torch.float64), 1.0)
