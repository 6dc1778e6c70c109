import numpy as np
import pytest
import torch

from models.crps import crps, replicates, window_sums
from models.diffusion import noise_levels
from models.imputer import imputer
from models.moments import NonFiniteFeatures
from models.sampling import Sampler
from models.windows import Panel
from orchestration.baseline_imputers import BASELINES
from orchestration.execution import Execution
from orchestration.quality import CrpsQuality
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way
from orchestration.window_plot import WindowPicture, runs
from orchestration.window_scorer import Unit, WindowScorer

K, L = 2, 4
SHAPE = (1, K, L)
REPORT_SEED, SEARCH_SEED = 1, 5
SCHEDULES = [[(9, 1.0), (4, 0.5), (0, 1.0)], [(9, 1.0), (4, 1.0)], [(7, 0.5)]]


def panel(num_samples, seed, n=6):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, K, L, generator=generator)
    scored = torch.rand(n, K, L, generator=generator) < 0.4
    return Panel(values, ~scored, scored, num_samples)


SEARCH, REPORT = panel(3, 0), panel(5, 1)


def scorer(unit=None, search=SEARCH, rows=6):
    torch.manual_seed(0)
    subnets = {}
    for width in (1.0, 0.5):
        network = imputer(
            num_variables=K, length=L, channels=8, num_heads=2, num_layers=1, feedforward=8,
            width=width,
        )  # fmt: skip
        torch.nn.init.normal_(network.leave_2.weight)
        subnets[width] = network.eval()
    moves = Sampler("ddpm", noise_levels(10, "quadratic"), clip_sample=False)
    source = SupernetSource(
        subnets, moves, None, SHAPE, Execution(rows, 1, 2**20), conditioning=REPORT
    )
    unit = unit or Unit((0.0,) * K, (1.0,) * K)
    return WindowScorer(source, search, REPORT, REPORT_SEED, unit, block_size=1)


def flat(blocks):
    return [np.concatenate(of_schedule) for of_schedule in blocks]


def test_the_seed_says_which_windows_and_how_many_samples():
    whole = scorer()
    for seed, chosen in ((SEARCH_SEED, SEARCH), (11 << 32, SEARCH), (REPORT_SEED, REPORT)):
        found = flat(whole.score(SCHEDULES, seed, range(0, 2)))
        draws = chosen.draws(range(0, 2))
        for steps, rows in zip(SCHEDULES, found, strict=True):
            run = range(draws.start, draws.stop)
            ((_, x_0),) = scorer(rows=len(run)).source.samples(
                [steps], seed, run, len(run), conditioning=chosen
            )
            samples = x_0.numpy().reshape(2, chosen.num_samples, K, L)
            expected = window_sums(samples, chosen.values[:2].numpy(), chosen.scored[:2].numpy())
            np.testing.assert_allclose(rows, expected, rtol=1e-4)


def test_neither_division_nor_company_nor_what_was_kept_changes_a_bit():
    """What lets any number of actors give the same front."""
    whole = scorer()
    together = flat(whole.score(SCHEDULES, SEARCH_SEED, range(0, 4)))
    whole.keep(SCHEDULES)
    again = flat(whole.score(SCHEDULES[:1], SEARCH_SEED, range(0, 4)))
    assert np.array_equal(again[0], together[0]) and whole.source.states.hits > 0
    apart = [flat(scorer().score([SCHEDULES[1]], SEARCH_SEED, range(i, i + 2))) for i in (0, 2)]
    assert np.array_equal(np.concatenate([part[0] for part in apart]), together[1])


def test_it_judges_by_crps_of_all_windows():
    whole = scorer()
    batches = [whole.score(SCHEDULES, 1, range(i, i + 2))[0] for i in (0, 2, 4)]
    rows = np.concatenate([block for batch in batches for block in batch])
    found = whole.judge(*batches)
    assert found.full == pytest.approx(crps(rows)) and found.counts.tolist() == [1] * 6
    mae, mae_ci, rmse, rmse_ci = whole.fidelity(None, *batches)
    assert mae_ci[0] < mae < mae_ci[1] and rmse_ci[0] < rmse < rmse_ci[1]
    assert mae == pytest.approx(rows[:, 2].sum() / rows[:, 4].sum())
    assert rmse == pytest.approx((rows[:, 3].sum() / rows[:, 4].sum()) ** 0.5) and rmse >= mae


