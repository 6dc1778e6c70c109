"""Learning a mask in this process, without Ray."""

import math

import pytest
import torch

from models.diffusion import noise_levels
from models.elbo import best_subsets
from models.masking import undecided
from orchestration import config as configs
from orchestration.checkpoints import build_supernet
from orchestration.errors import ConfigError
from orchestration.mask_batches import second_moment
from orchestration.mask_loop import MaskTraining
from orchestration.mask_plan import plan_budgets
from orchestration.training_iterations import Diverged
from orchestration.training_network import network_arguments
from search_spaces.spacing import known_grids, nearest

IMAGES = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.manual_seed(0), dtype=torch.uint8)
VARIANCE = second_moment(IMAGES)
LEVELS = noise_levels(1000, "linear")
TINY = (
    "search.budget=1", "network.block_out_channels=[8]", "network.attention=[false]",
    "train.batch_size=16", "train.warmup_iterations=2", "train.report_every=2",
    "mask.candidates=20", "mask.steps=[6, 3]", "mask.masks=4", "mask.updates=50",
    "mask.reward=elbo",
)  # fmt: skip


def load(*overrides):
    return configs.load(None, [*TINY, *overrides])


def training(config, worker=0, network=None):
    network = network or build_supernet(network_arguments(config, (1, 8, 8)), (1.0,), 0).full
    return MaskTraining(config, plan_budgets(config, len(IMAGES)), IMAGES, network, worker)


def test_the_budgets_of_a_pass_over_the_data_are_kept():
    frozen = plan_budgets(load("mask.reward=quality"), 1000)
    assert (frozen.learning, frozen.quality) == (400, 1600)
    assert frozen.iterations * 16 == 400
    tuned = plan_budgets(load("mask.weights=tuned"), 1000)
    assert (tuned.learning, tuned.quality, tuned.passes) == (2000, 0, 2)
    assert tuned.iterations * 2 * 16 <= 2000 < (tuned.iterations + 1) * 2 * 16
    scratch = plan_budgets(load("mask.weights=scratch", "train.iterations=70"), 1000)
    assert scratch.iterations == 70
    with pytest.raises(ConfigError, match="mask.evaluations: got 20, expected at least an iterat"):
        plan_budgets(load("mask.weights=tuned", "mask.evaluations=20"), 1000)


@pytest.mark.parametrize("evaluations", [80, 45])
def test_a_frozen_network_is_called_no_more_often_than_allowed(evaluations):
    run = training(load(f"mask.evaluations={evaluations}"))
    before = [p.clone() for p in run.network.parameters()]
    run.run(lambda row: None, lambda: None)
    assert run.evaluations == evaluations == run.learner.curve.sums[1].sum()
    assert all(torch.equal(a, b) for a, b in zip(before, run.network.parameters(), strict=True))
    assert (run.learner.s.sum(dim=1) <= torch.tensor([6.0, 3.0]) + 1e-9).all()


@pytest.mark.parametrize("weights", ["frozen", "scratch"])
@pytest.mark.parametrize("updates", [120, 125])
def test_the_last_s_is_noted_once_however_many_updates_there_are(weights, updates):
    config = load(f"mask.updates={updates}", f"mask.weights={weights}", "train.iterations=6")
    run = training(config)
    run.run(lambda row: None, lambda: None)
    noted = [at for at, _ in run.history]
    assert noted[0] == 0 and noted[-1] == updates and len(set(noted)) == len(noted)
    assert torch.equal(run.history[-1][1], run.learner.s)


@pytest.mark.parametrize("form", ["respaced", "literal"])
@pytest.mark.parametrize("weights", ["frozen", "scratch"])
def test_interrupted_and_resumed_ends_with_the_same_bits(form, weights):
    config = load(f"mask.form={form}", f"mask.weights={weights}", "train.iterations=6")
    whole, first, second = (training(config) for _ in range(3))
    whole.run(lambda row: None, lambda: None)
    for _ in range(2):
        first.step()
    state = first.state()
    second.load(state)
    while second.iteration < whole.iteration:
        second.step()
    ours, theirs = second.state().tensors, whole.state().tensors
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), name


def test_two_rows_of_an_image_have_the_same_image_and_noise_under_two_masks():
    run = training(load("mask.weights=scratch", "train.iterations=4"))
    positions = run._positions()
    rows = run._rows(positions)
    x_0, eps = rows.x_0, rows.eps
    assert len(positions) == 32 and rows.told == () and rows.weights is None
    assert torch.equal(x_0[0::2], x_0[1::2]) and torch.equal(eps[0::2], eps[1::2])
    run.learner.s[:] = 0.3
    levels, told = run._levels(positions)
    assert (levels[0::2] != levels[1::2]).any()
    assert torch.equal(levels, run.chain.alphas_cumprod[told])


