"""Learning a mask on windows with gaps, in this process: only hidden entries count."""

import pytest
import torch

from orchestration import config as configs
from orchestration import mask_loop, mask_result
from orchestration.checkpoints import build_supernet
from orchestration.errors import ConfigError
from orchestration.mask_batches import second_moment, window_rows
from orchestration.mask_loop import MaskTraining
from orchestration.mask_plan import plan_budgets
from orchestration.mask_refine import check_images, scored_on, scores_of
from orchestration.training_network import network_arguments
from orchestration.training_weights import LearningWeights
from orchestration.training_windows import Windows, make_window_batch
from orchestration.window_formats import WindowHeader

VALUES = torch.randn(11, 3, 6, generator=torch.Generator().manual_seed(0)) * 2
VALUES[torch.rand(VALUES.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = torch.nan
WINDOWS = Windows(VALUES)
ROWS = {"passes": 2, "seed": 3, "batch_size": 8}
TINY = (
    "search.budget=1", "search.steps=5", "data.name=weather", "sampler.clip_sample=false",
    "sampler.name=ddpm", "imputer.channels=8", "imputer.num_heads=4", "imputer.num_layers=2",
    "imputer.feedforward=8", "diffusion.num_train_timesteps=50", "diffusion.betas=quadratic",
    "train.batch_size=6", "train.iterations=5", "train.warmup_iterations=1",
    "mask.steps=[10, 5]", "mask.masks=4", "mask.updates=3", "mask.reward=elbo",
)  # fmt: skip


def load(*overrides):
    return configs.load(None, [*TINY, *overrides])


def training(config, worker=0, num_workers=1, network=None):
    network = network or build_supernet(network_arguments(config, (1, 3, 6)), (1.0,), 0).full
    budgets = plan_budgets(config, len(VALUES))
    return MaskTraining(config, budgets, WINDOWS, network, worker, num_workers)


def test_rows_hide_entries_as_training_does_but_not_the_same_ones():
    rows = window_rows(WINDOWS, torch.arange(16), iteration=4, **ROWS)
    trained = make_window_batch(
        WINDOWS, range(8), seed=3, iteration=4, batch_size=8, widths=(1.0,), num_train_timesteps=50
    )
    given, hidden = rows.told[0][:, 1] > 0, rows.weights[:, 0] > 0
    assert not (given & hidden).any()
    assert torch.equal(rows.told[0][:, 0], torch.where(given, rows.x_0[:, 0], 0.0))
    for row, x_0 in zip(given | hidden, rows.x_0[:, 0], strict=True):
        (index,) = [i for i, v in enumerate(VALUES) if torch.equal(v.nan_to_num(0), x_0)]
        assert torch.equal(row, VALUES[index].isfinite())
    assert rows.weights.mean() == pytest.approx(1.0)
    assert not torch.equal(rows.weights[0::2] > 0, trained.weights[0] > 0)
    assert not torch.equal(rows.eps[0::2], trained.eps[0])
    for tensor in (rows.x_0, rows.eps, rows.weights, *rows.told):  # two passes over a window
        assert torch.equal(tensor[0::2], tensor[1::2])


def test_a_share_that_is_given_is_hidden_in_each_window():
    rows = window_rows(WINDOWS, torch.arange(16), iteration=4, **ROWS, hidden_share=0.25)
    given, hidden = rows.told[0][:, 1] > 0, rows.weights[:, 0] > 0
    recorded = (given | hidden).flatten(1).sum(1)
    assert torch.equal(hidden.flatten(1).sum(1), (recorded * 0.25).round().long())


def test_workers_see_together_what_one_sees_alone():
    whole = window_rows(WINDOWS, torch.arange(16), iteration=4, **ROWS)
    shares = [
        window_rows(WINDOWS, torch.arange(*ends), iteration=4, **ROWS)
        for ends in ((0, 6), (6, 16), (16, 16))
    ]
    for name in ("x_0", "eps", "weights"):
        joined = torch.cat([getattr(share, name) for share in shares])
        assert torch.equal(joined, getattr(whole, name)), name
    assert torch.equal(torch.cat([share.told[0] for share in shares]), whole.told[0])


class Absurd(torch.nn.Module):
    """Says 0 of what is hidden, and nonsense of what is given."""

    def forward(self, x_t, t, told):
        return told[:, 1:] * 1e6


def test_only_hidden_entries_count_and_each_the_same():
    run = training(load("mask.evaluations=600", "score.hide=0.5"), network=Absurd())
    squares, count = 0.0, 0
    for iteration in range(100):
        rows = window_rows(
            WINDOWS, torch.arange(6), passes=1, seed=0, iteration=iteration, batch_size=6,
            hidden_share=0.5,
        )
        hidden = rows.weights > 0
        squares += rows.eps[hidden].double().square().sum().item()
        count += int(hidden.sum())
        run.step()
    assert run.evaluations == 600
    assert run.learner.curve.sums[1].sum() == count
    assert run.learner.curve.sums[0].sum() == pytest.approx(squares, rel=1e-5)
    assert squares / count == pytest.approx(1, abs=0.1)


def test_the_second_moment_is_of_what_may_be_hidden():
    recorded = VALUES[VALUES.isfinite()]
    assert second_moment(WINDOWS) == pytest.approx((recorded**2).mean().item())
    assert second_moment(WINDOWS) > 1.1 * VALUES.nan_to_num(0).square().mean()
    assert second_moment(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)) == 1


@pytest.mark.parametrize("weights", ["frozen", "scratch"])
def test_two_workers_step_as_one_does(monkeypatch, weights):
    config = load(f"mask.weights={weights}")
    sums, losses = [], []
    monkeypatch.setattr(mask_loop, "DistributedDataParallel", lambda network, **_: network)

    def noting(weights, loss, iteration):
        losses.append(loss.item())
        return torch.ones(())

    monkeypatch.setattr(LearningWeights, "learn", noting)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda s: sums.append(s.clone()))
    alone = training(config)
    alone.step()
    for worker in range(2):
        training(config, worker, 2).step()
    torch.testing.assert_close((sums[0] + sums[1])[:-3].view(2, -1), alone.learner.curve.sums)
    assert (sums[0] + sums[1])[-1] == alone.evaluations == 6 * alone.budgets.passes
    if weights == "scratch":
        whole, *shares = losses
        assert sum(shares) / 2 == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("form", ["respaced", "literal"])
