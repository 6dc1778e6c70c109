import copy
import pickle

import numpy as np
import pytest
import torch
from toy_training import BATCH, IMAGES, classes

from orchestration import config as configs
from orchestration.errors import ConfigError
from orchestration.training_batches import make_batch
from orchestration.training_iterations import Diverged
from orchestration.training_loop import Training
from orchestration.training_network import averaged
from orchestration.training_state import read_checkpoint, write_checkpoint
from orchestration.training_weights import learning_rate

SMALL = (
    "search.budget=1",
    "network.block_out_channels=[4, 8]",
    "network.head_size=1",
    "network.norm_group_size=1",
    "train.batch_size=8",
    "train.iterations=6",
    "train.warmup_iterations=2",
    "train.report_every=2",
    "train.checkpoint_every=3",
)


def load(*overrides):
    return configs.load(None, [*SMALL, *overrides])


def run(training):
    """Runs to the end; the states at each checkpoint."""
    states = []
    training.run(lambda row: None, lambda: states.append(copy.deepcopy(training.state())))
    return states


def test_a_conditional_training_goes_on_bit_by_bit_and_hides_labels():
    config = load("network.conditional=true", "train.label_dropout=0.5")
    labels = classes(config.train.label_dropout)
    whole = run(Training(config, IMAGES, labels=labels))[-1]
    first = run(Training(config, IMAGES, labels=labels))[0]
    resumed = Training(config, IMAGES, labels=labels)
    resumed.load(first)
    again = run(resumed)[-1]
    assert whole.tensors.keys() == again.tensors.keys()
    assert all(torch.equal(whole.tensors[name], again.tensors[name]) for name in whole.tensors)
    table = averaged(config, (1, 4, 4), whole, 7).full.class_embedding.weight
    fresh = Training(config, IMAGES, labels=labels).supernet.full.class_embedding.weight
    assert table.shape == (8, 16) and not torch.isclose(table, fresh).all(1).any()


def test_a_conditional_network_needs_labels():
    with pytest.raises(ConfigError, match="network.conditional: got true, .* have no labels"):
        Training(load("network.conditional=true"), IMAGES)


@pytest.mark.parametrize(
    ("overrides", "flips"),
    [
        ((), False),
        (("data.flip=true",), True),
        (("data.name=fashion-mnist",), False),
        (("data.name=folder", "data.path=/x"), False),
        (("data.name=parquet", "data.path=/x"), False),
        (("data.name=blue-marble",), True),
        (("data.name=cifar10", "data.path=/x"), True),
        (("data.name=cifar10", "data.path=/x", "data.flip=false"), False),
    ],
)
def test_images_are_mirrored_where_the_mirrored_ones_could_be_real(overrides, flips):
    assert load(*overrides).data.flips is flips


def test_training_mirrors_where_the_configuration_says_so():
    by_default, on, off = (load(*key) for key in ((), ("data.flip=true",), ("data.flip=false",)))
    trainings = [Training(config, IMAGES) for config in (by_default, on, off)]
    first, mirrored, plain = ([x.clone() for x in t.step()] for t in trainings)
    assert first == plain != mirrored


def test_learning_rate_rises_linearly_then_falls_by_a_half_cosine():
    train = load(
        "train.iterations=100", "train.warmup_iterations=10", "train.learning_rate=2.0"
    ).train
    cosine = [1 + np.cos(np.pi * i / 100) for i in range(100)]
    rates = [learning_rate(i, train) for i in range(100)]
    np.testing.assert_allclose(rates[10:], cosine[10:])
    np.testing.assert_allclose(rates[:10], cosine[:10] * np.arange(1, 11) / 10)
    assert learning_rate(0, load("train.warmup_iterations=0").train) == load().train.learning_rate


def test_steps_equal_a_plain_loop():
    config = load("train.clip_norm=0.05")
    training = Training(config, IMAGES)
    plain = copy.deepcopy(training.supernet)
    alphas = training.loss.alphas_cumprod
    optimizer = torch.optim.Adam(plain.parameters(), foreach=False, fused=False)
    averages = {name: p.detach().clone() for name, p in plain.named_parameters()}
    for i in range(4):
        reported = training.step()
        batch = make_batch(IMAGES, range(8), iteration=i, **BATCH | {"seed": 0, "batch_size": 8})
        losses = []
        for t, eps, width in zip(batch.t, batch.eps, batch.widths, strict=True):
            level = alphas[t].float().view(-1, 1, 1, 1)
            x_t = level.sqrt() * batch.x_0 + (1 - level).sqrt() * eps
            losses.append(((eps - plain(x_t, t, width)) ** 2).mean())
        optimizer.zero_grad()
        sum(losses).backward()
        gradients = [p.grad for p in plain.parameters() if p.grad is not None]
        norm = sum((g**2).sum() for g in gradients).sqrt()
        assert norm > 0.05
        for gradient in gradients:
            gradient.mul_(0.05 / norm)
        optimizer.param_groups[0]["lr"] = learning_rate(i, config.train)
        optimizer.step()
        decay = min(config.train.ema_decay, (i + 1) / (i + 10))
        for name, p in plain.named_parameters():
            averages[name] = decay * averages[name] + (1 - decay) * p.detach()
        torch.testing.assert_close(reported, torch.stack([*losses, norm]).detach())
    result = dict(averaged(config, (1, 4, 4), training.state()).named_parameters())
    for name, p in plain.named_parameters():
        # Adam makes rounding errors large where the true gradient is 0 (a bias before a norm)
        known = optimizer.state[p].get("exp_avg_sq", torch.zeros_like(p)) > 1e-12
        for found, expected in (
            (training.weights.parameters[name], p),
            (result[name], averages[name]),
        ):
            torch.testing.assert_close(found[known], expected[known], rtol=1e-4, atol=1e-6)


