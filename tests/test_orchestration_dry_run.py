from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import CONFIGS
from PIL import Image

from orchestration import config as configs
from orchestration.dry_run import (
    check_features,
    check_network,
    describe_features,
    describe_search,
    describe_training,
    plan,
)
from orchestration.errors import ConfigError, DataError
from orchestration.formats import Header

DIGITS = CONFIGS / "digits.yaml"


def load(*overrides):
    return configs.load(None, ["search.budget=300", *overrides])


def test_training_is_told_from_the_datas_header():
    config = load("train.iterations=1500", "train.batch_size=64", "train.num_workers=2")
    assert describe_training(config) == [
        "data: digits, 1,797 images of 1 x 8 x 8, 10 classes",
        "supernet: widths 1, 0.75, 0.5, 0.25, 1,500 iterations of 64 images on 2 workers",
    ]


@pytest.mark.parametrize(
    ("override", "shape", "expected"),
    [
        ("supernet.widths=[1, .3]", (1, 8, 8), "network: width 0.3: 32 channels x 0.3 is not"),
        ("network.head_size=7", (1, 8, 8), "network: width 1.0: .* multiple of head_size 7"),
        ("network.head_size=8", (1, 9, 9), "network: image_size 9: expected a multiple of 2"),
        ("network.head_size=8", (1, 30, 30), None),
        ("network.head_size=8", (1, 7, 7), r"set data.image_size=8 \(and data.fit=pad to keep"),
        ("data.fit=pad", (1, 8, 6), "data.image_size: got null for images of 6x8 pixels, expect"),
    ],
)
def test_a_network_that_cannot_be_built_is_told_before_anything_starts(override, shape, expected):
    if expected is None:
        return check_network(load(override), shape)
    with pytest.raises(ConfigError, match=expected):
        check_network(load(override), shape)


def test_a_conditional_network_needs_data_with_labels():
    config = load("network.conditional=true")
    check_network(config, (1, 8, 8), 10)
    with pytest.raises(ConfigError, match=r"network.conditional: .* \(digits\) have no labels"):
        check_network(config, (1, 8, 8))


def test_a_guided_search_is_told():
    config = load("network.conditional=true", "sampler.guidance=2.5")
    assert "50 steps of ddim with guidance 2.5 (two calls each)," in describe_search(config)[0]
def pictures(folder, size, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (size, size), (i, 0, 0)).save(folder / name)
    return f"data.path={folder}", "data.name=folder"


def test_a_folder_of_ones_own_takes_one_switch_and_is_described(tmp_path):
    own = pictures(tmp_path, 16, "a/1.png", "b/1.png", "b/2.png", "b/3.png")
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / "2.png").touch()
    config = load(*own, "data.skip_bad=1", "data.flip=true")
    lines = plan(config, tmp_path / "run", trains=True, searches=True).splitlines()
    assert lines[1:4] == [
        "data: folder, 4 images of 3 x 16 x 16, 2 classes, mirrored at random",
        f"data: 1 left out (data.skip_bad): {tmp_path}/a/2.png is empty",
        "data: files passed over, which are no images by their names: 1",
    ]
    with pytest.raises(DataError, match="a/2.png is empty; mend or remove it, or leave such"):
        plan(load(*own), tmp_path / "run", trains=True, searches=True)


@pytest.mark.parametrize(
    ("num_variables", "expected"),
    [(1, "v0"), (8, "v0, v1, v2, v3, v4, v5, v6, v7"), (10, "v6, v7 and 2 more")],
)
def test_the_variables_of_a_table_are_named(tmp_path, num_variables, expected):
    names = [f"v{i}" for i in range(num_variables)]
    pd.DataFrame(np.random.default_rng(0).normal(size=(20, num_variables)), columns=names).to_csv(
        tmp_path / "own.csv"
    )
    config = load(
        "data.name=table", f"data.path={tmp_path / 'own.csv'}", "data.window=2",
        "sampler.clip_sample=false",
    )  # fmt: skip
    windows, named, *_ = describe_training(config)
    assert f"windows of {num_variables} variables x 2 times" in windows
    assert named.startswith("data: of v0") and named.endswith(expected)