def test_where_weights_learn_images_are_mirrored_as_in_training():
    """By their position alone, the same for both rows of an image, the noise not."""
    plain, mirrored = (
        training(load("mask.weights=scratch", f"data.flip={flip}")) for flip in ("false", "true")
    )
    found = []
    for iteration in range(8):
        plain.iteration = mirrored.iteration = iteration
        before, after = (run._rows(run._positions()) for run in (plain, mirrored))
        assert torch.equal(before.eps, after.eps)
        is_mirrored = (after.x_0 == before.x_0.flip(-1)).flatten(1).all(dim=1)
        expected = torch.where(
            is_mirrored[:, None, None, None], before.x_0.flip(-1), before.x_0
        )
        assert torch.equal(after.x_0, expected)
        assert torch.equal(is_mirrored[0::2], is_mirrored[1::2])
        found.append(is_mirrored[0::2])
    shares = torch.stack(found).double()
    assert abs(shares.mean() - 0.5) < 4 * 0.5 / 128**0.5
    assert len({tuple(row.tolist()) for row in found}) == 8


@pytest.mark.parametrize(
    ("weights", "expected"),
    [("scratch", "lower train.learning_rate"), ("frozen", "the network of --supernet predic")],
)
def test_a_network_that_predicts_no_number_is_told_by_what_can_be_done(weights, expected):
    run = training(load(f"mask.weights={weights}", "train.iterations=4"))
    with torch.no_grad():
        next(run.network.parameters()).fill_(math.nan)
    with pytest.raises(Diverged, match=expected):
        run.step()


def test_a_gradient_that_is_no_number_is_named_and_never_saved():
    run, saved = training(load("mask.weights=scratch", "train.iterations=4")), []
    first = next(run.network.parameters())
    first.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(Diverged, match="norm of the gradient is (nan|inf) at iteration 0"):
        run.run(lambda row: None, lambda: saved.append(run.iteration))
    assert not saved


def test_a_frozen_network_is_judged_on_the_images_as_they_are():
    plain, mirrored = (training(load(f"data.flip={flip}")) for flip in ("false", "true"))
    rows = [run._rows(run._positions()).x_0 for run in (plain, mirrored)]
    assert torch.equal(*rows)


def test_in_bfloat16_only_the_calls_of_weights_that_learn_are_rough():
    def begun(*values):
        return training(load("train.iterations=6", *values))

    rough, again, exact = (
        begun("mask.weights=scratch", f"train.dtype={dtype}")
        for dtype in ("bfloat16", "bfloat16", "float32")
    )
    losses = [run.step().item() for run in (rough, again, exact)]
    assert losses[0] == losses[1] != losses[2] and losses[0] == pytest.approx(losses[2], rel=0.02)
    assert {p.dtype for p in rough.network.parameters()} == {torch.float32}
    rough.step()
    resumed = begun("mask.weights=scratch", "train.dtype=bfloat16")
    resumed.load(again.state())
    resumed.step()
    ours, theirs = resumed.state().tensors, rough.state().tensors
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    frozen = [begun(f"train.dtype={dtype}").step() for dtype in ("bfloat16", "float32")]
    assert frozen[0] == frozen[1]


def test_in_the_literal_form_the_network_is_told_the_level():
    run = training(load("mask.weights=scratch", "mask.form=literal", "train.iterations=4"))
    run.learner.s[:] = 0.3
    levels, told = run._levels(run._positions())
    below = run.chain.alphas_cumprod[told.floor().long()]
    above = run.chain.alphas_cumprod[told.ceil().long()]
    assert ((above - 1e-6 <= levels) & (levels <= below + 1e-6)).all()
    assert (told != told.round()).any()


class Exact(torch.nn.Module):
    """Says E[eps | x_t] for pixels that are Gaussian, or the best linear guess for others."""

    def forward(self, x_t, t):
        level = LEVELS[t].view(-1, 1, 1, 1).float()
        return (1 - level).sqrt() * x_t / (level * VARIANCE + 1 - level)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_mask_met_has_the_least_cost_by_the_measured_errors(seed):
    """To .01 nats a dimension, where the best known spacing is worse by .05 and more."""
    config = load(
        "mask.updates=500", "mask.masks=16", "mask.evaluations=320", f"mask.seed={seed}"
    )
    run = training(config, network=Exact())
    run.run(lambda row: None, lambda: None)
    learner, grid = run.learner, run.chain.grid
    errors = learner.curve(grid)
    torch.testing.assert_close(
        errors, grid * VARIANCE / (grid * VARIANCE + 1 - grid), rtol=0.25, atol=0
    )
    best = best_subsets(grid, errors, learner.second_moment, config.mask.steps)
    for row, k in enumerate(config.mask.steps):
        least = best[k][1]
        grids = known_grids(1000, k).values()
        known = [run.chain.mask(nearest(run.chain.timesteps, of_one)) for of_one in grids]
        assert learner.costs(torch.stack(known)).min().item() - least > 0.05
        assert 0 <= learner.costs(learner.best[row][None]).item() - least + 1e-9 < 0.01
        assert undecided(learner.s[row]) <= 0.1