def test_training_learns():
    config = load(
        "supernet.widths=[1, 0.5, 0.25]",
        "train.iterations=50",
        "train.report_every=10",
        "train.checkpoint_every=50",
        "train.learning_rate=0.01",
    )
    training = Training(config, IMAGES[:1].expand(21, -1, -1, -1))
    run(training)
    first, *_, last = training.rows
    assert first.losses.keys() == last.losses.keys() == {1.0, 0.5, 0.25}
    assert all(last.losses[width] < 0.9 * first.losses[width] for width in first.losses)


def test_interrupted_and_resumed_equals_uninterrupted_bit_by_bit(tmp_path):
    config = load()
    whole = Training(config, IMAGES)
    halfway, end = run(whole)
    assert (halfway.iteration, end.iteration) == (3, 6)
    resumed = Training(config, IMAGES)
    resumed.load(read_checkpoint(write_checkpoint(tmp_path, halfway)))
    (resumed_end,) = run(resumed)
    assert resumed_end.tensors.keys() == end.tensors.keys()
    for name, tensor in end.tensors.items():
        assert torch.equal(resumed_end.tensors[name], tensor), name
    losses = [row.losses for row in whole.rows]
    assert [row.losses for row in resumed.rows] == losses


def test_the_state_has_moments_of_what_was_trained_alone():
    training = Training(load("train.iterations=2", "train.checkpoint_every=2"), IMAGES)
    (state,) = run(training)
    for name, parameter in training.weights.parameters.items():
        trained = parameter.grad is not None
        assert trained or name.startswith("private.")  # of a width that was not drawn
        assert not trained or f"adam/exp_avg/{name}" in state.tensors


def test_reports_come_when_due_and_before_checkpoints():
    config = load("train.iterations=7")
    training = Training(config, IMAGES)
    events = []
    training.run(
        lambda row: events.append(row.iteration),
        lambda: events.append(f"saved {training.iteration}"),
    )
    assert events == [2, 3, "saved 3", 4, 6, "saved 6", 7, "saved 7"]
    last = training.rows[-1]
    assert last.iterations == 7 and last.seconds_left == 0 and last.images_per_s > 0


def test_a_row_is_the_mean_of_the_iterations_since_the_row_before():
    config = load("train.iterations=4", "train.report_every=3", "train.checkpoint_every=100")
    training, twin = Training(config, IMAGES), Training(config, IMAGES)
    run(training)
    tables = torch.stack([twin.step() for _ in range(4)])
    assert training.rows[0].losses[1.0] == pytest.approx(tables[:3, 0].mean().item())
    assert training.rows[1].losses[0.25] == pytest.approx(tables[3, 1].item())


@pytest.mark.parametrize("shares", [(0, 4, 8), (0, 3, 8)])
def test_workers_average_to_the_loss_of_the_whole_batch(shares):
    """Shares may differ by a row: the weights make up for it."""
    config = load(f"train.batch_size={shares[-1]}")
    alone = Training(config, IMAGES).step()
    parts = []
    for start, stop in zip(shares, shares[1:], strict=False):
        worker = Training(config, IMAGES)
        worker.batch_rows = range(start, stop)
        worker.share_weight = (stop - start) / (shares[-1] / 2)
        parts.append(worker.step())
    torch.testing.assert_close(sum(parts)[:-1] / 2, alone[:-1])


def test_batches_that_do_not_divide_are_shared_out(monkeypatch):
    monkeypatch.setattr("orchestration.training_loop._replicated", lambda loss: loss)
    workers = [Training(load(), IMAGES, worker, 3) for worker in range(3)]
    rows = [row for worker in workers for row in worker.batch_rows]
    assert rows == list(range(8))
    assert sum(worker.share_weight for worker in workers) == pytest.approx(3)
    assert workers[0].share_weight == pytest.approx(len(workers[0].batch_rows) * 3 / 8)


def test_a_loss_that_is_no_number_is_named_and_never_saved():
    training = Training(load(), IMAGES)
    saved = []

    def poison(row):
        if row.iteration == 3:
            with torch.no_grad():  # the narrowest width's own parameters
                next(training.supernet.private[-1].parameters()).fill_(torch.nan)

    with pytest.raises(Diverged, match="loss of width 0.25 is nan at iteration 3;.*rate"):
        training.run(poison, lambda: saved.append(training.iteration))
    assert saved == [3]


def test_a_gradient_that_is_no_number_is_named():
    training = Training(load(), IMAGES)
    training.weights.parameters["full.conv_in.weight"].register_hook(
        lambda gradient: gradient * torch.inf
    )
    with pytest.raises(Diverged, match="norm of the gradient is (nan|inf) at iteration 0"):
        run(training)


def test_the_error_survives_a_process():
    error = pickle.loads(pickle.dumps(Diverged("it diverged")))
    assert str(error) == "it diverged" and error.exit_code == 2


def test_images_that_are_not_square_are_refused():
    with pytest.raises(configs.ConfigError, match="4x6 pixels, expected square"):
        Training(load(), torch.zeros(5, 1, 4, 6, dtype=torch.uint8))
