"""What a learned mask is held against."""

import math

import pytest
import torch

from orchestration import config as configs
from orchestration.mask_fit import Learned
from orchestration.mask_plan import make_chain
from orchestration.mask_result import _log_snr, rivals

GAUSSIAN = 1, 7, 12


def found(*overrides):
    """The rivals of 3 of 20 steps, and their log SNRs, by errors that rise with the noise."""
    config = configs.load(
        None, ["search.budget=1", "mask.candidates=20", "mask.steps=[3]", *overrides]
    )
    chain = make_chain(config)
    learned = Learned([], [], 1 - chain.grid, 0.3, [], 0, [])
    s = torch.linspace(1, 0, 20).double()
    named = rivals(config, chain, learned, 3, s, GAUSSIAN)
    return named, [value for one in named.values() for value in _log_snr(chain, one)]


@pytest.mark.parametrize("form", ["respaced", "literal"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_no_rival_starts_where_nothing_of_the_image_is_left(prediction, form):
    known = f"diffusion.prediction={prediction}", f"mask.form={form}"
    named, log_snrs = found("diffusion.rescale_zero_terminal_snr=true", *known)
    plain, _ = found(*known)
    assert plain.keys() - named.keys() == {"late 1"} and named.keys() <= plain.keys()
    assert all(map(math.isfinite, log_snrs))


def test_rivals_are_named_by_how_they_were_found():
    named, _ = found()
    assert named.keys() >= {"even", "quadratic", "late 0.5", "late 1", "elbo optimum"}
    assert [t for t, _ in named["even"].steps] == [666, 333, 0]
    assert [t for t, _ in named["likeliest"].steps] == [100, 50, 0]
    assert [t for t, _ in named["gaussian optimum"].steps] == [600, 350, 50]
