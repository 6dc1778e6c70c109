import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.cost import count_macs
from models.features import Classifier
from models.networks import unet
from models.population import sample_population
from orchestration import chains, compatibility, setting, stub
from orchestration import config as configs
from orchestration.checkpoints import build_supernet, load_supernet, save_supernet
from orchestration.errors import ConfigError, DataError
from orchestration.extractor import FEATURES, FORMAT, REFERENCE, WEIGHTS, load_extractor
from orchestration.files import write_manifest
from orchestration.supernet_description import supernet_sha

NETWORK = {
    "image_size": 4,
    "channels": 1,
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "attention": [False, True],
    "head_size": 2,
    "norm_group_size": 2,
}
META = {"diffusion": {"num_train_timesteps": 500, "betas": "linear", "prediction": "epsilon"}}
STEPS = ((450, 0.5), (100, 1.0))


def load(*overrides):
    few = ("search.budget=1", "search.steps=5", "diffusion.num_train_timesteps=500")
    sizes = ("supernet.widths=[1, .5]", "score.batch_size=6", "score.block_size=3")
    return configs.load(None, [*few, *sizes, *overrides])


@pytest.fixture
def supernet(tmp_path):
    folder = tmp_path / "supernet"
    save_supernet(folder, build_supernet(NETWORK, (1.0, 0.5), seed=3), NETWORK, META)
    return folder


@pytest.fixture
def extractor(tmp_path):
    """An untrained one, as `ensure_extractor` writes it."""
    folder = tmp_path / "features"
    folder.mkdir()
    torch.manual_seed(0)
    network = Classifier(1, 4, 10).eval()
    rng = np.random.default_rng(0)
    save_file(network.state_dict(), folder / WEIGHTS)
    np.save(folder / FEATURES, rng.standard_normal((20, 64)).astype("f4"))
    np.savez(folder / REFERENCE, mu=rng.standard_normal(64), sigma=np.diag(rng.uniform(1, 2, 64)))
    facts = {"format": FORMAT, "name": "classifier", "shape": [1, 4, 4], "num_classes": 10}
    facts |= {"accuracy": 0.5, "num_reference": 20}
    write_manifest(folder, (WEIGHTS, FEATURES, REFERENCE), facts)
    return folder


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmsolver++2m"])
def test_a_network_setting_scores_samples_of_the_saved_subnets(supernet, extractor, sampler):
    config = load(f"sampler.name={sampler}")
    chain = chains.baseline(config)
    chosen = setting.network_setting(config, chain, supernet, extractor)
    scorer = chosen.make_scorer(*chosen.args)
    ((first, second),) = scorer.score([STEPS], 7, range(6))
    saved, network = load_supernet(supernet), load_extractor(extractor).network
    subnets = {width: saved.subnet(width) for width in (1.0, 0.5)}
    ((_, x_0),) = sample_population(
        {w: lambda x, t, net=net: net(x, t).sample for w, net in subnets.items()},
        chains.sampler_of(chain),
        [STEPS],
        seed=7,
        images=range(6),
        shape=(1, 4, 4),
        batch=6,
    )
    with torch.inference_mode():
        expected = network.features(x_0).numpy()
    np.testing.assert_allclose(np.concatenate([first, second]), expected, rtol=1e-5, atol=1e-6)
    assert first.shape == (3, 64)


def test_a_network_setting_says_what_it_is_made_of(supernet, extractor):
    config = load()
    chosen = setting.network_setting(config, chains.baseline(config), supernet, extractor)
    assert chosen.supernet == supernet_sha(supernet)
    assert chosen.image_shape == (1, 4, 4)
    quality = chosen.quality
    assert chosen.dataset == quality.features == "digits" and quality.num_reference == 20
    np.testing.assert_array_equal(quality.real, np.load(extractor / FEATURES))
    with torch.device("meta"):
        fresh = {width: unet(**NETWORK, width=width) for width in (1.0, 0.5)}
    assert chosen.macs == {w: count_macs(net, (1, 4, 4)) for w, net in fresh.items()}
    reference = chosen.args[-2]
    np.testing.assert_array_equal(reference.mean, np.load(extractor / REFERENCE)["mu"])


