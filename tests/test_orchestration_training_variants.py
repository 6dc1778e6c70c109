"""Variants of training: what they share with the plain one, and what they don't."""

import copy

import pytest
import torch
from diffusers import UNet2DModel

from models.supernet import predict
from orchestration import config as configs
from orchestration.checkpoints import build_supernet, load_supernet, save_supernet
from orchestration.config import fingerprint
from orchestration.errors import ConfigError
from orchestration.training_batches import make_batch
from orchestration.training_loop import Training
from orchestration.training_network import averaged, network_arguments, training_dtype

SMALL = (
    "search.budget=1",
    "supernet.widths=[1, 0.5, 0.25]",
    "network.block_out_channels=[4, 8]",
    "network.head_size=1",
    "network.norm_group_size=1",
    "train.batch_size=8",
    "train.iterations=4",
    "train.warmup_iterations=1",
    "train.checkpoint_every=2",
)
IMAGES = torch.randint(
    256, (21, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
SHAPE = (1, 4, 4)
BATCH = {"seed": 3, "batch_size": 12, "widths": (1.0, 0.5, 0.25), "num_train_timesteps": 1000}


def load(*overrides):
    return configs.load(None, [*SMALL, *overrides])


def inputs():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, *SHAPE, generator=generator), torch.tensor([900, 500, 3])


def norms(network):
    return [m for m in network.modules() if isinstance(m, torch.nn.GroupNorm)]


def trained(config, num_iterations=2):
    training = Training(config, IMAGES)
    for _ in range(num_iterations):
        training.step()
    return training


def test_defaults_leave_the_fingerprints_of_trainings_as_they_were():
    plain = load()
    for key, value in (
        ("supernet.private_norms", "true"), ("train.width_sampling", "all"),
        ("train.distillation", "0.5"), ("train.teacher", "average"), ("train.dtype", "bfloat16"),
        ("train.tf32", "true"),
    ):  # fmt: skip
        assert fingerprint(load(f"{key}={value}")) != fingerprint(plain)
        assert f"{key}" in configs.ADDED
    assert fingerprint(load("train.device=cpu")) == fingerprint(plain)


def test_the_same_noise_is_that_of_the_first_width():
    own = make_batch(IMAGES, range(2, 7), iteration=4, **BATCH)
    same = make_batch(IMAGES, range(2, 7), iteration=4, same_noise=True, **BATCH)
    assert torch.equal(own.x_0, same.x_0) and own.widths == same.widths
    assert not torch.equal(own.t[0], own.t[1])
    for k in range(len(same.widths)):
        assert torch.equal(same.t[k], own.t[0]) and torch.equal(same.eps[k], own.eps[0])


def test_a_teacher_must_be_drawn():
    with pytest.raises(ConfigError, match='train.width_sampling: got "uniform", expected anot'):
        load("train.distillation=0.5", "train.width_sampling=uniform")
    load("train.distillation=0.5", "train.width_sampling=uniform", "train.teacher=average")


@pytest.mark.parametrize(
    "keys",
    [("train.distillation=0.5",), ("train.distillation=0.5", "train.teacher=average"),
     ("supernet.private_norms=true",), ("train.width_sampling=uniform",)],
)  # fmt: skip
def test_a_variant_goes_on_bit_by_bit(keys):
    config, states = load(*keys), []
    whole = Training(config, IMAGES)
    whole.run(lambda row: None, lambda: states.append(copy.deepcopy(whole.state())))
    resumed = Training(config, IMAGES)
    resumed.load(states[0])
    resumed.run(lambda row: None, lambda: None)
    for name, tensor in whole.state().tensors.items():
        assert torch.equal(resumed.state().tensors[name], tensor), name
    plain = trained(load(), 4)
    weight = "full.conv_in.weight"
    assert not torch.equal(plain.weights.parameters[weight], whole.weights.parameters[weight])


def test_the_average_teaches_by_its_own_weights():
    training = trained(load("train.distillation=1.0", "train.teacher=average"))
    weights, full = training._teacher(), dict(training.supernet.full.named_parameters())
    assert weights.keys() == full.keys()
    assert not torch.equal(weights["conv_in.weight"], full["conv_in.weight"])
    assert Training(load("train.distillation=1.0"), IMAGES)._teacher() is None


def test_norms_of_a_width_are_its_own():
    config = load("supernet.private_norms=true")
    supernet = build_supernet(network_arguments(config, SHAPE), (1, 0.5, 0.25), 0, True)
    shared = build_supernet(network_arguments(config, SHAPE), (1, 0.5, 0.25), 0)
    before = {w: supernet(*inputs(), w) for w in supernet.widths}
    for width in supernet.widths:  # scale 1 and shift 0 are where all norms begin
        assert torch.equal(before[width], shared(*inputs(), width))
    with torch.no_grad():
        for name, parameter in supernet.private[0].items():
            if "norm" in name:
                parameter.add_(0.3)
    after = {w: supernet(*inputs(), w) for w in supernet.widths}
    assert torch.equal(after[1.0], before[1.0]) and torch.equal(after[0.25], before[0.25])
    assert not torch.isclose(after[0.5], before[0.5]).any()
    names = {key for key in supernet.private_state() if key.startswith("0.5/")}
    assert len(names) == 2 + 2 * len(norms(supernet.full))


def test_gradients_of_a_narrow_width_leave_the_full_norms_alone():
    config = load("supernet.private_norms=true")
    supernet = build_supernet(network_arguments(config, SHAPE), (1, 0.5, 0.25), 0, True)
    supernet(*inputs(), 0.5).square().sum().backward()
    assert all(p.grad is None for norm in norms(supernet.full) for p in norm.parameters())
    assert supernet.private[0]["conv_norm_out/weight"].grad.abs().sum() > 0


def test_private_norms_are_saved_loaded_and_plain_in_each_subnet(tmp_path):
    config = load("supernet.private_norms=true", "train.learning_rate=0.05")
    training = trained(config)
    result = averaged(config, SHAPE, training.state())
    network = network_arguments(config, SHAPE)
    save_supernet(tmp_path / "net", result, network, {}, private_norms=True)
    loaded = load_supernet(tmp_path / "net")
    for width in loaded.widths:
        subnet, x = loaded.subnet(width), inputs()
        torch.testing.assert_close(predict(subnet, *x), result(*x, width), rtol=1e-5, atol=1e-5)
        assert type(subnet) is UNet2DModel
        subnet.save_pretrained(tmp_path / f"{width}")
        plain = UNet2DModel.from_pretrained(tmp_path / f"{width}")
        torch.testing.assert_close(plain(*x).sample, predict(subnet, *x), rtol=1e-5, atol=1e-5)
    scale = loaded.subnet(0.5).conv_norm_out.weight
    assert not torch.equal(scale, loaded.full.conv_norm_out.weight[: len(scale)])


@pytest.mark.parametrize(
    ("asked", "has_bfloat16", "expected"),
    [("float32", True, "float32"), ("bfloat16", False, "bfloat16"),
     ("auto", True, "bfloat16"), ("auto", False, "float32")],
)  # fmt: skip
def test_bfloat16_is_taken_where_there_is_any(asked, has_bfloat16, expected):
    assert training_dtype(load(f"train.dtype={asked}").train, has_bfloat16) == expected


def test_in_bfloat16_only_the_calls_are_rough():
    rough, exact = trained(load("train.dtype=bfloat16"), 1), trained(load(), 1)
    first, second = (Training(load(key), IMAGES).step() for key in ("train.dtype=bfloat16",) * 2)
    assert torch.equal(first, second) and first.dtype == torch.float32
    plain = Training(load(), IMAGES).step()
    assert not torch.equal(first, plain)
    torch.testing.assert_close(first, plain, rtol=0.05, atol=0.05)
    for tensors in (rough.state().tensors, exact.state().tensors):
        assert {t.dtype for n, t in tensors.items() if "num_updates" not in n} == {torch.float32}
