"""The benchmark of masks: its rival, where the quality of steps is known, and what it tells."""

import itertools

import pytest
import scipy.stats
from rich.console import Console

from jobs import cli
from jobs.benchmark import OF_A_CONFIGURATION
from jobs.benchmarks import mask
from jobs.benchmarks.report import Report
from jobs.benchmarks.timestep_evolution import FINALISTS, POPULATION, Evolution, evolve, num_images
from models.diffusion import noise_levels
from orchestration import config as configs
from orchestration.errors import DataError
from orchestration.files import MANIFEST, sha256_of, write_json
from orchestration.mask_plan import Chain
from orchestration.mask_rounds import winner
from orchestration.rundir import open_run

CHAIN = Chain(tuple(range(0, 1000, 25)), noise_levels(1000, "linear"), "respaced")
BEST = (700, 400, 200, 75)


def quality(steps):
    """How far steps are from the best ones, in places."""
    gaps = sum(abs(t - best) for (t, *_), best in zip(steps, BEST, strict=True))
    return 1 + gaps / 100


class Scores:
    def __init__(self):
        self.asked = []

    def __call__(self, schedules, seed, num_images, finer=None):
        self.asked.append((seed, num_images))
        assert finer is None  # it has what was published, and known spacings
        return [quality(steps) for steps in schedules], []


def evolved(budget, earlier=(), seed=0, most=None):
    scores = Scores()
    search = Evolution(CHAIN, 4, budget, seed, num_images(40, 4, budget), most)
    return list(evolve(search, scores, earlier)), scores


def test_it_finds_better_steps_than_all_it_began_with():
    rounds, scores = evolved(60_000)
    assert [r.kind for r in rounds] == ["evolved"] * (len(rounds) - 1) + ["final"]
    first, final = min(rounds[0].qualities), min(rounds[-1].qualities)
    assert final - 1 < 0.5 * (first - 1)
    assert quality(CHAIN.steps(winner(rounds[-1]))) == final
    seeds = [seed for seed, _ in scores.asked]
    assert len(set(seeds[:-1])) == 1 and seeds[-1] not in seeds[:-1]  # fresh in the end alone
    assert scores.asked[-1][1] > scores.asked[0][1]


def test_members_have_as_many_steps_and_none_is_scored_twice():
    rounds, _ = evolved(60_000)
    members = list(itertools.chain.from_iterable(r.masks for r in rounds[:-1]))
    assert len(set(members)) == len(members) > 3 * POPULATION
    assert all(len(set(m)) == 4 and m == tuple(sorted(m)) and m[-1] < 40 for m in members)
    assert set(rounds[-1].masks) <= set(members) and len(rounds[-1].masks) == FINALISTS
    others, _ = evolved(60_000, seed=1)
    assert others[1].masks != rounds[1].masks


@pytest.mark.parametrize("budget", [2_000, 30_000])
def test_the_budget_is_kept_and_spent(budget):
    rounds, _ = evolved(budget)
    assert 0.85 * budget < sum(r.calls for r in rounds) <= budget
    of_few, scores = evolved(budget, most=6)
    assert scores.asked[-1][1] <= max(6, num_images(40, 4, budget))


def test_what_was_scored_before_an_interruption_is_not_scored_again():
    whole, _ = evolved(30_000)
    again, scores = evolved(30_000, whole[:3])
    assert again == whole and len(scores.asked) == len(whole) - 3
    with pytest.raises(DataError, match="rounds that were scored are not those"):
        evolved(30_000, whole[1:])


def versus(num_steps, seed, learned, evolved, reach):
    difference = learned - evolved
    scored = {
        "evolved": evolved, "learned": learned, "even": 9.0, "quadratic": learned + 0.7,
        "elbo optimum": learned - 0.2, "late 0.6": 4.0,
    }  # fmt: skip
    return {
        "num_steps": num_steps, "seed": seed, "quality": "fd_digits_4k", "calls": 100,
        "calls_evolved": 1000, "difference": difference,
        "difference_ci": [difference - reach, difference + reach],
        "scored": {
            name: {
                "quality": value, "delta_ci": [value - learned - reach, value - learned + reach]
            }
            for name, value in scored.items()
        },
    }  # fmt: skip