@pytest.mark.parametrize("name", ["efficientnet", "inception"])
def test_pretrained_features_give_their_name_to_the_quality(
    supernet, extractor, monkeypatch, name
):
    config = load(f"features.name={name}")
    made = load_extractor(extractor)
    monkeypatch.setattr(setting, "load_extractor", lambda folder: made)
    chosen = setting.network_setting(config, chains.baseline(config), supernet, extractor)
    assert (chosen.dataset, chosen.quality.features) == ("digits", name)


@pytest.mark.parametrize("name", [WEIGHTS, FEATURES, REFERENCE])
def test_a_damaged_extractor_is_named(supernet, extractor, name):
    content = bytearray((extractor / name).read_bytes())
    content[len(content) // 2] ^= 1
    (extractor / name).write_bytes(content)
    config = load()
    with pytest.raises(DataError, match=f"{name} is damaged"):
        setting.network_setting(config, chains.baseline(config), supernet, extractor)


@pytest.mark.parametrize(
    ("timesteps", "widths", "expected"),
    [
        (500, (1.0, 0.5), None),
        (500, (0.5,), None),
        (500, (1.0, 0.75), r"widths \[0.75, 1.0\]: .*\[0.5, 1.0\]"),
        (400, (1.0,), "num_train_timesteps: got 400, expected 500 as in"),
    ],
)
def test_a_supernet_must_fit_what_runs_on_it(supernet, timesteps, widths, expected):
    chain = chains.baseline(load(f"diffusion.num_train_timesteps={timesteps}"))
    if expected is None:
        compatibility.check_fits(supernet, chain, widths)
    else:
        with pytest.raises(ConfigError, match=expected):
            compatibility.check_fits(supernet, chain, widths)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("diffusion.betas=cosine", "betas: got squaredcos_cap_v2, expected linear as in"),
        ("diffusion.prediction=v_prediction", "prediction: got v_prediction, expected epsilon"),
        ("diffusion.rescale_zero_terminal_snr=true", "terminal_snr: got True, expected False"),
    ],
)
def test_a_supernet_must_have_learned_the_chain_that_runs_on_it(supernet, override, expected):
    with pytest.raises(ConfigError, match=expected):
        compatibility.check_fits(supernet, chains.baseline(load(override)), (1.0,))


def test_a_supernet_of_a_rescaled_chain_runs_no_other(tmp_path):
    folder, rescaled = tmp_path / "supernet", "diffusion.rescale_zero_terminal_snr=true"
    meta = {"diffusion": {**META["diffusion"], "rescale_zero_terminal_snr": True}}
    save_supernet(folder, build_supernet(NETWORK, (1.0, 0.5), seed=3), NETWORK, meta)
    compatibility.check_fits(folder, chains.baseline(load(rescaled)), (1.0,))
    with pytest.raises(ConfigError, match="rescale_zero_terminal_snr: got False, expected True"):
        compatibility.check_fits(folder, chains.baseline(load()), (1.0,))


def test_subnets_run_as_the_configuration_says():
    found = setting.execution(load("score.state_bytes=12345"))
    assert (found.batch_size, found.threads, found.state_bytes) == (6, 1, 12345)
    assert not found.ways  # which are measured


def test_the_stub_needs_nothing():
    config = load("score.scorer=stub")
    chosen = setting.stub_setting(config)
    scorer = chosen.make_scorer(*chosen.args)
    ((first, second),) = scorer.score([STEPS], 7, range(6))
    ((_, features),) = stub.StubSource(500).features([STEPS], 7, range(6))
    np.testing.assert_array_equal(np.concatenate([first, second]), features)
    assert chosen.macs == stub.macs_table((1.0, 0.5))
    assert chosen.image_shape is None and chosen.quality.real.shape[1] == stub.NUM_FEATURES


def test_a_supernet_of_other_images_is_refused_with_what_to_set(tmp_path):
    save_supernet(tmp_path / "net", build_supernet(NETWORK, (1.0, 0.5)), NETWORK, META)
    compatibility.check_shape(tmp_path / "net", (1, 4, 4))
    for shape in ((3, 4, 4), (1, 8, 8), (1, 4, 6)):
        with pytest.raises(ConfigError, match="expected 1 x 4 x 4 as .* data.image_size and dat"):
            compatibility.check_shape(tmp_path / "net", shape)
