import numpy as np

from models.kid import kid
from models.precision_recall import precision_recall
from orchestration import fidelity as module
from orchestration.fidelity import fidelity, fidelity_facts, real_subset

RNG = np.random.default_rng(0)


def test_of_many_real_images_the_same_some_are_looked_at(monkeypatch):
    real = RNG.standard_normal((50, 3))
    assert real_subset(real) is real
    monkeypatch.setattr(module, "MAX_IMAGES", 20)
    some = real_subset(real)
    assert len(some) == 20 and np.array_equal(some, real_subset(real))
    rows = [np.flatnonzero((real == row).all(axis=1)).item() for row in some]
    assert rows == sorted(set(rows)) and rows != list(range(20))


def test_numbers_are_those_of_the_first_samples_in_order(monkeypatch):
    monkeypatch.setattr(module, "MAX_IMAGES", 20)
    samples, real = RNG.standard_normal((30, 3)), RNG.standard_normal((15, 3)) + 1
    found = fidelity(np.split(samples, [4, 9, 22]), real)
    facts = fidelity_facts(30, 15)
    assert facts == {
        "num_images": 20, "num_real": 15, "neighbors": 3, "subset_size": 15, "num_subsets": 100
    }  # fmt: skip
    assert found.kid == kid(samples[:20], real, subset_size=15, num_subsets=100)
    assert (found.precision, found.recall) == precision_recall(samples[:20], real, 3)


def test_with_few_images_the_neighbors_are_fewer():
    found = fidelity([RNG.standard_normal((2, 3))], RNG.standard_normal((4, 3)))
    assert fidelity_facts(2, 4)["neighbors"] == 1 and np.isfinite(found).all()
