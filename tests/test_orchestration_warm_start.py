import pandas as pd
import pytest

from orchestration import config as configs
from orchestration.errors import ConfigError, DataError
from orchestration.search import Problem
from orchestration.setting import baseline, space
from orchestration.warm_start import read_warm_start
from search_spaces.guided import GuidedSpace
from search_spaces.optimizers import make_optimizer


@pytest.fixture
def learned(tmp_path):
    """A run whose mask has settled on 3 of 5 candidates, after all were kept."""
    rows = [(3, 0, t, 1.0) for t in range(0, 1000, 200)]
    rows += [(3, 9, t, s) for t, s in zip(range(0, 1000, 200), (0, 1, 1, 0.2, 0.8), strict=True)]
    table = pd.DataFrame(rows, columns=["num_steps", "updates", "t", "s"])
    table.to_parquet(tmp_path / "s.parquet")
    return tmp_path


def test_the_last_probabilities_are_read(learned):
    found = read_warm_start(learned, (800, 600, 400, 200, 0))
    assert list(found) == [3] and found[3].tolist() == [0.8, 0.2, 1, 1, 0]
    assert read_warm_start(learned / "s.parquet", (800, 600, 400, 200, 0)).keys() == {3}


def test_what_cannot_be_read_is_told_in_a_line(learned, tmp_path):
    with pytest.raises(DataError, match=r"expected probabilities for at most search.steps \(2\)"):
        read_warm_start(learned, (500, 0))
    (tmp_path / "x.parquet").write_text("none")
    for path in (tmp_path / "x.parquet", tmp_path / "missing"):
        with pytest.raises(DataError, match="expected a run of jobs.mask or its s.parquet"):
            read_warm_start(path, (500, 0))


def test_a_search_asks_for_what_was_learned(learned):
    config = configs.load(
        None, ["search.budget=9", "search.steps=5", f"search.warm_start={learned}"]
    )
    kept = read_warm_start(config.search.warm_start, space(config).grid)
    problem = Problem(baseline(config), space(config), {1.0: 1}, config.search, None, kept)
    assert isinstance(problem.searched, GuidedSpace)
    num_uniform = len(problem.space.uniform())
    asked = make_optimizer("nsga2", problem.searched, 0, 8).ask_generation(num_uniform + 1)
    steps = problem.space.decode(asked[-1].genome)
    assert [t for t, _ in steps] == [800, 400, 200]


@pytest.mark.parametrize("value", ["search.space=segments", "search.optimizer=random"])
def test_where_it_means_nothing_it_is_refused(value):
    with pytest.raises(ConfigError, match="search.warm_start"):
        configs.load(None, ["search.budget=9", "search.warm_start=/x", value])
