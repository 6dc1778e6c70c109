import copy

import pytest
import torch

from models.diffusion import add_noise, noise_levels
from orchestration import config as configs
from orchestration.training_loop import Training
from orchestration.training_network import averaged, network_arguments
from orchestration.training_windows import Windows, make_window_batch

VALUES = torch.randn(11, 3, 6, generator=torch.Generator().manual_seed(0))
VALUES[torch.rand(VALUES.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = torch.nan
WINDOWS = Windows(VALUES)
BATCH = {"seed": 3, "batch_size": 8, "widths": (1.0, 0.75, 0.5), "num_train_timesteps": 50}


def load(*overrides):
    small = (
        "search.budget=1", "search.steps=5", "data.name=weather", "sampler.clip_sample=false",
        "imputer.channels=8", "imputer.num_heads=4", "imputer.num_layers=1",
        "imputer.feedforward=8", "supernet.widths=[1.0, 0.5]",
        "diffusion.num_train_timesteps=50", "diffusion.betas=quadratic", "train.batch_size=6",
        "train.iterations=4", "train.warmup_iterations=1", "train.checkpoint_every=2",
    )  # fmt: skip
    return configs.load(None, [*small, *overrides])


def test_workers_see_together_what_one_sees_alone():
    whole = make_window_batch(WINDOWS, range(8), iteration=4, **BATCH)
    shares = [
        make_window_batch(WINDOWS, rows, iteration=4, **BATCH) for rows in (range(3), range(3, 8))
    ]
    dims = {"x_0": 0, "t": 1, "eps": 1, "labels": 1, "weights": 1}
    for name, dim in dims.items():
        joined = torch.cat([getattr(share, name) for share in shares], dim)
        assert torch.equal(joined, getattr(whole, name)), name
    assert whole.x_0.shape == (8, 1, 3, 6) and whole.eps.shape == (3, 8, 1, 3, 6)


def test_what_is_told_is_never_learned_and_gaps_are_neither():
    """Epoch by epoch every window comes once, so rows can be told apart by their values."""
    for iteration in range(20):
        batch = make_window_batch(WINDOWS, range(8), iteration=iteration, **BATCH)
        given, learned = batch.labels[:, :, 1] > 0, batch.weights[:, :, 0] > 0
        assert not (given & learned).any()
        for k in range(3):
            there = given[k] | learned[k]
            for row, x_0 in zip(there, batch.x_0[:, 0], strict=True):
                (index,) = [i for i, v in enumerate(VALUES) if torch.equal(v.nan_to_num(0), x_0)]
                assert torch.equal(row, VALUES[index].isfinite())
            shown = torch.where(given[k], batch.x_0[:, 0], torch.zeros(()))
            assert torch.equal(batch.labels[k, :, 0], shown)


def test_every_hidden_entry_counts_the_same_and_one_in_the_mean():
    for iteration in range(5):
        weights = make_window_batch(WINDOWS, range(8), iteration=iteration, **BATCH).weights
        for of_width in weights:
            assert len(of_width[of_width > 0].unique()) == 1
            assert of_width.mean() == pytest.approx(1.0)


def test_every_share_is_hidden():
    batches = [make_window_batch(WINDOWS, range(8), iteration=i, **BATCH) for i in range(60)]
    there = torch.stack([b.weights[:, :, 0] > 0 for b in batches]).flatten(-2).sum(-1)
    known = torch.stack([b.labels[:, :, 1] > 0 for b in batches]).flatten(-2).sum(-1)
    share = there / (there + known)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.min() < 0.05 and share.max() > 0.95
    assert share.std() == pytest.approx(12**-0.5, abs=0.03)  # as of uniform ones


def test_the_loss_is_the_mean_over_hidden_entries():
    config = load()
    training = Training(config, WINDOWS)
    network = copy.deepcopy(training.supernet)
    widths = config.supernet.widths
    batch = make_window_batch(
        WINDOWS, range(6), iteration=0, **BATCH | {"seed": 0, "batch_size": 6, "widths": widths}
    )
    losses = training.step()[:-1]
    levels = noise_levels(50, "quadratic")
    for k, width in enumerate(batch.widths):
        x_t = add_noise(batch.x_0, batch.eps[k], levels[batch.t[k]])
        error = (network(x_t, batch.t[k], width, batch.labels[k]) - batch.eps[k]) ** 2
        hidden = batch.weights[k] > 0
        assert losses[k] == pytest.approx(error[hidden].mean().item(), rel=1e-5)


def test_two_workers_step_as_one_does(monkeypatch):
    monkeypatch.setattr("orchestration.training_loop._replicated", lambda loss: loss)
    whole = Training(load(), WINDOWS).step()
    shares = [Training(load(), WINDOWS, worker, 2) for worker in range(2)]
    losses = torch.stack([share.step()[:-1] for share in shares]).mean(0)
    torch.testing.assert_close(losses, whole[:-1])


def test_a_resumed_training_ends_with_the_same_bits():
    states = []
    whole = Training(load(), WINDOWS)
    whole.run(lambda row: None, lambda: states.append(copy.deepcopy(whole.state())))
    resumed = Training(load(), WINDOWS)
    resumed.load(states[0])
    assert resumed.iteration == 2
    resumed.run(lambda row: None, lambda: None)
    for name, tensor in whole.state().tensors.items():
        assert torch.equal(tensor, resumed.state().tensors[name]), name


def test_it_learns():
    """Windows that are one constant each: what is given tells all of what is hidden."""
    values = torch.randn(64, 1, 1, generator=torch.Generator().manual_seed(2)).expand(64, 3, 6)
    training = Training(load("train.iterations=60", "train.learning_rate=1e-2"), Windows(values))
    losses = torch.stack([training.step()[0] for _ in range(60)])
    assert losses[-10:].mean() < 0.75 * losses[:10].mean()


def test_the_network_is_of_the_datas_size():
    arguments = network_arguments(load(), (1, 3, 6))
    assert (arguments["kind"], arguments["num_variables"], arguments["length"]) == (
        "imputer", 3, 6
    )  # fmt: skip
    training = Training(load(), WINDOWS)
    found = averaged(load(), (1, 3, 6), training.state())
    assert found.full.config["num_variables"] == 3
    assert found.subnet(0.5).config["channels"] == 4
