"""The benchmark of warm starts: a mask that is learned there is a mask, and calls are charged."""

import numpy as np
import pytest
import torch

from jobs.benchmarks import landscape, racing, warm_start
from jobs.benchmarks.landscape import SPACE
from orchestration.mask_rounds import Round
from search_spaces.guided import Guide


def quality(places):
    genome = np.zeros(SPACE.num_genes, dtype=np.int64)
    genome[places] = SPACE.num_widths
    return landscape.quality(genome)


def test_what_is_learned_is_better_than_even_steps(monkeypatch):
    monkeypatch.setattr(warm_start, "STEPS", (10, 5))
    guide, calls = warm_start.learned(0)
    assert 0.5 * warm_start.MASK_CALLS < calls <= warm_start.MASK_CALLS
    for k in (10, 5):
        kept = guide.kept[k]
        assert ((kept >= 0) & (kept <= 1)).all() and len(kept) == 50
        chosen = [SPACE.grid.index(t) for t in guide.chosen[k]]
        assert len(set(chosen)) <= k
        assert quality(chosen) < quality(np.arange(0, 50, 50 // k))


def test_the_first_guesses_of_a_search_are_the_masks_that_were_found_best(monkeypatch):
    """Whatever s says: here of all but the last steps that they are the likeliest."""
    s, masks = torch.linspace(1, 0, 50), ((5, 20, 40), (0, 1, 2))
    final = Round(3, "final", masks, (1.0, 2.0), 11, 99)
    monkeypatch.setattr(warm_start, "STEPS", (3,))
    monkeypatch.setattr(warm_start, "refine", lambda *_: iter([(final, s)]))
    guide, calls = warm_start.learned(0)
    assert calls == 99 and guide.kept[3].argmax() == 49
    best = tuple(SPACE.grid[49 - i] for i in (40, 20, 5))
    assert guide.chosen == {3: best} and guide.guesses(SPACE.grid) == [best]


def test_calls_of_the_mask_are_taken_from_the_search(monkeypatch):
    asked = []

    def searched(noise, seed, calls, guide=None, space=""):
        asked.append((seed, calls, guide, space))
        volume = 1.0 if guide is None else 1.5 if calls == 1_000_000 else 1.2
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
    assert [guide for _, _, guide, _ in asked[3:6]] == [None, {5: 1}, {5: 1}]


def test_a_search_from_a_mask_is_another_search_with_the_same_budget():
    guide = Guide({5: np.where(np.isin(np.arange(50), (15, 25, 32, 38, 44)), 1.0, 0.0)})
    plain, warm = (
        racing.searched(0.0, 0, 800_000, of_it, num_images=1000, space="timesteps")
        for of_it in (None, guide)
    )
    assert plain.hypervolume != warm.hypervolume
    assert plain.candidates > len(SPACE.uniform()) < warm.candidates
