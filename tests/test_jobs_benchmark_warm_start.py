"""The benchmark of warm starts: a mask that is learned there is a mask, and calls are charged."""

import numpy as np
import pytest

from jobs.benchmarks import landscape, racing, warm_start
from jobs.benchmarks.landscape import SPACE


def quality(places):
    genome = np.zeros(SPACE.num_genes, dtype=np.int64)
    genome[places] = SPACE.num_widths
    return landscape.quality(genome)


def test_the_likeliest_steps_are_better_than_even_ones(monkeypatch):
    monkeypatch.setattr(warm_start, "STEPS", (10, 5))
    kept, calls = warm_start.learned(0)
    assert 0.5 * warm_start.MASK_CALLS < calls <= warm_start.MASK_CALLS
    for k in (10, 5):
        assert ((kept[k] >= 0) & (kept[k] <= 1)).all() and len(kept[k]) == 50
        likeliest = np.argsort(-kept[k], kind="stable")[:k]
        assert quality(likeliest) < quality(np.arange(0, 50, 50 // k))


def test_calls_of_the_mask_are_taken_from_the_search(monkeypatch):
    asked = []

    def searched(noise, seed, calls, kept=None, space=""):
        asked.append((seed, calls, kept, space))
        volume = 1.0 if kept is None else 1.5 if calls == 1_000_000 else 1.2
        return racing.Found(volume, 0.0, 0.0, 1, 0.0, 0)

    monkeypatch.setattr(warm_start, "learned", lambda seed: ({5: seed}, 100_000 + seed))
    monkeypatch.setattr(warm_start, "searched", searched)
    monkeypatch.setattr(warm_start, "BUDGETS", {"": 1_000_000})
    report = warm_start.run(2, print)
    assert report.figures == pytest.approx({
        "per-step_charged": 1.2, "per-step_free": 1.5,
        "timesteps_charged": 1.2, "timesteps_free": 1.5,
    })  # fmt: skip
    assert [calls for _, calls, _, _ in asked[:3]] == [1_000_000, 900_000, 1_000_000]
    assert [kept for _, _, kept, _ in asked[3:6]] == [None, {5: 1}, {5: 1}]


def test_a_search_from_a_mask_is_another_search_with_the_same_budget():
    kept = {5: np.where(np.isin(np.arange(50), (15, 25, 32, 38, 44)), 1.0, 0.0)}
    plain, warm = (
        racing.searched(0.0, 0, 800_000, of_it, num_images=1000, space="timesteps")
        for of_it in (None, kept)
    )
    assert plain.hypervolume != warm.hypervolume
    assert plain.candidates > len(SPACE.uniform()) < warm.candidates
