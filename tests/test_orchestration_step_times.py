"""Times are put together from parts; the clock and the networks are told."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.conditioning import Conditioning
from models.diffusion import alphas_cumprod, linear_betas, noise_levels
from models.frechet import Reference
from models.sampling import Sampler
from orchestration import step_times as module
from orchestration import stopwatch
from orchestration.costs import Cost
from orchestration.execution import Execution
from orchestration.scorer import Scorer
from orchestration.step_times import step_times
from orchestration.stopwatch import MIN_ROUNDS
from orchestration.supernet_source import SupernetSource
from orchestration.ways import Way

WAIT_S = {1.0: 0.012, 0.5: 0.004}


def sampler(kind="ddim", num_timesteps=1000):
    return Sampler(kind, alphas_cumprod(linear_betas(num_timesteps)))


def sleeping(seconds):
    def predict(x, t):
        time.sleep(seconds)
        return x

    return predict


@pytest.fixture
def few_rounds(monkeypatch):
    monkeypatch.setattr(stopwatch, "MAX_ROUNDS", MIN_ROUNDS)


def test_a_schedule_takes_what_its_parts_take(few_rounds):
    """On networks that sleep, so long that the rest of the machine hardly shows."""
    networks = {width: sleeping(seconds) for width, seconds in WAIT_S.items()}
    times = step_times(networks, sampler(), 4, (1, 4, 4))
    for width, seconds in WAIT_S.items():
        assert 1000 * seconds / 4 <= times.call_ms[width] < 1000 * seconds / 4 + 5
    assert times.step_ms >= 0 and times.sample_ms >= 0
    steps = ((900, 0.5), (500, 1.0), (300, 0.5), (10, 0.5))
    of_step = {width: ms + times.step_ms for width, ms in times.call_ms.items()}
    predicted = Cost("latency", of_step, times.sample_ms).of(steps)
    assert predicted >= 1000 * (0.012 + 3 * 0.004) / 4


def test_moves_are_timed_in_the_chain_as_it_is(few_rounds, monkeypatch):
    asked = []

    def note(networks, moves, schedules, **options):
        asked.append((moves.kind, len(schedules[0]), options["batch"], options["images"]))
        assert all(0 <= t < len(moves.alphas_cumprod) for t, _ in schedules[0])
        yield 0, torch.zeros(1)

    monkeypatch.setattr(module, "sample_population", note)
    step_times({1.0: sleeping(0)}, sampler("ddpm", 20), 4, (1, 4, 4))
    assert set(asked) == {("ddpm", 1, 4, range(4)), ("ddpm", 20, 4, range(4))}
    asked.clear()
    times = step_times({1.0: sleeping(0)}, sampler("ddpm", 1), 4, (1, 4, 4))
    assert {count for _, count, *_ in asked} == {1} and times.step_ms == 0


def test_where_nothing_is_left_of_the_image_no_move_is_timed(few_rounds):
    """Of noise alone, which a chain of zero terminal SNR ends with, no epsilon tells x_0."""
    moves = Sampler("ddim", noise_levels(50, "linear", rescale_zero_terminal_snr=True))
    assert moves.alphas_cumprod[-1] == 0 and moves.prediction == "epsilon"
    times = step_times({1.0: sleeping(0)}, moves, 4, (1, 4, 4))
    assert times.sample_ms > 0


def test_a_scorer_times_its_subnets(few_rounds):
    class Subnet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 1)

        def forward(self, x, t):
            return SimpleNamespace(sample=self.layer(x))

    subnets = {1.0: Subnet(), 0.5: Subnet()}
    source = SupernetSource(subnets, sampler(), None, (1, 4, 4), Execution(6, 1, 0))
    scorer = Scorer(source, Reference(np.zeros(1), np.eye(1)), 3)
    times = scorer.step_times({w: Way(memory_format="channels_last") for w in subnets}, 5)
    assert set(times.call_ms) == {1.0, 0.5} and min(times.call_ms.values()) > 0
    assert source.states.bytes == 0


@pytest.mark.parametrize(("guidance", "calls"), [(1.0, 1), (2.0, 2)])
def test_what_the_network_takes_in_a_guided_step_is_two_calls(few_rounds, guidance, calls):
    asked = []

    def network(x, t, labels):
        asked.append(labels.tolist())
        return x

    step_times({1.0: network}, sampler(), 3, (1, 4, 4), conditioning=Conditioning(2, guidance))
    assert len(asked) == calls * (1 + MIN_ROUNDS)
    assert asked[:calls] == [[0, 1, 0], [2, 2, 2]][:calls]
