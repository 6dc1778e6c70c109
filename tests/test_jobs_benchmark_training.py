"""The benchmark of trainings: what it compares, without training."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from jobs.benchmarks import training
from jobs.benchmarks.report import Report
from jobs.benchmarks.training import VARIANTS, Found, compare, cost_of_iteration, losses_by_width
from jobs.benchmarks.training_table import training_table
from models.intervals import Replicates
from orchestration import config as configs
from orchestration.checkpoints import build_supernet, save_supernet
from orchestration.config import overlay

NETWORK = {
    "image_size": 4, "channels": 1, "block_out_channels": [4, 8], "layers_per_block": 1,
    "attention": [False, False], "head_size": 1, "norm_group_size": 1,
}  # fmt: skip
MACS = {1.0: 100, 0.75: 56, 0.5: 25, 0.25: 6}


def load(*overrides):
    return configs.load(None, ["search.budget=1", *overrides])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((), 3 * (100 + 6 + (56 + 25) / 2)),
        (("train.distillation=0.5",), 3 * (100 + 6 + (56 + 25) / 2)),
        (("train.distillation=0.5", "train.teacher=average"), 3 * (100 + 6 + 40.5) + 100),
        (("train.width_sampling=all",), 3 * 187),
        (("train.width_sampling=widest",), 3 * (100 + 87 / 3)),
        (("train.width_sampling=uniform",), 3 * 187 * 3 / 4),
    ],
)
def test_the_cost_of_an_iteration_is_that_of_its_calls(keys, expected):
    assert cost_of_iteration(MACS, load(*keys).train) == pytest.approx(expected, rel=0.02)


def test_every_variant_is_a_configuration_of_its_own():
    configured = [overlay(load(), values) for values in VARIANTS.values()]
    names = {configs.fingerprint(config, "train", "supernet") for config in configured}
    assert len(names) == len(VARIANTS) and configured[0] == load()


def test_a_loss_is_the_error_on_the_same_noise_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "NUM_ROWS", 10)
    monkeypatch.setattr(training, "ROWS_A_CALL", 4)
    save_supernet(tmp_path / "net", build_supernet(NETWORK, (1.0, 0.5)), NETWORK, {})
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    found = losses_by_width(load(), tmp_path / "net", images)
    monkeypatch.setattr(training, "ROWS_A_CALL", 10)
    at_once = losses_by_width(load(), tmp_path / "net", images)
    assert found.keys() == {1.0, 0.5} and found[1.0].shape == (10,)
    for width in found:
        torch.testing.assert_close(found[width], at_once[width])
    monkeypatch.setattr(training, "predict", lambda network, x_t, t: x_t)
    # What predicts x_t itself errs by eps - x_t = (1 - sqrt(1 - a)) eps - sqrt(a) x_0
    wrong = losses_by_width(load(), tmp_path / "net", images)
    assert torch.equal(wrong[1.0], wrong[0.5]) and 0 < wrong[1.0].mean() < 3


def fake(fd, loss, widths=(1.0, 0.5)):
    """A variant with 4 blocks, whose noise all variants share."""
    noise = np.array([0.3, -0.1, 0.2, -0.4])
    distances = {w: Replicates(fd + w, fd + w + noise, np.full(4, 50)) for w in widths}
    losses = {w: loss + np.linspace(0, 1, 8) for w in widths}
    return Found(losses, distances, 800.0, 600, 300.0, "fd_digits_200")


@pytest.fixture
def trained(monkeypatch):
    """Configurations by variant, of which only the cost is found."""
    configurations = {}

    def variant(config, out, name, say):
        configurations[name] = config
        macs = {width: MACS[width] for width in config.supernet.widths}
        cost = cost_of_iteration(macs, config.train) * config.train.iterations
        return replace(fake(4.0, 0.1), iterations=config.train.iterations, cost=cost)

    monkeypatch.setattr(training, "cluster", lambda config: nullcontext())
    monkeypatch.setattr(training, "_variant", variant)
    return configurations


def test_longer_is_plain_for_what_all_costs(tmp_path, trained):
    config = load("train.iterations=1000")
    report = training.run(config, tmp_path, lambda line: None)
    assert list(trained) == [*VARIANTS, "longer"]
    settled = {"train": {"iterations": 1000}}
    assert overlay(trained["longer"], settled) == trained["plain"] == config
    figures, notes = report.figures, report.notes["comparison"]
    assert figures["cost_longer"] == pytest.approx(figures["cost_all"], rel=1e-3)
    assert figures["cost_longer"] > 1.2
    assert notes["longer"]["iterations"] == trained["longer"].train.iterations


def test_longer_is_left_out_where_plain_trains_all_widths(tmp_path, trained):
    config = load("supernet.widths=[1.0,0.5,0.25]")
    report = training.run(config, tmp_path, lambda line: None)
    assert list(trained) == list(VARIANTS) and "cost_longer" not in report.figures


def test_variants_are_compared_with_plain_on_the_same_images():
    figures, notes = compare({"plain": fake(4.0, 0.1), "all": fake(3.5, 0.2)})
    assert figures["cost_plain"] == figures["cost_all"] == 1.0
    assert figures["fd_all_0.5"] == 4.0 and figures["loss_plain_1"] == pytest.approx(0.6)
    found = notes["all"]["widths"]["1"]
    assert found["fd_change"] == pytest.approx(-0.5)
    assert found["fd_change_ci"] == pytest.approx([-0.5, -0.5])  # the noise is common
    assert found["loss_change_ci"] == pytest.approx([0.1, 0.1])
    low, high = found["fd_ci"]
    assert low < found["fd"] < high
    console = Console(width=160, record=True)
    console.print(training_table(Report("training", figures, [], {"comparison": notes})))
    text = console.export_text()
    assert "-0.50 ± 0.00" in text and "+0.1000" in text and "width 0.5" in text


def test_the_table_of_four_widths_fits_80_columns():
    found = {name: fake(14.0, 0.1, (1.0, 0.75, 0.5, 0.25)) for name in [*VARIANTS, "longer"]}
    figures, notes = compare(found)
    console = Console(width=80, record=True)
    console.print(training_table(Report("training", figures, [], {"comparison": notes})))
    lines = console.export_text().splitlines()
    assert {line.split()[0] for line in lines if line.strip()} >= {*VARIANTS, "longer"}
    ends = ["15.00 ± 1.51", "14.75 ± 1.51", "14.50 ± 1.51", "14.25 ± 1.51"]  # by rising widths
    assert sum(line.split("  ")[-1].strip() == " ".join(ends) for line in lines) == len(found)
