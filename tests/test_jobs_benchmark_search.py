"""The benchmark of optimizers: what is charged, who is compared, and by what they are judged."""

import numpy as np
import pytest

from jobs.benchmarks import landscape, rival_optimizers, search
from jobs.benchmarks.landscape import SPACE
from jobs.benchmarks.rival_optimizers import OURS, RIVALS, Listed
from jobs.benchmarks.search import Trace
from jobs.benchmarks.weighted_ga import WeightedGa, fitness, published_start
from search_spaces import pareto
from search_spaces.optimizers import REFERENCE_POINT

EVERYONE = OURS | RIVALS


def played(name, seed, num_generations):
    """Generations that an optimizer asks, with what it keeps before each."""
    rival, generations = EVERYONE[name](SPACE, seed), []
    for _ in range(num_generations):
        kept, asked = rival.kept(), rival.ask()
        if not len(asked):
            break
        generations.append((kept, asked))
        rival.tell(landscape.losses(asked))
    return generations


def test_calls_are_the_distinct_prefixes_that_no_parent_has(monkeypatch):
    """Brute force: the set of all prefixes, generation by generation."""
    monkeypatch.setattr(rival_optimizers, "POPULATION", 12)
    generations = played("ddsm_warm", 0, 3)
    for kept, asked in generations:
        known = {tuple(g[:n]) for g in kept.tolist() for n in range(51) if any(g[:n])}
        new = {tuple(g[:n]) for g in asked.tolist() for n in range(1, 51) if g[n - 1]} - known
        assert sum(search.charges(asked, kept)) == len(
            {tuple((i, x) for i, x in enumerate(prefix) if x) for prefix in new}
            - {tuple((i, x) for i, x in enumerate(prefix) if x) for prefix in known}
        )


@pytest.mark.parametrize("name", EVERYONE)
def test_genomes_are_schedules_and_a_function_of_the_seed(name, monkeypatch):
    for size in ("POPULATION", "OPTUNA_POPULATION"):
        monkeypatch.setattr(rival_optimizers, size, 12)
    num = 4 if name in OURS else 3  # a warm start takes three generations of 12
    first, again, other = (played(name, seed, num) for seed in (3, 3, 4))
    for (kept, asked), (kept_again, asked_again) in zip(first, again, strict=True):
        assert (kept.tolist(), asked.tolist()) == (kept_again.tolist(), asked_again.tolist())
        for genome in [*kept, *asked]:
            SPACE.decode(genome)
    scored = {genome.tobytes() for _, asked in first for genome in asked}
    assert {genome.tobytes() for genome in first[-1][0]} <= scored
    if name in ("uniform", "one_switch"):
        assert len(first) == 1
    else:
        assert first[-1][1].tolist() != other[-1][1].tolist()


@pytest.mark.parametrize(
    "name", ["nsga2", "de", "one-plus-one", "ddsm_warm", "pymoo_warm", "optuna_warm"]
)
def test_warm_rivals_start_where_ours_does(name, monkeypatch):
    """In the same order; and what follows are children of it."""
    monkeypatch.setattr(rival_optimizers, "POPULATION", 12)
    generations = played(name, 0, 4 if name in OURS else 2)
    asked = np.concatenate([asked for _, asked in generations])
    start = rival_optimizers.warm_start(SPACE)
    assert asked[: len(start)].tolist() == start.tolist()
    kept, children = generations[-1]
    assert len(kept) > 0 and not {c.tobytes() for c in children} <= {g.tobytes() for g in start}


def test_ddsm_starts_as_published_and_skips_nothing():
    start = published_start(SPACE, 0)
    assert start.shape == (50, 50) and start.min() == 1 and start.max() == 4
    assert [set(row) for row in start[:4].tolist()] == [{4}, {3}, {2}, {1}]
    assert all(asked.min() >= 1 for _, asked in played("ddsm", 0, 6))


def test_ddsm_improves_the_fitness_of_each_weight_and_never_loses_it():
    weights = (0.5, 4.0)
    ga = WeightedGa(SPACE, 0, published_start(SPACE, 0), 50, 0.001, weights)
    best = {weight: [] for weight in weights}
    for _ in range(13):
        asked = ga.ask()
        ga.tell(landscape.losses(asked))
        losses = landscape.losses(ga.kept()).reshape(2, 50, 2)
        for weight, population in zip(weights, losses, strict=True):
            best[weight].append(fitness(population, weight).min())
    for values in best.values():
        assert (np.diff(values) <= 0).all() and values[-1] < 0.98 * values[0]
    cheap, good = (
        landscape.losses(ga.kept())[rows, 1].min() for rows in (slice(50, 100), slice(50))
    )
    assert cheap < good