def test_images_that_do_not_fit_the_network_are_told_with_what_to_set(tmp_path):
    own = pictures(tmp_path, 15, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    with pytest.raises(ConfigError, match="image_size 15: .*set data.image_size=16 "):
        plan(load(*own), tmp_path / "run", trains=True, searches=True)
    config = load(*own, "data.image_size=16", "data.fit=pad", "data.channels=1")
    assert "of 1 x 16 x 16, 2" in plan(config, tmp_path / "run", trains=True, searches=True)


@pytest.mark.parametrize("names", [("1.png", "2.png"), ("a/1.png", "a/2.png")])
def test_a_classifier_without_labels_is_refused_before_anything_starts(tmp_path, names):
    config = load(*pictures(tmp_path, 16, *names))
    expected = "features.name: got .* have .*label.*; expected features.name=efficientnet"
    for trains in (True, False):
        with pytest.raises(ConfigError, match=expected):
            plan(config, tmp_path / "run", trains=trains, searches=True)
    assert "data: folder, 2 images" in plan(config, tmp_path / "r", trains=True, searches=False)


def test_features_of_another_kind_need_no_labels():
    header = Header("folder", 9, (3, 16, 16), None)
    features = SimpleNamespace(name="efficientnet")
    assert check_features(SimpleNamespace(features=features), header) is None


def test_so_few_images_that_no_two_halves_can_be_compared_are_refused():
    config = SimpleNamespace(features=SimpleNamespace(name="efficientnet"))
    assert check_features(config, Header("folder", 4, (3, 16, 16), None)) is None
    with pytest.raises(ConfigError, match="got 3 images of folder, expected at least 4"):
        check_features(config, Header("folder", 3, (3, 16, 16), None))


@pytest.mark.parametrize(("file", "size"), [("fashion-mnist", (1, 28)), ("blue-marble", (3, 32))])
def test_the_configurations_of_the_benchmarks_fit_their_images(file, size):
    own = configs.load(CONFIGS / f"{file}.yaml", ["features.name=classifier"], DIGITS)
    assert own.data.name == file
    check_network(own, (size[0], size[1], size[1]))


@pytest.mark.parametrize(
    ("overrides", "rules"),
    [
        ((), "300 candidates"),
        (("search.budget=null", "search.budget_minutes=1.5"), "1.5 minutes"),
        (
            ("search.budget_calls=2000000", "search.patience=4"),
            "300 candidates or 2,000,000 network calls x images"
            " or 4 generations without a larger hypervolume",
        ),
    ],
)
def test_the_search_names_its_stopping_rules(overrides, rules):
    config = load("search.num_images=1000", "score.num_images=4000", *overrides)
    assert describe_search(config) == [
        f"search: nsga2 on 50 steps of ddim, 1,000 images a candidate, until {rules}",
        "front: at most 16 members, scored again on 4,000 images",
    ]


@pytest.mark.parametrize(
    ("searched", "scored", "told"),
    [
        (1280, 1280, None),
        (1279, 1280, "search.num_images=1,279: fewer"),
        (400, 500, "search.num_images=400 and score.num_images=500: fewer"),
    ],
)
def test_fewer_images_than_dimensions_are_told(searched, scored, told):
    few = [f"search.num_images={searched}", f"score.num_images={scored}"]
    header = Header("digits", 1797, (1, 8, 8), ("0", "1"))
    _, *notes = describe_features(load("features.name=efficientnet", *few), header)
    if told is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith(f"note: {told} than these features' 1,280 dimensions")


def test_pretrained_features_are_told_and_their_files_looked_at(tmp_path, monkeypatch):
    header = Header("digits", 1797, (1, 8, 8), ("0", "1"))
    assert describe_features(load(), header) == []
    many = ["search.num_images=2048", "score.num_images=2048"]
    asked = load("features.name=efficientnet", "features.num_real=500", *many)
    (line,) = describe_features(asked, header)
    assert line.startswith("features: ") and line.endswith(".pth, of 500 real images")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (line,) = describe_features(load("features.name=inception", *many), header)
    assert str(tmp_path) in line and line.endswith("(to be downloaded), of 1,797 real images")
    wrong = load("features.name=efficientnet", f"features.reference={tmp_path / 'none.npz'}")
    with pytest.raises(DataError, match="none.npz: No such file"):
        describe_features(wrong, header)
    wrong = load("features.name=inception", f"features.path={tmp_path / 'none.pth'}")
    with pytest.raises(DataError, match="none.pth: No such file"):
        plan(wrong, tmp_path, trains=False, searches=True)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("search.optimizer=de",), "search: de on 50 steps of ddim, "),
        (
            ("search.space=segments", "search.segments=4"),
            "search: nsga2 on 50 steps in at most 4 segments of ddim, ",
        ),
        (
            ("search.optimizer=one-plus-one", "search.space=timesteps"),
            "search: one-plus-one on 50 steps at full width (timesteps) of ddim, ",
        ),
    ],
)
def test_the_search_names_its_optimizer_and_its_space(overrides, expected):
    assert describe_search(load(*overrides))[0].startswith(expected)


def test_a_search_for_latency_says_so():
    (line, _) = describe_search(load("search.cost=latency"))
    assert "1,000 images a candidate, for predicted latency, until 300" in line


def test_a_plan_has_the_stages_of_its_command_and_touches_nothing(tmp_path):
    out = tmp_path / "run"
    config = load()
    training, searching = describe_training(config), describe_search(config)
    for trains, searches, expected in (
        (True, True, [*training, *searching]),
        (True, False, training),
        (False, True, searching),
    ):
        text = plan(config, out, trains=trains, searches=searches)
        assert text.splitlines() == [f"run directory: {out}", *expected]
    assert list(tmp_path.iterdir()) == []


def test_a_search_on_the_stub_trains_nothing(tmp_path):
    config = load("score.scorer=stub")
    text = plan(config, tmp_path / "run", trains=True, searches=True)
    assert text.splitlines()[1:] == describe_search(config)
    text = plan(config, tmp_path / "run", trains=True, searches=False)
    assert text.splitlines()[1:] == describe_training(config)


def test_a_run_that_is_there_resumes(tmp_path):
    assert "(there: resumes)" in plan(load(), tmp_path, trains=False, searches=True)
