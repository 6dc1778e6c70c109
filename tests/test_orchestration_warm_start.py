import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from commands import CONFIGS, run, run_until
from stub_search import InProcessPool, generations, records_of, stub_problem

from models.diffusion import noise_levels
from models.elbo import mask_levels
from orchestration import config as configs
from orchestration.chains import baseline, space
from orchestration.dry_run import plan
from orchestration.errors import ConfigError, DataError
from orchestration.files import write_json
from orchestration.pipeline import search_fingerprint
from orchestration.search import Problem
from orchestration.setting import stub_setting
from orchestration.warm_start import read_warm_start
from search_spaces.candidates import first_schedules
from search_spaces.guided import Guide, GuidedSpace
from search_spaces.optimizers import make_optimizer
from search_spaces.schedule import StepSchedule


@pytest.fixture
def learned(tmp_path):
    """A run whose mask has settled on 3 of 5 candidates, after all were kept."""
    rows = [(3, 0, t, 1.0) for t in range(0, 1000, 200)]
    rows += [(3, 9, t, s) for t, s in zip(range(0, 1000, 200), (0, 1, 1, 0.2, 0.8), strict=True)]
    table = pd.DataFrame(rows, columns=["num_steps", "updates", "t", "s"])
    table.to_parquet(tmp_path / "s.parquet")
    return tmp_path


GRID = (800, 600, 400, 200, 0)


def on(grid=GRID, betas="linear", num_train_timesteps=1000, prediction="epsilon"):
    """Every step of a search's grid, on its chain."""
    steps = tuple((t, 1.0) for t in grid)
    return StepSchedule(num_train_timesteps, betas, prediction, "ddim", 0.0, True, steps)


def put_schedule(run, steps, betas="linear"):
    """What the mask's run has ended with."""
    schedule = StepSchedule(1000, betas, "epsilon", "ddim", 0.0, True, steps)
    write_json(run / "schedules" / "3.json", schedule.to_json())


def test_the_last_probabilities_are_read(learned):
    found = read_warm_start(learned, on())
    assert list(found.kept) == [3] and found.kept[3].tolist() == [0.8, 0.2, 1, 1, 0]
    assert read_warm_start(learned / "s.parquet", on()).kept.keys() == {3}


def test_so_is_the_schedule_that_the_mask_ended_with(learned, tmp_path):
    put_schedule(learned, ((610, 1.0), (590, 1.0), (20, 1.0)))
    for path in (learned, learned / "s.parquet"):
        found = read_warm_start(path, on())
        assert found.chosen == {3: (800, 600, 0)}  # each a place of its own
        assert found.kept[3].tolist() == [0.8, 0.2, 1, 1, 0]  # s is what it was
    (tmp_path / "else").mkdir()
    alone = (learned / "s.parquet").rename(tmp_path / "else" / "s.parquet")
    assert read_warm_start(alone, on()).chosen == {}


@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_steps_with_noise_of_their_own_are_those_of_the_chain_that_have_it(learned, betas):
    levels = noise_levels(1000, betas)
    own = [levels[t].item() for t in (390, 210, 5)]
    put_schedule(learned, tuple(zip((980, 960, 940), (1.0,) * 3, own, strict=True)), betas)
    assert read_warm_start(learned, on(betas=betas)).chosen == {3: (400, 200, 0)}


def test_so_are_the_probabilities_of_all_candidates(learned):
    """Each goes where its noise would be, were it kept beside what is: by brute force."""
    chain, candidates = noise_levels(1000, "linear"), list(range(0, 1000, 200))
    log_snr = chain.logit()
    kept = torch.tensor([False, True, True, False, True])
    ratios = chain[candidates] / torch.cat([torch.ones(1), chain[candidates[:-1]]])
    beside = [[j for j in range(i + 1) if kept[j] or j == i] for i in range(5)]
    levels = [ratios[those].prod() for those in beside]  # what is skipped adds no noise
    places = [int((log_snr - level.logit()).abs().argmin()) for level in levels]
    own = mask_levels(kept[None], chain[candidates], "literal")[0].tolist()
    put_schedule(learned, tuple((candidates[i], 1.0, own[i]) for i in (4, 2, 1)))
    grid = tuple(range(999, -1, -1))
    found = read_warm_start(learned, on(grid))
    expected = np.zeros(1000)
    for place, s in zip(places, (0, 1, 1, 0.2, 0.8), strict=True):
        expected[999 - place] = s
    assert places[:4] == candidates[:4] and places[4] < 700
    assert found.kept[3].tolist() == expected.tolist()
    assert [grid.index(t) for t in found.chosen[3]] == np.flatnonzero(expected > 0.5).tolist()


