import numpy as np
import torch
from toy_training import BATCH, IMAGES, classes

from models.noise import normal
from orchestration.training_batches import image_indices, make_batch


def test_workers_see_together_what_one_sees_alone():
    whole = make_batch(IMAGES, range(12), iteration=4, **BATCH)
    shares = [make_batch(IMAGES, r, iteration=4, **BATCH) for r in (range(5), range(5, 12))]
    for name, dim in (("x_0", 0), ("t", 1), ("eps", 1)):
        joined = torch.cat([getattr(share, name) for share in shares], dim)
        assert torch.equal(joined, getattr(whole, name))
    assert {share.widths for share in shares} == {whole.widths}


def test_labels_are_those_of_the_images_and_change_nothing_else():
    plain = make_batch(IMAGES, range(12), iteration=4, **BATCH)
    told = make_batch(IMAGES, range(12), iteration=4, **BATCH, labels=classes(0.0))
    assert plain.labels is None
    for name in ("x_0", "t", "eps"):
        assert torch.equal(getattr(plain, name), getattr(told, name))
    expected = image_indices(3, range(48, 60), len(IMAGES)) % 7
    assert told.labels.tolist() == [expected.tolist()] * 3
    hidden = make_batch(IMAGES, range(12), iteration=4, **BATCH, labels=classes(1.0))
    assert (hidden.labels == 7).all() and hidden.labels.dtype == torch.int64


def test_labels_are_hidden_by_seed_iteration_and_row():
    def hidden(iteration, rows=range(12), **changes):
        batch = make_batch(
            IMAGES, rows, iteration=iteration, **BATCH | changes, labels=classes(0.25)
        )
        return batch.labels == 7

    many = torch.stack([hidden(i) for i in range(150)]).double()  # (iteration, width, row)
    assert abs(many.mean() - 0.25) < 4 * (0.25 * 0.75 / many.numel()) ** 0.5
    for dims in ((1, 2), (0, 2), (0, 1)):  # as often in every iteration, width and row
        shares = many.mean(dims)
        assert shares.std() < 2.5 * (0.25 * 0.75 * len(shares) / many.numel()) ** 0.5
    assert torch.equal(torch.cat([hidden(4, range(5)), hidden(4, range(5, 12))], 1), hidden(4))
    assert not torch.equal(hidden(4, seed=5), hidden(4))


def test_a_batch_holds_the_images_of_its_positions_in_unit_range():
    batch = make_batch(IMAGES, range(12), iteration=4, **BATCH)
    indices = image_indices(3, range(48, 60), len(IMAGES))
    pixels = (batch.x_0 + 1) * 127.5
    torch.testing.assert_close(pixels, IMAGES[indices].float(), rtol=0, atol=1e-4)


def test_half_of_the_rows_are_mirrored_by_their_position_alone():
    plain = [make_batch(IMAGES, range(12), iteration=i, **BATCH) for i in range(60)]
    found = [make_batch(IMAGES, range(12), iteration=i, flips=True, **BATCH) for i in range(60)]
    mirrored = []
    for before, after in zip(plain, found, strict=True):
        rows = []
        for old, new in zip(before.x_0, after.x_0, strict=True):
            assert torch.equal(new, old) != torch.equal(new, old.flip(-1))
            rows.append(torch.equal(new, old.flip(-1)))
        assert torch.equal(before.eps, after.eps) and torch.equal(before.t, after.t)
        mirrored.append(rows)
    share = np.mean(mirrored)
    assert abs(share - 0.5) < 4 * 0.5 / 720**0.5
    assert np.std(np.mean(mirrored, axis=0)) > 0 and len({tuple(row) for row in mirrored}) > 50
    later = make_batch(IMAGES, range(7, 12), iteration=4, flips=True, **BATCH)
    assert torch.equal(later.x_0, found[4].x_0[7:])  # another worker, the same images
    other = make_batch(IMAGES, range(12), iteration=4, flips=True, **BATCH | {"seed": 4})
    assert not torch.equal(other.x_0, found[4].x_0)


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own():
    orders = [image_indices(3, range(21 * e, 21 * (e + 1)), 21).tolist() for e in range(3)]
    assert all(sorted(order) == list(range(21)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert image_indices(4, range(21), 21).tolist() != orders[0]
    across = image_indices(3, range(15, 50), 21).tolist()
    assert across == sum(orders, [])[15:50]


def test_timesteps_and_noise_are_fresh_for_each_width_row_and_iteration():
    batches = [make_batch(IMAGES, range(12), iteration=i, **BATCH) for i in range(150)]
    t = torch.stack([batch.t for batch in batches]).double()  # (iteration, width, row)
    assert t.min() < 20 and t.max() > 979
    assert abs(t.mean() - 499.5) < 4 * 288.7 / t.numel() ** 0.5
    eps = torch.stack([batch.eps for batch in batches]).flatten(3)
    assert abs(eps.mean()) < 4 / eps.numel() ** 0.5
    assert eps.flatten().unique().numel() > 0.99 * eps.numel()
    for values in (t, eps.mean(-1)):
        flat = values.permute(1, 0, 2).flatten(1).numpy()
        across_widths = np.corrcoef(flat)[np.triu_indices(3, 1)]
        assert np.abs(across_widths).max() < 4 / flat.shape[1] ** 0.5


def test_training_never_meets_the_noise_of_scoring():
    batch = make_batch(IMAGES, range(12), iteration=0, **BATCH)
    scored = normal(BATCH["seed"], range(12), 0, (1, 4, 4))
    assert not torch.isclose(batch.eps[0], scored).any()
