from pathlib import Path

import pytest

from orchestration.config import load, to_yaml
from orchestration.errors import ConfigError
from orchestration.sections import Config
from orchestration.sweep import num_at_once
from orchestration.sweep_plan import load_sweep, planned_searches, supernets
from orchestration.sweep_sections import SweepConfig

DIGITS = Path(__file__).parent.parent / "jobs" / "configs" / "digits.yaml"
TWO = """
search: {steps: 10, budget: 40}
sweep:
  data:
    - network: {block_out_channels: [8, 16]}
    - {label: coarse, search: {steps: 5}, score: {num_images: 400}}
    - {label: late, train: {seed: 3}}
  optimizers: [nsga2, random]
  seeds: [4, 7]
"""


@pytest.fixture
def planned(tmp_path):
    """Reads a text, with overrides."""

    def read(*overrides, text=TWO):
        (tmp_path / "mine.yaml").write_text(text)
        return load_sweep(tmp_path / "mine.yaml", overrides, DIGITS)

    return read


def test_every_data_set_meets_every_optimizer_and_seed_once(planned):
    searches = planned_searches(planned())
    assert [s.name for s in searches] == [
        f"{label}-{optimizer}-{seed}"
        for seed in (4, 7)
        for label in ("digits", "coarse", "late")
        for optimizer in ("nsga2", "random")
    ]
    for s in searches:
        assert s.name == f"{s.dataset}-{s.config.search.optimizer}-{s.config.search.seed}"


def test_a_data_set_has_the_common_values_but_for_its_own(planned):
    config = planned()
    by_label = {s.dataset: s.config for s in planned_searches(config)}
    assert type(by_label["digits"]) is Config
    assert by_label["digits"].network.block_out_channels == (8, 16)
    assert [by_label[label].search.steps for label in by_label] == [10, 5, 10]
    assert by_label["coarse"].search.budget == 40
    assert by_label["coarse"].score.num_images == 400
    assert by_label["late"].network == config.network


def test_a_supernet_is_named_by_what_determines_it_and_nothing_else(planned):
    def names(*overrides):
        searches = planned_searches(planned(*overrides))
        return {s.dataset: s.supernet for s in searches}, list(supernets(searches))

    before, order = names()
    assert len(set(before.values())) == 3 and order == list(before.values())
    # other searches and scores of the same supernets
    assert names("search.steps=8", "score.num_images=300", "ray.address=here") == (before, order)
    assert all(after != before[label] for label, after in names("train.iterations=700")[0].items())
    twins = "sweep.data=[{label: a, search: {steps: 3}}, {label: b}]"
    assert len(names(twins)[1]) == 1
    assert names("score.scorer=stub") == (dict.fromkeys(before), [])


def test_optimizers_and_seeds_are_the_searchs_own_unless_they_are_listed(planned):
    searches = planned_searches(planned("search.seed=5", text="sweep: {data: [{label: x}]}\n"
                                        "search: {budget: 4, optimizer: random}"))  # fmt: skip
    assert [s.name for s in searches] == ["x-random-5"]


def test_yaml_and_back_gives_an_equal_sweep(planned, tmp_path):
    config = planned()
    (tmp_path / "whole.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "whole.yaml", kind=SweepConfig) == config


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("sweep.seed=[0]", "sweep.seed: unknown key; did you mean 'sweep.seeds'?"),
        ("sweep.seeds=[0,0]", "sweep.seeds: got [0, 0], expected each value once"),
        ("sweep.seeds=[]", "sweep.seeds: got [], expected at least one value"),
        ("sweep.optimizers=random", 'sweep.optimizers: got "random", expected a list'),
        ("sweep.optimizers=[nsga3]", 'sweep.optimizers[0]: got "nsga3", expected \'nsga2\''),
        ("sweep.actors=none", "sweep.actors: got \"none\", expected 'shared' or 'own'"),
        ("search.seed=9", "search.seed: got 9, expected nothing: sweep.seeds sets it"),
        ("sweep.data=[digits]", 'sweep.data[0]: got "digits", expected sections with keys'),
        ("sweep.data=[{name: digits}]", "sweep.data[0]: name: unknown key; did you mean 'data.na"),
        ("sweep.data=[{}, {}]", "sweep.data[1].label: got digits, expected another than that"),
        ("sweep.data=[{label: a/b}]", 'sweep.data[0].label: got "a/b", expected letters, digits'),
        ("sweep.data=[{ray: {}}]", "sweep.data[0].ray: got {}, expected nothing: ray.* is of the"),
        ("sweep.data=[{search: {seed: 1}}]", "sweep.data[0].search.seed: got 1, expected nothing"),
        ("sweep.data=[{search: {cost: macs}}]",
         "sweep.data[0].search.cost: got \"macs\", expected nothing: search.cost is of the whole"),
        ("sweep.data=[{score: {actors: 1}}]", "sweep.data[0].score.actors: got 1, expected noth"),
        ("sweep.data=[{score: {device: cpu}}]", "sweep.data[0].score.device: got \"cpu\", expect"),
        ("sweep.data=[{}, {label: b, network: {head_sise: 8}}]",
         "sweep.data[1]: network.head_sise: unknown key; did you mean 'network.head_size'?"),
        ("search.warm_start=mask",  # and random is one of the optimizers
         'sweep.optimizers (random): search.warm_start: got "mask", expected another than random'),
        ("sweep.data=[{}, {label: b, search: {warm_start: mask}}]",
         'sweep.optimizers (random): search.warm_start: got "mask", expected another than random'),
        ("sweep.data=[{search: {steps: 2000}}]",
         "sweep.data[0]: search.steps: got 2000, expected at most diffusion.num_train_timesteps"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(planned, override, line):
    with pytest.raises(ConfigError) as caught:
        planned(override)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("num_batches", "num_actors", "expected"),
    [
        ([10] * 200, 2, 2),  # each keeps ten busy
        ([10] * 200, 64, 14),  # seven do, and as many again
        ([10, 10, 1], 3, 3),  # the last keeps but one busy
        ([4] * 9, 8, 4),
        ([4], 8, 1),
    ],
)
def test_searches_at_once_are_no_more_than_keep_the_actors_busy(num_batches, num_actors, expected):
    assert num_at_once(num_batches, num_actors) == expected
