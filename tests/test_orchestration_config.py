from pathlib import Path

import pytest
import yaml

from orchestration.config import (
    load,
    to_yaml,
)
from orchestration.errors import ConfigError
from orchestration.search_sections import Search
from orchestration.sections import KEYS, Config
from orchestration.sweep_sections import SweepConfig

DIGITS = Path(__file__).parent.parent / "jobs" / "configs" / "digits.yaml"


def complain(tmp_path, text="", *overrides):
    """The one line that a YAML text and overrides are answered with."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path, overrides, DIGITS)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_layers_go_over_each_other_key_by_key(tmp_path):
    low, high = tmp_path / "low.yaml", tmp_path / "high.yaml"
    low.write_text("train: {seed: 1, iterations: 500, batch_size: 8}\nsearch: {budget: 9}")
    high.write_text("train: {seed: 2, iterations: 600}\nsearch:\n")
    config = load(high, ["train.seed=3", "train.seed=4"], low)
    assert (config.train.seed, config.train.iterations, config.train.batch_size) == (4, 600, 8)
    assert config.search.budget == 9
    assert config.search.steps == Search(budget=9).steps


def test_the_shipped_default_names_every_key():
    sections = yaml.safe_load(DIGITS.read_text())
    assert [f"{section}.{key}" for section in sections for key in sections[section]] == KEYS
    load(None, default=DIGITS)


@pytest.mark.parametrize("path", DIGITS.parent.glob("*.yaml"), ids=lambda path: path.name)
def test_every_shipped_file_is_acceptable(path, tmp_path):
    kind = SweepConfig if path.stem.startswith("sweep") else Config
    assert set(yaml.safe_load(path.read_text())) <= set(kind.model_fields)
    config = load(path, default=DIGITS, kind=kind)
    (tmp_path / "whole.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "whole.yaml", kind=kind) == config


def test_yaml_and_back_gives_an_equal_configuration(tmp_path):
    path = tmp_path / "config.yaml"
    config = load(None, ["train.learning_rate=3e-7", "search.patience=2"], DIGITS)
    path.write_text(to_yaml(config))
    assert load(path) == config
    assert set(yaml.safe_load(to_yaml(config))) == set(Config.model_fields)


def test_a_configuration_does_not_change():
    config = load(None, ["search.budget=5"])
    with pytest.raises(ValueError):
        config.search.budget = 6


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.learning_rate=1e-4", "learning_rate", 1e-4),
        ("train.learning_rate=.5", "learning_rate", 0.5),
        ("train.learning_rate=1", "learning_rate", 1.0),
        ("train.learning_rate = 2.5E+1", "learning_rate", 25.0),
        ("train.seed=7", "seed", 7),
    ],
)
def test_numbers_are_read_as_people_write_them(override, key, value):
    assert getattr(load(None, [override], DIGITS).train, key) == value


@pytest.mark.parametrize("text", ["/a/b: c #1", "http://host:5000", "a=b", "-", "*.png"])
def test_a_bare_text_is_taken_whole(text):
    assert load(None, [f"tracking.uri={text}"], DIGITS).tracking.uri == text


def test_lists_null_and_quoted_texts_of_an_override():
    overrides = ["supernet.widths=[.25, 1]", "search.budget=", "search.patience=2"]
    config = load(None, [*overrides, "tracking.experiment='2024'"], DIGITS)
    assert config.supernet.widths == (1.0, 0.25)  # kept falling
    assert config.search.budget is None
    assert config.tracking.experiment == "2024"


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("search.budgett=5", "search.budget"),
        ("serach.budget=5", "search.budget"),
        ("search.num_imges=5", "search.num_images"),
        ("score.num_imges=5", "score.num_images"),
        ("budget=5", "search.budget"),
        ("train.width=[1]", "supernet.widths"),
        ("tracking.url=x", "tracking.uri"),
        ("data.nme=digits", "data.name"),
    ],
)
def test_a_mistyped_key_is_answered_with_the_one_meant(tmp_path, override, meant):
    key, _, value = override.partition("=")
    for part in reversed(key.split(".")):
        value = f"{{{part}: {value}}}"
    answer = f"{key}: unknown key; did you mean '{meant}'?"
    assert complain(tmp_path, "", override) == answer
    assert complain(tmp_path, value) == answer


def test_a_key_like_no_other_is_answered_with_the_sections(tmp_path):
    line = complain(tmp_path, "xyzzy: 1")
    assert line.startswith("xyzzy: unknown key; expected one of the sections data, network")


def test_an_unknown_key_comes_before_a_wrong_value(tmp_path):
    line = complain(tmp_path, "", "data.name=x", "search.seeds=1")
    assert line == "search.seeds: unknown key; did you mean 'search.seed'? (and 1 more)"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("search.budget=many", 'search.budget: got "many", expected a whole number'),
        ("search.budget='5'", 'search.budget: got "5", expected a whole number'),
        ("search.budget=1.5", "search.budget: got 1.5, expected a whole number"),
        ("search.seed=true", "search.seed: got true, expected a whole number"),
        ("train.learning_rate=fast", 'train.learning_rate: got "fast", expected a number'),
        ("train.learning_rate=.nan", "train.learning_rate: got NaN, expected"),
        ("train.learning_rate=0", "train.learning_rate: got 0, expected greater than 0"),
        ("train.ema_decay=1", "train.ema_decay: got 1, expected less than 1"),
        ("sampler.clip_sample=1", "sampler.clip_sample: got 1, expected true or false"),
        ("search.budget=0", "search.budget: got 0, expected greater than or equal to 1"),
        ("search.seed=-1", "search.seed: got -1, expected greater than or equal to 0"),
        ("search.optimizer=nsga3", "got \"nsga3\", expected 'nsga2', 'de', 'one-plus-one' or"),
        ("search.space=steps", "got \"steps\", expected 'per-step', 'segments' or 'timesteps'"),
        ("search.segments=0", "search.segments: got 0, expected greater than or equal to 1"),
        ("mask.num_images=3", "mask.num_images: got 3, expected greater than or equal to 4"),
        ("search.cost=time", "got \"time\", expected 'macs' or 'latency'"),
        ("tracking.experiment=5", "tracking.experiment: got 5, expected a text"),
        ("network.block_out_channels=32", "block_out_channels: got 32, expected a list"),
        ("network.attention=[true]", "network.attention: got [true], expected 2 values"),
        ("network.attention=[yes, 1]", "network.attention[1]: got 1, expected true or false"),
        ("supernet.widths=[1, half]", 'supernet.widths[1]: got "half", expected a number'),
        ("search=5", "search: got 5, expected a section with search.optimizer, "),
        ("search.seed.x=5", 'search.seed: got {"x": 5}, expected a whole number'),
        ("data.path=/x", 'data.path: got "/x", expected null'),
        ("data.name=folder", "data.path: got null, expected a folder of images, as data.name is"),
        ("data.name=parquet", "data.path: got null, expected a parquet file or a folder of them"),
        ("data.name=cifar10", "data.path: got null, expected the folder of its batches"),
        ("data.fit=stretch", "data.fit: got \"stretch\", expected 'crop', 'resize' or 'pad'"),
        ("data.channels=4", "data.channels: got 4, expected 1 or 3"),
        ("data.image_size=0", "data.image_size: got 0, expected greater than or equal to 1"),
        ("data.skip_bad=-1", "data.skip_bad: got -1, expected greater than or equal to 0"),
        ("data.flip=1", "data.flip: got 1, expected true or false"),
    ],
)
def test_a_wrong_value_is_answered_with_key_value_and_what_is_expected(tmp_path, override, line):
    assert line in complain(tmp_path, "", override)


WIDTHS = "expected distinct widths in (0, 1], 1 among them"


@pytest.mark.parametrize("widths", ["[.5]", "[1, 0]", "[1, -.5]", "[1, 1.5]", "[1, .5, .5]", "[]"])
def test_widths_are_distinct_within_0_and_1_and_contain_1(tmp_path, widths):
    line = complain(tmp_path, "", f"supernet.widths={widths}")
    assert line.startswith("supernet.widths: got [") and line.endswith(WIDTHS)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["search.steps=1001"], "search.steps: got 1001, expected at most diffusion.num_train_"),
        (["search.noise_seed=1"], "score.noise_seed: got 1, expected another than search.noise_"),
        (["search.budget=null"], "search.budget: got null, expected a stopping rule: at least"),
        (["train.iterations=9"], "train.warmup_iterations: got 100, expected at most train.iter"),
        (["train.num_workers=129"], "train.num_workers: got 129, expected at most train.batch_"),
        (["score.block_size=60"], "score.block_size: got 60, expected a divisor of score.batch_"),
        (["sampler.name=ddpm", "sampler.eta=1"], "sampler.eta: got 1.0, expected 0 where"),
        (
            ["sampler.name=dpmsolver++2m", "sampler.eta=.5"],
            "sampler.eta: got 0.5, expected 0 where sampler.name is 'dpmsolver++2m'",
        ),
        (["sampler.guidance=2"], "sampler.guidance: got 2.0, expected 1 (none) where network."),
        (
            ["sampler.guidance=0", "network.conditional=true"],
            "sampler.guidance: got 0, expected greater than 0",
        ),
        (
            ["diffusion.rescale_zero_terminal_snr=true", "search.spacing=trailing"],
            "diffusion.prediction: got \"epsilon\", expected 'v_prediction' where diffusion.",
        ),
        (
            ["diffusion.rescale_zero_terminal_snr=true", "search.steps=1000"],
            "diffusion.prediction: got \"epsilon\", expected 'v_prediction' where diffusion.",
        ),
        (
            [
                "diffusion.rescale_zero_terminal_snr=true",
                "diffusion.num_train_timesteps=1",
                "search.steps=1",
            ],
            "diffusion.num_train_timesteps: got 1, expected at least 2 where",
        ),
        (["search.max_images=2000"], "search.max_images: got 2000, expected null where sea"),
        (["search.racing=true", "search.max_images=999"], "search.max_images: got 999, expected "),
        (["search.racing=true", "score.block_size=250"], "score.block_size: got 250, expected at"),
        (
            ["search.racing=true", "search.max_images=2000", "search.num_images=900"],
            "search.num_images: got 900, expected a multiple of score.batch_size (250)",
        ),
    ],
)
def test_what_must_hold_between_keys(tmp_path, overrides, line):
    assert complain(tmp_path, "", *overrides).startswith(line)


@pytest.mark.parametrize("rule", ["budget=1", "budget_calls=1", "budget_minutes=.1", "patience=1"])
def test_any_one_stopping_rule_will_do(rule):
    key, value = rule.split("=")
    assert getattr(load(None, [f"search.{rule}"]).search, key) == float(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("search:\n  budget: 5\n bad: [", ", line 3: "),
        ("search: {budget: 5\ntrain: 3", ", line 2: "),
        ("search:\n  seed: 5\n  steps: 9\n  seed: 6", ", line 4: the key 'seed' stands here tw"),
        ("a: \x01", "mine.yaml: "),
        ("[1, 2]", "mine.yaml: got list, expected sections with keys"),
        ("hello", "mine.yaml: got str, expected sections with keys"),
    ],
)
def test_yaml_that_cannot_be_read_is_answered_with_file_and_line(tmp_path, text, line):
    answer = complain(tmp_path, text)
    assert "mine.yaml" in answer and line in answer


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read .*none.yaml: No such file"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("override", ["search.budget", "", "=5"])
def test_an_override_needs_a_key_and_an_equals_sign(override):
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        load(None, [override], DIGITS)


@pytest.mark.parametrize("value", ["[1, ", "'a", "{a: "])
def test_an_override_must_be_complete(value):
    with pytest.raises(ConfigError, match="supernet.widths: got .* expected a value"):
        load(None, [f"supernet.widths={value}"], DIGITS)


def test_a_rescaled_chain_that_never_starts_at_its_end_may_predict_epsilon():
    config = load(None, ["search.budget=1", "diffusion.rescale_zero_terminal_snr=true"])
    assert config.diffusion.prediction == "epsilon" and config.search.spacing == "leading"


def test_cosine_betas_have_diffusers_name():
    config = load(None, ["search.budget=1", "diffusion.betas=cosine"])
    assert config.diffusion.betas == "squaredcos_cap_v2"
    assert config == load(None, ["search.budget=1", "diffusion.betas=squaredcos_cap_v2"])


def test_no_guidance_is_guidance_1():
    for override in ("sampler.guidance=null", "sampler.guidance=1", "sampler.eta=0"):
        assert load(None, ["search.budget=1", override]).sampler.guidance == 1.0
