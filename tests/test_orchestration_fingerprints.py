"""Which keys change what a run is known by."""

from pathlib import Path

import pytest

from orchestration import config as configs
from orchestration.config import (
    ADDED,
    changes,
    decisive,
    fingerprint,
    flatten,
    load,
)
from orchestration.sections import KEYS

DIGITS = Path(__file__).parent.parent / "jobs" / "configs" / "digits.yaml"


def test_changes_name_what_differs_but_not_where_it_runs():
    old = load(None, [], DIGITS)
    new = load(
        None,
        ["search.budget=9", "score.actors=7", "tracking.uri=x", "ray.address=y", "train.seed=5"],
        DIGITS,
    )
    assert changes(old, new) == ["train.seed", "search.budget"]
    assert changes(old, old) == []


def test_a_fingerprint_tells_apart_what_gives_other_bits_and_nothing_else():
    base = load(None, [], DIGITS)
    assert fingerprint(base) == fingerprint(load(None, ["score.actors=7"], DIGITS))
    seed = load(None, ["train.seed=5"], DIGITS)
    assert fingerprint(base) != fingerprint(seed)
    assert fingerprint(base, "train") != fingerprint(seed, "train")
    assert fingerprint(base, "network", "search") == fingerprint(seed, "network", "search")
    assert fingerprint(base, "search", "network") == fingerprint(base, "network", "search")
    assert len(fingerprint(base)) == 12
    with pytest.raises(ValueError, match="sections"):
        fingerprint(base, "trian")


def test_keys_that_came_later_change_no_fingerprint_until_they_are_used():
    base = load(None, ["search.budget=1"])
    assert fingerprint(base, "data") == "a926c09ef0e7"  # as before there were any of them
    for override in ("image_size=8", "fit=pad", "channels=3", "flip=false", "skip_bad=1"):
        other = load(None, ["search.budget=1", f"data.{override}"])
        assert fingerprint(other, "data") != fingerprint(base, "data")
    assert {key for key in KEYS if key.startswith("data.")} - set(configs.ADDED) == {
        "data.name",
        "data.path",
    }


def test_memory_for_states_may_be_less_when_a_run_goes_on():
    """As docs/gpus.md says of an actor that runs out of it: how many are kept changes no bit."""
    old, new = load(None, [], DIGITS), load(None, ["score.state_bytes=1000"], DIGITS)
    assert changes(old, new) == []
    assert fingerprint(old) == fingerprint(new)
    assert decisive(old, "score")["score.state_bytes"] == 2**29  # where it always was


def test_execution_only_names_exist():
    assert all(any(key.startswith(name) for key in KEYS) for name in configs.EXECUTION_ONLY)
    assert set(configs.FREE) <= set(KEYS)


def test_what_was_made_before_a_key_was_added_is_found_again():
    config = load(None, ["search.budget=1"])
    assert fingerprint(config) == "ce8acd5a2228"
    for key, value in ADDED.items():
        assert flatten(config)[key] == value, "the default changes nothing"


@pytest.mark.parametrize(
    "override",
    [
        "diffusion.betas=cosine",
        "diffusion.prediction=v_prediction",
        "diffusion.rescale_zero_terminal_snr=true",
        "search.spacing=trailing",
        "search.space=timesteps",
        "search.segments=3",
        "search.racing=true",
        "sampler.name=dpmsolver++2m",
        "network.conditional=true",
        "train.label_dropout=.2",
    ],
)
def test_a_fingerprint_tells_of_what_was_added(override):
    section = override.partition(".")[0]
    plain = load(None, ["search.budget=1"])
    changed = load(None, ["search.budget=1", override])
    assert fingerprint(changed, section) != fingerprint(plain, section)
