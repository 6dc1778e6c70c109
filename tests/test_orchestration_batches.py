import pytest

from orchestration.batches import batches, cuts


@pytest.mark.parametrize(
    ("num_images", "expected"),
    [(20, [(0, 10), (10, 20)]), (23, [(0, 10), (10, 20), (20, 23)]), (4, [(0, 4)])],
)
def test_batches_cover_the_images_in_order(num_images, expected):
    assert [(run.start, run.stop) for run in batches(num_images, 10)] == expected


@pytest.mark.parametrize(("parts", "sizes"), [(1, [5]), (2, [2, 3]), (3, [1, 2, 2]), (9, [1] * 5)])
def test_neighbours_stay_together_and_parts_are_even(parts, sizes):
    ends = [(9, 1), (5, 1), (9, 0.5), (1, 1), (5, 0.5)]
    schedules = [((t, 1.0), (0, width)) for t, width in ends]
    found = cuts(schedules, parts)
    assert [len(part) for part in found] == sizes
    assert [i for part in found for i in part] == [3, 4, 1, 2, 0]
