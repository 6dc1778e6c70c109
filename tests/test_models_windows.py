import pytest
import torch

from models.windows import Panel, condition, hide, num_hidden


def recorded(seed=0, n=5):
    return torch.rand(n, 3, 8, generator=torch.Generator().manual_seed(seed)) < 0.7


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_so_many_of_what_was_recorded_are_hidden_and_nothing_else(share):
    there = recorded()
    hidden = hide(there, share, 0, range(5), 0)
    assert not (hidden & ~there).any()
    expected = [round(share * int(n)) for n in there.flatten(1).sum(1)]
    assert hidden.flatten(1).sum(1).tolist() == num_hidden(there, share).tolist() == expected


def test_the_share_may_be_each_windows_own():
    there = recorded()
    share = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    hidden = hide(there, share, 0, range(5), 0)
    assert not hidden[0].any() and torch.equal(hidden[4], there[4])


def test_what_is_hidden_is_a_function_of_seed_window_and_stream():
    there = torch.ones(4, 3, 8, dtype=torch.bool)
    whole = hide(there, 0.5, 7, range(4), 2)
    assert torch.equal(hide(there[1:3], 0.5, 7, range(1, 3), 2), whole[1:3])
    others = [hide(there, 0.5, 8, range(4), 2), hide(there, 0.5, 7, range(4), 3)]
    assert not any(torch.equal(other, whole) for other in [*others, whole[[1, 0, 2, 3]]])


def test_every_entry_is_hidden_as_often_as_any_other():
    there = torch.ones(4000, 2, 3, dtype=torch.bool)
    often = hide(there, 0.5, 0, range(4000), 0).float().mean(0)
    assert (often - 0.5).abs().max() < 0.03


def test_nothing_of_what_is_not_given_is_told():
    values = torch.tensor([[1.0, torch.nan], [3.0, 4.0]])
    told = condition(values, torch.tensor([[True, False], [True, False]]))
    assert told.tolist() == [[[1.0, 0.0], [3.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]


def test_each_draw_is_told_of_its_window():
    values = torch.arange(3.0)[:, None, None].expand(3, 2, 4)
    given = torch.ones(3, 2, 4, dtype=torch.bool)
    panel = Panel(values, given, ~given, num_samples=2)
    seen = []

    def network(x_t, t, told):
        seen.append(told)
        return x_t

    x_t, t = torch.zeros(5, 1, 2, 4), torch.zeros(5, dtype=torch.int64)
    panel.predict(network, x_t, t, range(1, 5))
    assert seen[0].shape == panel.blank(5).shape == (5, 2, 2, 4)
    assert seen[0][:, 0, 0, 0].tolist() == [0, 1, 1, 2, 0]  # the last one is padding
    assert seen[0][:, 1, 0, 0].tolist() == [1, 1, 1, 1, 0]
    assert panel.draws(range(1, 3)) == range(2, 6)


def test_after_the_last_draw_comes_the_first_again():
    values = torch.arange(2.0 * 3 * 4).view(2, 3, 4)
    given = torch.ones(2, 3, 4, dtype=torch.bool)
    panel, told = Panel(values, given, ~given, 3), []
    x, t = torch.zeros(8, 1, 3, 4), torch.zeros(8, dtype=torch.int64)
    panel.predict(lambda x, t, each: told.append(each) or x, x, t, range(2, 10))
    windows = [0, 1, 1, 1, 0, 0, 0, 1]
    assert torch.equal(told[0][:, 0], values[windows])
