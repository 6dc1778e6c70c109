import pytest

from orchestration import config as configs
from orchestration.dry_run import check_network, describe_search, describe_training, plan
from orchestration.errors import ConfigError


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
        ("network.head_size=8", (1, 8, 6), "data.name: got images of 8x6 pixels"),
    ],
)
def test_a_network_that_cannot_be_built_is_told_before_anything_starts(override, shape, expected):
    with pytest.raises(ConfigError, match=expected):
        check_network(load(override), shape)


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