def test_noise_is_a_function_of_schedule_and_seed_and_of_the_stated_size():
    genomes = published_start(SPACE, 0)[1:]
    true = landscape.losses(genomes)
    seen = landscape.observe(genomes, true, 1)
    assert landscape.observe(genomes[::-1], true[::-1], 1)[::-1].tolist() == seen.tolist()
    assert landscape.observe(genomes, true, 2)[:, 0].tolist() != seen[:, 0].tolist()
    assert (seen[:, 1] == true[:, 1]).all()
    errors = np.concatenate(
        [landscape.observe(genomes, true, seed)[:, 0] - true[:, 0] for seed in range(20)]
    )
    assert abs(errors.std() / landscape.STANDARD_ERROR - 1) < 0.1
    baseline = SPACE.uniform()[:1]
    assert landscape.observe(baseline, landscape.losses(baseline), 1).tolist() == [[1, 1]]


def test_the_judge_sees_no_noise(monkeypatch):
    genomes = [*SPACE.uniform(), *SPACE.one_switch()]
    told = []
    monkeypatch.setattr(Listed, "tell", lambda _, losses: told.append(losses))
    trace = search.search(Listed(genomes), 0, 10_000)
    assert trace.points.tolist() == landscape.losses(genomes).tolist()
    assert np.abs(told[0] - trace.points)[:, 0].max() > landscape.STANDARD_ERROR


def test_hypervolume_over_calls_and_time():
    points = np.array([[1.0, 1.0], [1.5, 0.5], [1.2, 0.4]])
    trace = Trace(points, np.array([10, 15, 30]), np.array([1.0, 1.0, 2.0]))
    calls = np.array([5, 10, 20, 30, 40])
    expected = [pareto.hypervolume(points[:n], REFERENCE_POINT) for n in (0, 1, 2, 3, 3)]
    assert trace.hypervolumes(calls).tolist() == expected
    per_call = search.SECONDS_PER_CALL
    np.testing.assert_allclose(
        trace.seconds(calls), [0, 1 + 10 * per_call, 1 + 15 * per_call] + [2 + 30 * per_call] * 2
    )


def test_a_smaller_budget_is_the_beginning_of_a_larger_one():
    small, large = (
        search.search(EVERYONE["ddsm_warm"](SPACE, 0), 0, budget) for budget in (1500, 2500)
    )
    assert large.within(1500).calls.tolist() == small.within(1500).calls.tolist()
    assert large.within(1500).points.tolist() == small.within(1500).points.tolist()
    assert len(large.calls) > len(small.calls) >= len(large.within(1500).calls)


def test_a_search_ends_when_it_asks_for_nothing_new():
    """The same genomes for ever: scored once, charged once."""

    class Stubborn(Listed):
        def ask(self):
            return self._genomes

    trace = search.search(Stubborn(SPACE.uniform()), 0, 10_000)
    assert len(trace.calls) == len(SPACE.uniform())


def test_figures_by_hand():
    """Ours reaches .25 after half of the calls; the best rival has it at the end."""

    def trace(qualities, calls):
        points = np.array([[quality, 0.5] for quality in qualities])
        return Trace(points, np.array(calls), np.zeros(len(calls)))

    traces = {name: [trace([1.8], [10])] for name in EVERYONE}
    traces["pymoo"] = [trace([1.9, 1.5], [10, 100])]
    traces["nsga2"] = [trace([1.9, 1.5, 1.2], [10, 50, 90])]
    figures, notes = search.compare(traces, 100)
    assert notes["best_rival"] == "pymoo"
    np.testing.assert_allclose(figures["hypervolume_vs_best_rival"], 0.4 / 0.25)
    np.testing.assert_allclose(figures["nsga2_vs_uniform"], 0.4 / 0.1)
    assert figures["calls_to_best_rival"] == figures["time_to_best_rival"] == 0.5
    traces["nsga2"] = [trace([1.9], [10])]
    assert search.compare(traces, 100)[0]["calls_to_best_rival"] == np.inf