def test_errors_are_told_in_the_unit():
    plain = scorer().score(SCHEDULES, 1, range(0, 2))[0]
    rows = scorer(Unit((0.0,) * K, (10.0,) * K)).score(SCHEDULES, 1, range(0, 2))[0]
    factors = np.array([10, 10, 10, 100, 1, 10])
    np.testing.assert_allclose(np.concatenate(rows), np.concatenate(plain) * factors, rtol=1e-6)
    shifted = scorer(Unit((3.0,) * K, (1.0,) * K)).score(SCHEDULES, 1, range(0, 2))[0]
    not_magnitude = [0, 2, 3, 4, 5]
    found, expected = (np.concatenate(of)[:, not_magnitude] for of in (shifted, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_samples_that_have_diverged():
    broken = scorer()
    network = broken.source.networks[1.0]
    broken.source.networks[1.0] = lambda *inputs: network(*inputs) * torch.nan
    with pytest.raises(NonFiniteFeatures, match="the samples have diverged"):
        broken.score(SCHEDULES, 1, range(0, 2))


def test_it_samples_and_times_as_scorers_do():
    found, seconds = scorer().sample(SCHEDULES[0], 0, range(7))
    assert found.shape == (7, 1, K, L) and seconds > 0
    ways = {1.0: [Way(), Way(memory_format="channels_last"), Way(dtype="bfloat16")]}
    times = scorer().measure(ways, 6)[1.0]
    assert set(times) == set(ways[1.0]) and all(0 < ms < np.inf for ms in times.values())
    assert scorer().step_times({1.0: Way()}, 4).call_ms[1.0] > 0


VALUES = np.array([[[1.0, 9.0, 9.0, 4.0, 9.0], [9.0, 9.0, 2.0, 9.0, 9.0], [9.0] * 5]])
GIVEN = np.array([[[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0] * 5]], bool)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean", [[0] * 5, [0] * 5, [0] * 5]),
        ("last_observation", [[1, 1, 1, 4, 4], [2] * 5, [0] * 5]),
        ("linear_interpolation", [[1, 2, 3, 4, 4], [2] * 5, [0] * 5]),
    ],
)
def test_what_anyone_can_have_without_a_model(name, expected):
    assert BASELINES[name](VALUES, GIVEN)[0].tolist() == expected


def picture(**changes):
    values, given = VALUES[0], GIVEN[0]
    scored = np.zeros_like(given)
    scored[0, 1] = True
    parts = {"values": values, "given": given, "scored": scored, **changes}
    return WindowPicture("noon", ("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, **parts)


def test_a_front_says_what_others_reach_on_the_same_windows():
    rows = np.array([[2.0, 4.0, 2.0, 1.0, 4.0], [1.0, 4.0, 1.0, 1.0, 4.0], [3.0] * 5])
    quality = CrpsQuality("weather_hidden10", {"linear_interpolation": rows}, 100, picture())
    assert quality.name(36) == "crps_weather_hidden10_36" and quality.compared is None
    half = replicates(np.split(rows[:2] * [0.5, 1, 1, 1, 1], 2))
    both, three = quality.facts(2, half), quality.facts(3, replicates([rows[:2], rows[2:]]))
    found = both["imputers"]["linear_interpolation"]
    assert [found[name] for name in ("crps", "mae", "rmse")] == [3 / 8, 3 / 8, 0.5]
    assert found["baseline_share"] == 0.5 and found["baseline_share_ci"] == [0.5, 0.5]
    reach = 12.706 * 0.125  # t of one degree of freedom; 1/2 and 1/4 are one window's each
    assert found["crps_ci"] == pytest.approx([0.375 - reach, 0.375 + reach], rel=1e-3)
    assert found["mae_ci"] == pytest.approx(found["crps_ci"]) and found["rmse_ci"] == [0.5, 0.5]
    assert three["imputers"]["linear_interpolation"]["crps"] == 6 / 11
    assert both["num_samples"] == 100


def test_an_imputer_that_is_never_off_has_no_share():
    rows = np.array([[0.0, 4.0, 0.0, 0.0, 4.0]] * 2)
    quality = CrpsQuality("mine", {"linear_interpolation": rows}, 100, picture())
    found = quality.facts(2, replicates(np.split(rows + 1, 2)))["imputers"]
    assert set(found["linear_interpolation"]) == {
        "crps", "crps_ci", "mae", "mae_ci", "rmse", "rmse_ci"
    }  # fmt: skip


def test_a_window_is_drawn_with_its_gaps():
    samples = np.random.default_rng(0).normal(size=(10, 3, 5))
    rows = [("one", samples), ("two", samples)]
    png = picture().png(rows)
    assert png.startswith(b"\x89PNG") and png == picture().png(rows)
    assert png != picture(scored=np.zeros_like(GIVEN[0])).png(rows)
    assert runs(np.array([1, 1, 0, 0, 1], bool)) == [(0, 2), (4, 5)]
    with pytest.raises(ValueError, match="no samples"):
        picture().png([])


def test_the_variables_with_the_most_to_impute_are_shown():
    given = np.ones((6, 5), bool)
    given[[1, 3, 4, 5], :2] = False
    many = WindowPicture(
        "x", tuple("abcdef"), (0.0,) * 6, (1.0,) * 6, np.zeros((6, 5)), given, ~given
    )
    assert many.shown() == [1, 3, 4, 5]