@pytest.mark.parametrize("weights", ["frozen", "scratch"])
def test_interrupted_and_resumed_ends_with_the_same_bits(form, weights):
    """Though what the last layer's residual is made of has no gradient, and Adam no moments."""
    config = load(f"mask.form={form}", f"mask.weights={weights}")
    whole, first, second = (training(config) for _ in range(3))
    whole.run(lambda row: None, lambda: None)
    for _ in range(2):
        first.step()
    second.load(first.state())
    while second.iteration < whole.iteration:
        second.step()
    ours, theirs = second.state().tensors, whole.state().tensors
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), name
    assert (whole.learner.s.sum(dim=1) <= torch.tensor([10.0, 5.0]) + 1e-9).all()


def test_nothing_hidden_is_nothing_learned():
    gaps = torch.full((4, 1, 2), torch.nan)
    config = load("mask.evaluations=6", "train.num_workers=1")
    network = build_supernet(network_arguments(config, (1, 1, 2)), (1.0,), 0).full
    run = MaskTraining(config, plan_budgets(config, 4), Windows(gaps), network)
    assert (run.step(), run.step()) == (0, 0) and run.learner.num_updates == 3
    assert (run.learner.s == 1).all()


def test_masks_are_judged_by_windows_that_are_there():
    counts = {"train": 11, "validation": 6, "test": 5}
    header = WindowHeader("weather", ("a",), 6, counts, (0.0,), (1.0,), False, False)
    quality = load("mask.reward=quality", "mask.num_images=7", "score.num_samples=3")
    with pytest.raises(ConfigError, match="mask.num_images: got 7, expected at most 6, the valid"):
        check_images(quality, header)
    check_images(load("mask.num_images=7"), header)  # by the ELBO


def test_batches_leave_no_rest_that_would_be_padded():
    of_windows = load("score.batch_size=4", "score.block_size=1")
    for count, size in ((6, 3), (10, 2), (12, 4), (14, 2), (300, 4)):
        own = scored_on(of_windows, count).score
        assert (own.batch_size, own.block_size) == (size, 1)
    of_images = scored_on(configs.load(None, ["search.budget=1"]), 40).score
    assert (of_images.batch_size, of_images.block_size) == (20, 20)


def test_the_next_round_is_on_the_windows_that_follow():
    asked = []

    class Pool:
        def rewards(self, schedules, seed, num_images, real, first=0, finer=None):
            asked.append((first, num_images))
            return [0.0], []

    of_windows, of_images = scores_of(Pool(), most=10), scores_of(Pool())
    for number in range(4):
        of_windows([()], 1000 + number, 6)
    assert asked == [(0, 6), (6, 6), (2, 6), (8, 6)]
    of_images([()], 1003, 6)
    assert asked[-1] == (0, 6)


def test_imputers_are_held_against_no_one_number_of_steps():
    """The first schedule that is scored is another one for each."""
    numbers = {"crps": 0.5, "crps_ci": [0.4, 0.6]}
    shares = {"baseline_share": 0.8, "baseline_share_ci": [0.7, 0.9]}
    facts = {"quality": "crps_weather", "imputers": {"mean": {**numbers, **shares}}}
    assert mask_result._of_all(facts) == {**facts, "imputers": {"mean": numbers}}
    assert mask_result._of_all({"quality": "fd"}) == {"quality": "fd"}
