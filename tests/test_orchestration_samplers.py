"""Every chain and sampler from training to the front, in this process: sample, score, search."""

import json
import shutil
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from stub_search import InProcessPool, generations, records_of

from jobs import cli, sample, schedule_arguments, score
from models.features import Classifier
from models.noise import INIT, normal
from orchestration import chains, cluster, data, scoring, setting, training
from orchestration import config as configs
from orchestration.errors import ConfigError
from orchestration.extractor import FEATURES, FORMAT, REFERENCE, WEIGHTS
from orchestration.files import write_json, write_manifest
from orchestration.rundir import open_run
from orchestration.sampling import sample_images, sample_widths
from orchestration.search import Problem
from orchestration.sections import SUPERNET_SECTIONS
from orchestration.supernet_description import read_description
from orchestration.training_batches import Labels
from orchestration.training_loop import Training
from orchestration.training_state import write_checkpoint

SMALL = (
    "network.block_out_channels=[4, 8]",
    "network.attention=[false, false]",
    "network.norm_group_size=1",
    "supernet.widths=[1, .5]",
    "train.batch_size=8",
    "train.iterations=3",
    "train.warmup_iterations=1",
    "train.checkpoint_every=3",
    "search.steps=5",
    "search.num_images=20",
    "search.optimizer=random",
    "search.population=6",
    "search.budget=8",
    "score.num_images=40",
    "score.batch_size=20",
    "score.block_size=5",
)
CHAINS = {
    "plain": (),
    "cosine": ("diffusion.betas=cosine", "diffusion.prediction=v_prediction"),
    "rescaled": (
        "diffusion.prediction=v_prediction",
        "diffusion.rescale_zero_terminal_snr=true",
        "search.spacing=trailing",
    ),
    "conditional": ("network.conditional=true", "train.learning_rate=.1"),
}
CASES = [
    ("plain", "sampler.name=ddpm"),
    ("plain", "sampler.name=dpmsolver++2m"),
    ("cosine", "sampler.name=dpmsolver++2m"),
    ("rescaled", "sampler.name=ddim"),
    ("conditional", "sampler.guidance=2.5"),
    ("conditional", "sampler.name=dpmsolver++2m"),
]


def load(chain, *overrides):
    return configs.load(None, [*SMALL, *CHAINS[chain], *overrides])


def fit_here(config, data_folder, folder, on_progress, say):
    """Ray Train's part, without Ray."""
    images, classes = data.load_arrays(data_folder)
    labels = None
    if config.network.conditional:
        labels = Labels(torch.from_numpy(classes), 10, config.train.label_dropout)
    trained = Training(config, torch.from_numpy(images), labels=labels)
    trained.run(on_progress, lambda: write_checkpoint(folder, trained.state()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run directory with a supernet of each chain."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "fit", fit_here)
        for name in CHAINS:
            config = load(name)
            with open_run(folder / name, config) as run:
                digits = data.prepare(config.data, run.cache)
                training.train(config, digits.folder, run.path, lambda row: None)
    return folder


@pytest.fixture(scope="module")
def extractor(tmp_path_factory):
    """An untrained one, as `ensure_extractor` writes it."""
    folder = tmp_path_factory.mktemp("features") / "digits"
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Classifier(1, 8, 10).eval()
    rng = np.random.default_rng(0)
    save_file(network.state_dict(), folder / WEIGHTS)
    np.save(folder / FEATURES, rng.standard_normal((80, 64)).astype("f4"))
    np.savez(folder / REFERENCE, mu=rng.standard_normal(64), sigma=np.eye(64))
    facts = {"format": FORMAT, "name": "classifier", "shape": [1, 8, 8], "num_classes": 10}
    facts |= {"accuracy": 0.5, "num_reference": 80}
    write_manifest(folder, (WEIGHTS, FEATURES, REFERENCE), facts)
    return folder


def test_a_supernet_says_only_of_what_its_chain_differs_in(runs):
    metas = {n: read_description(runs / n / "supernet")["meta"]["diffusion"] for n in CHAINS}
    assert metas["plain"] == {
        "num_train_timesteps": 1000, "betas": "linear", "prediction": "epsilon"
    }  # fmt: skip
    assert metas["cosine"]["betas"] == "squaredcos_cap_v2"
    assert metas["rescaled"]["rescale_zero_terminal_snr"] is True


def test_another_chain_trains_another_supernet(runs):
    names = {configs.fingerprint(load(name), *SUPERNET_SECTIONS) for name in CHAINS}
    assert len(names) == len(CHAINS)
    state = [(runs / n / "supernet/diffusion_pytorch_model.safetensors") for n in CHAINS]
    assert len({path.read_bytes() for path in state}) == len(CHAINS)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1].partition('=')[2]}")