def test_figures_by_hand():
    pairs = [
        versus(10, 0, 3.0, 2.0, 1.5), versus(10, 1, 3.0, 2.0, 0.5), versus(5, 0, 3.0, 3.5, 0.1)
    ]  # fmt: skip
    figures, notes = mask.compare(pairs)
    assert figures["difference_10"] == 1 and figures["difference_5"] == -0.5
    assert figures["within_10"] == 0.5 and figures["within_5"] == 1
    assert figures["better_than_even_10"] == 1 and figures["better_than_quadratic_10"] == 0.5
    assert figures["better_than_elbo_optimum_5"] == 0
    assert figures["learned_10"] == 3 and figures["even_5"] == 9 and figures["late_0.6_5"] == 4
    assert notes["10"] == {"differences": [1.0, 1.0], "standard_error": 0.0}
    assert notes["5"]["standard_error"] is None
    assert figures["difference_low_10"] == figures["difference_high_10"] == 1
    assert "difference_low_5" not in figures
    console = Console(width=80, record=True)
    console.print(mask.mask_table(Report("mask", figures, [], {"pairs": pairs})))
    text = console.export_text()
    assert "(-0.6, -0.4)" in text
    assert text.count("mean") == 1  # of the ten steps: there is one seed of five


def test_the_interval_over_seeds_is_that_of_the_mean_difference():
    pairs = [versus(10, seed, 3.0 + x, 3.0, 0.15) for seed, x in enumerate((0.1, 0.2, 0.6))]
    figures, notes = mask.compare(pairs)
    known = scipy.stats.ttest_1samp([0.1, 0.2, 0.6], 0).confidence_interval()
    assert figures["difference_low_10"] == pytest.approx(known.low)
    assert figures["difference_high_10"] == pytest.approx(known.high)
    assert notes["10"]["standard_error"] == pytest.approx(scipy.stats.sem([0.1, 0.2, 0.6]))
    assert figures["within_10"] == 1 / 3  # which looks at the images alone
    console = Console(width=80, record=True)
    console.print(mask.mask_table(Report("mask", figures, [], {"pairs": pairs})))
    assert "+0.3 (-0.36, +0.96)" in console.export_text()


def test_literal_masks_have_no_elbo_optimum_to_be_better_than():
    pairs = [versus(10, 0, 3.0, 2.0, 1.5)]
    del pairs[0]["scored"]["elbo optimum"]
    figures, _ = mask.compare(pairs)
    assert figures["better_than_even_10"] == 1
    assert not any("elbo" in name for name in figures)


def test_what_has_been_learned_is_no_known_spacing():
    pair = versus(10, 0, 3.0, 2.0, 1.5)
    pair["scored"]["likeliest"] = pair["scored"]["learned"]
    pair["scored"]["quadratic"]["quality"] = 3.7
    pair["scored"]["late 0.6"]["quality"] = 3.85
    console = Console(width=80, record=True)
    console.print(mask.mask_table(Report("mask", {}, [], {"pairs": [pair]})))
    (row,) = (line for line in console.export_text().splitlines() if "100" in line)
    cells = [cell.strip() for cell in row.split("│")]
    assert cells[4:8] == ["9", "3.7", "3", "2"]  # even, known, learned, evolved


def test_numbers_of_another_network_are_not_passed_off_as_this_ones(tmp_path):
    config = mask.pair_config(
        configs.load(None, ["search.budget=1", "mask.steps=[10]"]), 10, 0
    )
    supernet = tmp_path / "supernet"
    write_json(supernet / MANIFEST, {"files": {}})
    with open_run(tmp_path / "out" / "10-0", config, kind="mask") as run:
        write_json(run.path / "versus.json", {"network": sha256_of(supernet / MANIFEST), "a": 1})
    assert mask._pair(config, supernet, tmp_path / "out", print)["a"] == 1
    write_json(supernet / MANIFEST, {"files": {"other": ""}})
    with pytest.raises(DataError, match="tells of another network than .*: expected another --o"):
        mask._pair(config, supernet, tmp_path / "out", print)


def test_every_pair_has_a_noise_of_its_own():
    config = configs.load(None, ["search.budget=1", "mask.steps=[10, 5]"])
    pairs = [mask.pair_config(config, k, seed) for seed in range(3) for k in (10, 5)]
    assert pairs[-1].mask.steps == (5,) and pairs[-1].mask.seed == 2
    assert [each.score.noise_seed for each in pairs] == [1, 1, 1001, 1001, 2001, 2001]


@pytest.mark.parametrize("name", OF_A_CONFIGURATION.values())
def test_the_configurations_of_benchmarks_stand_alone(name):
    """They are under the user's own in place of the default."""
    assert configs.load(None, [], cli.CONFIGS / name).search.budget == 1
