"""Weights that learn on with a mask, in this process: ours, and a network's from elsewhere."""

import pytest
import torch
from diffusers import UNet2DModel

from models.diffusion import add_noise, noise_levels
from orchestration import config as configs
from orchestration import mask_fit
from orchestration.checkpoints import build_supernet, load_supernet, save_supernet
from orchestration.data import DataSet
from orchestration.foreign import ensure_known
from orchestration.formats import Header
from orchestration.mask_loop import MaskTraining
from orchestration.mask_plan import plan_budgets
from orchestration.rundir import RunDirectory
from orchestration.training_network import network_arguments

IMAGES = torch.randint(0, 256, (40, 1, 8, 8), generator=torch.manual_seed(0), dtype=torch.uint8)
DATA = DataSet(Header("digits", len(IMAGES), (1, 8, 8), None), None)
LEVELS = noise_levels(1000, "linear")
CONFIG = configs.load(
    None,
    [
        "search.budget=1", "network.block_out_channels=[8]", "network.attention=[false]",
        "train.batch_size=16", "train.warmup_iterations=0", "train.learning_rate=1e-2",
        "mask.candidates=20", "mask.steps=[6, 3]", "mask.masks=4", "mask.updates=2",
        "mask.reward=elbo", "mask.weights=tuned", "mask.evaluations=960",
    ],
)  # fmt: skip


@pytest.fixture
def ours(tmp_path):
    """A supernet's folder; its weights are not those that it would be built with."""
    network = network_arguments(CONFIG, (1, 8, 8))
    save_supernet(tmp_path / "ours", build_supernet(network, (1.0, 0.5), seed=5), network, {})
    return tmp_path / "ours"


@pytest.fixture
def foreign(tmp_path):
    """What diffusers has saved, with dropout."""
    torch.manual_seed(3)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        dropout=0.1,
    )  # fmt: skip
    network.save_pretrained(tmp_path / "foreign")
    return ensure_known(tmp_path / "foreign", tmp_path / "known", CONFIG, DATA.header)


def training(supernet):
    """What a worker begins with."""
    start = mask_fit._start(CONFIG, DATA, supernet)
    network = build_supernet(start.network, (1.0,), CONFIG.train.seed).full
    network.load_state_dict(start.weights)
    return MaskTraining(CONFIG, plan_budgets(CONFIG, len(IMAGES)), IMAGES, network)


def published(run, supernet, folder):
    """The network that a learning leaves."""
    mask_fit._save_network(CONFIG, DATA, supernet, run.state(), RunDirectory(folder), {})
    return folder / "supernet"


@torch.no_grad()
def error(network):
    """Mean squared error of the predicted noise, on noise that no learning meets."""
    generator = torch.manual_seed(7)
    x_0 = IMAGES.float() / 127.5 - 1
    eps = torch.randn(x_0.shape, generator=generator)
    t = torch.randint(0, 1000, (len(x_0),), generator=generator)
    return (network(add_noise(x_0, eps, LEVELS[t]), t).sample - eps).square().mean().item()


@pytest.mark.parametrize("which", ["ours", "foreign"])
def test_a_trained_network_learns_on(which, request, tmp_path):
    supernet = request.getfixturevalue(which)
    run, before = training(supernet), load_supernet(supernet).full
    for name, weight in run.network.named_parameters():
        assert torch.equal(weight, before.get_parameter(name)), name
    run.run(lambda row: None, lambda: None)
    assert run.evaluations == 960 and run.iteration == 30
    assert (run.learner.s.sum(dim=1) <= torch.tensor([6.0, 3.0]) + 1e-9).all()
    after = UNet2DModel.from_pretrained(published(run, supernet, tmp_path / "run"))
    for name, weight in after.named_parameters():
        assert not torch.equal(weight, before.get_parameter(name)), name
    assert error(after) < 0.8 * error(before)


def test_dropout_leaves_a_learning_a_function_of_position(foreign):
    first, second = training(foreign), training(foreign)
    assert any(isinstance(m, torch.nn.Dropout) and m.p for m in first.network.modules())
    assert [first.step() for _ in range(2)] == [second.step() for _ in range(2)]


@pytest.mark.parametrize("which", ["ours", "foreign"])
def test_a_resumed_learning_ends_with_the_same_bits(which, request, tmp_path):
    supernet = request.getfixturevalue(which)
    whole, first, second = (training(supernet) for _ in range(3))
    for _ in range(7):
        whole.step()
    for _ in range(3):
        first.step()
    torch.rand(5)  # nothing hangs on torch's own generator
    second.load(first.state())
    while second.iteration < whole.iteration:
        second.step()
    ours, theirs = second.state().tensors, whole.state().tensors
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), name
    folders = [published(r, supernet, tmp_path / str(i)) for i, r in enumerate((whole, second))]
    contents = [(folder / "manifest.json").read_bytes() for folder in folders]
    assert contents[0] == contents[1]