@pytest.mark.parametrize(
    ("search", "line"),
    [
        ({"betas": "squaredcos_cap_v2"}, "got betas 'linear', expected 'squaredcos_cap_v2', the"),
        ({"num_train_timesteps": 2000}, "got num_train_timesteps 1000, expected 2000, the search"),
        ({"prediction": "v_prediction"}, "got prediction 'epsilon', expected 'v_prediction', the"),
    ],
)
def test_a_mask_of_another_chain_is_refused(learned, search, line):
    put_schedule(learned, ((600, 1.0), (200, 1.0)))
    with pytest.raises(DataError, match=f"search.warm_start .*3.json: {line}"):
        read_warm_start(learned, on(**search))


def test_a_table_alone_tells_a_longer_chain_by_its_timesteps(learned):
    with pytest.raises(DataError, match="s.parquet: got timestep 800, expected less than .*500"):
        read_warm_start(learned, on((400, 0), num_train_timesteps=500))


def test_a_damaged_schedule_is_told_in_a_line(learned):
    write_json(learned / "schedules" / "3.json", {"format": "step-schedule/1"})
    with pytest.raises(DataError, match=r"search.warm_start .*3.json: schedule: .*missing keys"):
        read_warm_start(learned, on())


def test_what_cannot_be_read_is_told_in_a_line(learned, tmp_path):
    with pytest.raises(DataError, match=r"expected probabilities for at most search.steps \(2\)"):
        read_warm_start(learned, on((500, 0)))
    (tmp_path / "x.parquet").write_text("none")
    for path in (tmp_path / "x.parquet", tmp_path / "missing"):
        with pytest.raises(DataError, match="expected a run of jobs.mask or its s.parquet"):
            read_warm_start(path, on((500, 0)))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"t": "a"}, "got t of the kind (object|str)"),
        ({"num_steps": 3.5}, "got num_steps of the kind float64"),
        ({"s": "x"}, "got s of the kind (object|str)"),
        ({"s": np.nan}, "got an s that is no probability"),
        ({"s": 7.0}, "got an s that is no probability"),
        ({"t": -5}, "got a negative number"),
        ({"num_steps": 0}, "got a negative number, or masks of no steps"),
        ({"num_steps": 7}, "got 5 candidates for 7 steps"),
        ({"t": 200}, "got 5 candidates for 3 steps, expected as many at least, each once"),
    ],
)
def test_a_table_of_what_no_mask_has_is_refused(learned, values, line):
    table = pd.read_parquet(learned / "s.parquet")
    table.assign(**values).to_parquet(learned / "s.parquet")
    with pytest.raises(DataError, match=f"search.warm_start .*s.parquet: {line}"):
        read_warm_start(learned, on(tuple(range(900, -1, -100))))


def test_no_column_of_it_is_taken_for_an_index(learned):
    table = pd.read_parquet(learned / "s.parquet")
    before = read_warm_start(learned, on())
    for index in ("num_steps", "s"):
        table.set_index(index).to_parquet(learned / "s.parquet")
        assert read_warm_start(learned, on()).kept[3].tolist() == before.kept[3].tolist()
    holes = table.astype({"t": "Int64"})
    holes.loc[7, "t"] = pd.NA
    holes.to_parquet(learned / "s.parquet")
    with pytest.raises(DataError, match="got t of the kind float64"):
        read_warm_start(learned, on())


def test_a_search_that_guessed_in_another_order_is_another(learned, monkeypatch):
    config = configs.load(None, ["search.budget=9", f"search.warm_start={learned}"])
    chosen = stub_setting(config)
    cost = Problem(baseline(config), space(config), chosen.macs, config.search).cost
    before = search_fingerprint(config, chosen, cost)
    monkeypatch.setattr("orchestration.pipeline.ORDER", "other")
    assert search_fingerprint(config, chosen, cost) != before


def test_the_plan_of_a_search_tells_of_its_mask_or_refuses_it(learned, tmp_path):
    def planned(path):
        config = configs.load(
            None, ["search.budget=9", "search.steps=5", f"search.warm_start={path}"]
        )
        return plan(config, tmp_path / "out", trains=False, searches=True)

    assert planned(learned).splitlines()[-1] == f"warm start: {learned}, learned for 3 steps"
    with pytest.raises(DataError, match="/nowhere: there is no such file; expected a run of"):
        planned("/nowhere")