def case(request, runs, extractor):
    """A configuration with its run directory and its setting."""
    chain, sampler = request.param
    config = load(chain, sampler)
    base = chains.baseline(config)
    chosen = setting.network_setting(config, base, runs / chain / "supernet", extractor)
    return config, runs / chain, chosen


def test_a_search_scores_what_sampling_alone_gives(case):
    config, run, chosen = case
    problem = Problem(
        chains.baseline(config), chains.space(config), chosen.macs, config.search
    )
    scorer = chosen.make_scorer(*chosen.args)
    found = list(generations(problem, InProcessPool(scorer)))
    records = records_of(found)
    assert len(records) == 8 and found[-1].stop == "8 candidates scored"
    assert len({record.quality for record in records}) == 8
    alone = InProcessPool(chosen.make_scorer(*chosen.args))
    for record in (records[0], records[-1]):
        (again,) = alone.distances([record.steps], config.search.noise_seed, 20)
        assert again.full == record.quality
        alone.scorer.keep([])  # nothing is left to start from


def call(command, name, *argv):
    return cli.run(
        name,
        command.main,
        command.__doc__,
        command.add_arguments,
        default=schedule_arguments.default_config,
        argv=list(map(str, argv)),
    )


def test_the_commands_take_its_schedules(case, extractor, tmp_path, monkeypatch, capsys):
    config, run, chosen = case
    base = chains.baseline(config)
    steps = tuple((t, width) for (t, _), width in zip(base.steps[::2], (0.5, 1, 0.5), strict=True))
    schedule = replace(base, steps=steps)
    path = tmp_path / "schedule.json"
    write_json(path, schedule.to_json())
    here = ("--schedule", path, "--supernet", run / "supernet", "--config", run / "config.yaml")
    assert call(sample, "sample", *here, "--num-images", 9, "--out", tmp_path / "s") == 0
    assert (tmp_path / "s" / f"{schedule.key}.png").read_bytes()[:4] == b"\x89PNG"

    @contextmanager
    def here_pool(config, chosen, say):
        yield InProcessPool(chosen.make_scorer(*chosen.args))

    monkeypatch.setattr(cluster, "cluster", nullcontext)
    monkeypatch.setattr(scoring, "scoring_pool", here_pool)
    monkeypatch.setattr(scoring, "ensure_judge", lambda *_: extractor)
    assert call(score, "score", *here, "--num-images", 40, "--out", tmp_path / "scored") == 0
    result = json.loads((tmp_path / "scored" / f"{schedule.key}.json").read_text())
    assert result["schedule"] == schedule.to_json()
    calls = 2 if config.sampler.guidance != 1 else 1
    assert result["macs"] == calls * (2 * chosen.macs[0.5] + chosen.macs[1.0])
    assert result["baseline_macs"] == calls * 5 * chosen.macs[1.0]
    scorer = InProcessPool(chosen.make_scorer(*chosen.args))
    (alone,) = scorer.distances([steps], config.score.noise_seed, 40)
    assert result["quality"] == alone.full
    assert capsys.readouterr().err == ""


def test_samples_do_not_depend_on_how_many_there_are(case):
    config, run, _ = case
    schedule = chains.baseline(config)
    many = sample_images(schedule, run / "supernet", 5, 70)
    assert np.isfinite(many).all() and len(many) == 70
    few = sample_images(schedule, run / "supernet", 5, 8)
    np.testing.assert_allclose(few, many[:8], atol=1e-4)


def test_a_supernet_is_shown_on_the_grid_of_its_search(runs):
    rows = sample_widths(load("rescaled"), runs / "rescaled" / "supernet")
    assert [title for title, _ in rows] == ["width 1, 5 steps", "width 0.5, 5 steps"]
    assert all(np.isfinite(images).all() for _, images in rows)


