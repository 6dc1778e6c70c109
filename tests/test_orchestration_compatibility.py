"""A supernet of windows is held against the data's variables, wherever it is taken."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from orchestration import chains, mask_run, sampling
from orchestration import config as configs
from orchestration.checkpoints import build_supernet, save_supernet
from orchestration.compatibility import check_data
from orchestration.data import headers, prepare
from orchestration.errors import ConfigError, DataError
from orchestration.pipeline import find_setting
from orchestration.rundir import RunDirectory
from orchestration.scoring import score_schedules
from orchestration.supernet_description import trained_on
from orchestration.training_network import network_arguments
from orchestration.windows import load_part

VARIABLES = ["warm", "cold", "press"]


def values():
    """Of three variables, ten windows of eight times and more."""
    noise = np.random.default_rng(0).normal(size=(96, 3))
    return pd.DataFrame(noise * [5, 1, 9] + [20, 0, 1000], columns=VARIABLES)


def load(file):
    return configs.load(
        None,
        [
            "search.budget=1", "search.steps=5", "data.name=table", f"data.path={file}",
            "data.window=8", "imputer.channels=8", "imputer.num_heads=4", "imputer.num_layers=1",
            "imputer.feedforward=8", "diffusion.num_train_timesteps=10", "sampler.name=ddpm",
            "sampler.clip_sample=false", "supernet.widths=[1]", "search.num_images=2",
            "score.num_images=2", "score.batch_size=2", "score.block_size=1", "mask.reward=elbo",
            "mask.candidates=10", "mask.steps=[3]",
        ],
    )  # fmt: skip


@pytest.fixture
def trained(tmp_path):
    """Configuration of the data, their header, and a supernet that says it was trained on them."""
    values().to_csv(tmp_path / "mine.csv", index=False)
    config = load(tmp_path / "mine.csv")
    header, network = headers(config.data), network_arguments(config, (1, 3, 8))
    supernet = build_supernet(network, (1.0,), seed=0)
    save_supernet(tmp_path / "net", supernet, network, trained_on(config, header))
    return config, header, tmp_path / "net"


def test_the_data_it_was_trained_on_are_taken_though_last_bits_differ(trained):
    _, header, folder = trained
    check_data(folder, header)
    near = tuple(m + 1e-9 * s for m, s in zip(header.mean, header.std, strict=True))
    check_data(folder, replace(header, mean=near))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"variables": ("warm", "press", "cold")}, "variable 2 is 'press', expected 'cold' as "),
        ({"mean": (20.0, 0.0, 0.0)}, r"training part's mean of 'warm' is 20, expected 19\.\d+ as"),
        ({"std": (5.0, 1.0, 9.0)}, r"training part's std of 'warm' is 5, expected \d\.\d+ as"),
        (
            {"variables": ("warm", "cold"), "mean": (0.0,) * 2, "std": (1.0,) * 2},
            "windows of 2 variables, expected 3 as .*: warm, cold, press$",
        ),
    ],
)
def test_other_windows_are_refused_with_what_differs(trained, change, expected):
    _, header, folder = trained
    with pytest.raises(ConfigError, match=expected) as error:
        check_data(folder, replace(header, **change))
    assert "\n" not in str(error.value)


def test_windows_of_another_length_are_told_as_such_though_their_means_differ_too(trained):
    config, header, folder = trained
    longer = headers(config.data.model_copy(update={"window": 9}))
    assert longer.mean != header.mean
    expected = "windows of 1 x 3 x 9, expected 1 x 3 x 8 as .* and data.window"
    with pytest.raises(ConfigError, match=expected):
        check_data(folder, longer)


def test_the_window_that_is_drawn_has_its_own_name(trained, tmp_path, monkeypatch):
    config, _, net = trained
    folder, drawn = prepare(config.data, tmp_path / "cache").folder, []

    class Picture:
        def __init__(self, name, variables, mean, std, values, given, scored):
            drawn.append((name, values))

        def png(self, rows):
            return b""

    monkeypatch.setattr(sampling, "WindowPicture", Picture)
    sampling.widths_png(config, net, folder)
    ((name, shown),) = drawn
    part = load_part(folder, "validation")
    own = np.nan_to_num(part.values[part.names.index(name)])
    assert len(part.names) > 1 and np.array_equal(shown, own)


def test_one_that_does_not_say_what_it_was_trained_on_is_refused(trained, tmp_path):
    config, header, _ = trained
    network = network_arguments(config, (1, 3, 8))
    save_supernet(tmp_path / "silent", build_supernet(network, (1.0,), seed=0), network, {})
    with pytest.raises(DataError, match="silent.*got no meta.windows, expected the variables"):
        check_data(tmp_path / "silent", header)


def find(config, supernet, run):
    find_setting(config, run, supernet, None, print)


def score(config, supernet, run):
    chain = chains.baseline(config)
    score_schedules(config, chain, [chain.steps], supernet, run, 2, run.plan, print)


def mask(config, supernet, run):
    mask_run.check(config, supernet)


@pytest.mark.parametrize("command", [find, score, mask])
def test_no_command_takes_a_supernet_for_other_variables_of_the_same_shape(
    trained, tmp_path, command
):
    _, _, folder = trained
    values()[["warm", "press", "cold"]].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(ConfigError, match="variable 2 is 'press', expected 'cold' as .*net was"):
        command(load(tmp_path / "other.csv"), folder, RunDirectory(tmp_path / "run"))