def test_a_search_asks_for_what_was_learned(learned):
    config = configs.load(
        None, ["search.budget=9", "search.steps=5", f"search.warm_start={learned}"]
    )

    def first_guess():
        guide = read_warm_start(config.search.warm_start, baseline(config))
        problem = Problem(baseline(config), space(config), {1.0: 1}, config.search, None, guide)
        assert isinstance(problem.searched, GuidedSpace)
        uniform = len(problem.space.uniform())
        asked = make_optimizer("nsga2", problem.searched, 0, 8).ask_generation(uniform + 1)
        return [t for t, _ in problem.space.decode(asked[-1].genome)]

    assert first_guess() == [800, 400, 200]  # the likeliest
    put_schedule(learned, ((600, 1.0), (200, 1.0)))
    assert first_guess() == [600, 200]


def test_a_search_is_known_by_what_it_began_with_and_not_only_by_its_place(learned):
    def known_by(*values):
        config = configs.load(None, ["search.budget=9", "search.steps=5", *values])
        chosen = stub_setting(config)
        problem = Problem(baseline(config), space(config), chosen.macs, config.search)
        return search_fingerprint(config, chosen, problem.cost)

    warm = f"search.warm_start={learned}"
    first = known_by(warm)
    assert known_by(warm) == first != known_by()
    table = pd.read_parquet(learned / "s.parquet")
    table.assign(s=1 - table["s"]).to_parquet(learned / "s.parquet")
    second = known_by(warm)
    put_schedule(learned, ((600, 1.0), (200, 1.0)))
    third = known_by(warm)
    put_schedule(learned, ((600, 1.0), (0, 1.0)))
    assert len({first, second, third, known_by(warm)}) == 4


@pytest.mark.parametrize("value", ["search.space=segments", "search.optimizer=random"])
def test_where_it_means_nothing_it_is_refused(value):
    with pytest.raises(ConfigError, match="search.warm_start"):
        configs.load(None, ["search.budget=9", "search.warm_start=/x", value])


GUIDE = Guide(
    {
        3: np.array([0.0, 0.9, 0.1, 0.9, 0.0, 0.9, 0.1, 0.1]),
        2: np.array([0.0, 0.1, 0.9, 0.1, 0.0, 0.0, 0.9, 0.0]),
    },
    {2: (750, 125)},
)


def whole(problem, records=()):
    return records_of(list(generations(problem, InProcessPool(), records)))


@pytest.mark.parametrize("optimizer", ["nsga2", "de", "one-plus-one"])
def test_a_whole_search_begins_with_what_was_learned(optimizer):
    plain = stub_problem(optimizer=optimizer, budget=64)
    warm = replace(plain, guide=GUIDE)
    before, found = whole(plain), whole(warm)
    uniform = len(plain.space.uniform())
    steps, steps_before = ([record.steps for record in records] for records in (found, before))
    assert steps[:uniform] == steps_before[:uniform]
    first = [[t for t, _ in each] for each in steps[uniform : uniform + 2]]
    grid = plain.space.grid
    assert first[:2] == [[grid[1], grid[3], grid[5]], [750, 125]]  # most steps first
    own = len({genome.tobytes() for genome, _ in first_schedules(plain.space)})
    assert set(steps_before[:own]) <= set(steps)
    assert len(found) == len(before) == 64


def test_a_search_from_a_mask_goes_on_from_any_number_of_its_records():
    warm = replace(stub_problem(budget=56), guide=GUIDE)
    found = whole(warm)
    for number in (1, 17, 30, 41, 55):
        assert whole(warm, found[:number]) == found
    with pytest.raises(ValueError, match="not those of this search"):
        whole(replace(warm, guide=None), found)


@pytest.mark.proof
def test_a_killed_search_from_a_mask_ends_with_the_same_bytes(tmp_path):
    timesteps = range(0, 1000, 50)
    rows = [(4, 9, t, float(t in (100, 250, 400, 600))) for t in timesteps]
    table = pd.DataFrame(rows, columns=["num_steps", "updates", "t", "s"])
    table.to_parquet(tmp_path / "s.parquet")
    stub = ("--config", CONFIGS / "golden-stub.yaml")
    asked = (*stub, "--set", f"search.warm_start={tmp_path / 's.parquet'}")
    for name, argv in (("plain", stub), ("warm", asked)):
        assert run("search", *argv, "--out", tmp_path / name).returncode == 0
    code, _ = run_until(
        "search  48 ", signal.SIGKILL, "search", *asked, "--out", tmp_path / "killed"
    )
    assert code == -signal.SIGKILL
    assert run("search", *asked, "--out", tmp_path / "killed").returncode == 0
    journals = {
        name: (tmp_path / name / "journal.jsonl").read_bytes()
        for name in ("plain", "warm", "killed")
    }
    assert journals["killed"] == journals["warm"] != journals["plain"]
    fronts = [(tmp_path / name / "front.json").read_bytes() for name in ("warm", "killed")]
    assert fronts[0] == fronts[1]