def test_a_supernet_of_another_chain_is_refused_in_one_line(runs, tmp_path, capsys):
    path = tmp_path / "schedule.json"
    write_json(path, chains.baseline(load("cosine")).to_json())
    code = call(
        sample, "sample", "--schedule", path, "--supernet", runs / "plain" / "supernet",
        "--out", tmp_path / "out",
    )  # fmt: skip
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1
    assert "betas: got squaredcos_cap_v2, expected linear as in" in error


def test_the_second_call_is_counted(runs, extractor):
    found = {}
    for guidance in (1.0, 3.0):
        config = load("conditional", f"sampler.guidance={guidance}", "search.budget=6")
        base = chains.baseline(config)
        chosen = setting.network_setting(config, base, runs / "conditional/supernet", extractor)
        problem = Problem(base, chains.space(config), chosen.macs, config.search)
        pool = InProcessPool(chosen.make_scorer(*chosen.args))
        (found[guidance],) = generations(problem, pool)
    for plain, guided in zip(found[1.0].records, found[3.0].records, strict=True):
        assert plain.steps == guided.steps and plain.key != guided.key
        assert (guided.macs, guided.calls) == (2 * plain.macs, 2 * plain.calls)
        assert guided.quality != plain.quality
    assert found[3.0].calls_alone == 2 * found[1.0].calls_alone
    assert found[3.0].best_savings >= 0


def test_labels_as_often_as_in_the_data_or_one_given(runs):
    folder, base = runs / "conditional" / "supernet", chains.baseline(load("conditional"))
    told = setting.conditioning(base, folder)
    target = load_digits().target
    np.testing.assert_array_equal(told.labels(range(1797)).bincount(), np.bincount(target))
    labels = told.labels(range(20)).numpy()
    in_turn = sample_images(base, folder, 5, 20)
    threes = sample_images(base, folder, 5, 20, label=3)
    np.testing.assert_array_equal(threes[labels == 3], in_turn[labels == 3])
    assert (np.abs(threes - in_turn).max((1, 2, 3))[labels != 3] > 1e-4).all()


def test_a_class_without_images_is_neither_sampled_nor_to_be_asked_for(runs, tmp_path):
    folder, base = tmp_path / "supernet", chains.baseline(load("conditional"))
    shutil.copytree(runs / "conditional" / "supernet", folder)
    description = read_description(folder)
    description["meta"]["class_counts"][7] = 0
    write_json(folder / "supernet.json", description)
    assert 7 not in setting.conditioning(base, folder).labels(range(500))
    with pytest.raises(ConfigError, match="got 7, of which .* no image, expected one of 0,"):
        setting.conditioning(base, folder, 7)


def test_guidance_1_is_the_conditional_network_alone(runs):
    """By diffusers' own network and scheduler, labels told."""
    folder, base = runs / "conditional" / "supernet", chains.baseline(load("conditional"))
    network = UNet2DModel.from_pretrained(folder)
    scheduler = DDIMScheduler(1000)
    scheduler.set_timesteps(5)
    x = normal(5, range(20), INIT, (1, 8, 8))
    labels = setting.conditioning(base, folder).labels(range(20))
    with torch.no_grad():
        for t in scheduler.timesteps:
            output = network(x, t, class_labels=labels).sample
            x = scheduler.step(output, t, x).prev_sample
    np.testing.assert_allclose(sample_images(base, folder, 5, 20), x.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("chain", "label", "expected"),
    [
        ("conditional", 10, "label: got 10, expected 0 to 9, the classes that"),
        ("conditional", -1, "label: got -1, expected 0 to 9, the classes that"),
        ("plain", 0, "label: got 0, expected none, the classes that"),
    ],
)
def test_a_label_that_is_no_class_is_refused_in_one_line(
    runs, tmp_path, capsys, chain, label, expected
):
    path = tmp_path / "schedule.json"
    write_json(path, chains.baseline(load(chain)).to_json())
    here = ("--schedule", path, "--supernet", runs / chain / "supernet", "--out", tmp_path / "o")
    assert call(sample, "sample", *here, "--label", label, "--dry-run") == 2
    assert expected in capsys.readouterr().err


def test_guidance_needs_a_supernet_that_has_learned_labels(runs):
    guided = replace(chains.baseline(load("plain")), guidance=2.0)
    with pytest.raises(ConfigError, match=r"guidance: got 2, expected 1 \(none\): .* without lab"):
        sample_images(guided, runs / "plain" / "supernet", 0, 1)
