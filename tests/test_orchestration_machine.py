"""Devices, told or faked: no test here needs a GPU, and none shows that one would work."""

import os
from types import SimpleNamespace

import pytest
import torch

from models import population
from models.diffusion import noise_levels
from models.noise import normal
from models.sampling import Sampler
from orchestration import machine, stopwatch
from orchestration.errors import MachineError
from orchestration.files import write_json
from orchestration.plan import other_device, use_plan
from orchestration.scoring_actors import OF_MEMORY, ScorerActor, check_alike

CPU = {"processor": "one", "has_bfloat16": False, "machine": "x86_64", "torch": "2"}
GPU = {**CPU, "processor": "NVIDIA T4", "device": "cuda", "cuda": "13.0", "cudnn": "9"}


@pytest.mark.parametrize(("ids", "expected"), [([], "cpu"), ([1], "cuda")])
def test_a_process_computes_on_the_gpu_that_it_was_given(monkeypatch, ids, expected):
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.get_gpu_ids", lambda: ids)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # others' do not count
    assert machine.assigned_device() == expected
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    assert machine.assigned_device() == "cpu"


def test_a_gpu_that_torch_cannot_use_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for ask in (machine.hardware, machine.local_device):
        with pytest.raises(MachineError, match="torch .* cannot use; expected torch for CUDA"):
            ask("cuda")
    assert machine.local_device("auto") == machine.local_device("cpu") == "cpu"


def test_the_record_of_a_cpu_is_what_it_was():
    assert machine.hardware().keys() == {"processor", "has_bfloat16", "machine", "torch"}


def flags():
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_only_a_gpu_is_settled(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back in the end
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = flags()
    machine.settle("cpu", tf32=True)
    assert flags() == before and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    try:
        machine.settle("cuda")
        assert flags() == (False, False, False, True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        machine.settle("cuda", tf32=True)
        assert flags() == (True, True, False, True, True, False)
    finally:
        (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32,
         torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) = before[:4]
        torch.use_deterministic_algorithms(before[4])
        torch.utils.deterministic.fill_uninitialized_memory = before[5]


def test_a_full_gpu_is_one_line_with_the_remedy():
    def fill():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")

    with pytest.raises(MachineError) as caught:
        ScorerActor(1)._guarded(fill)
    line = str(caught.value)
    assert "out of memory (CUDA out of memory" in line and line.endswith(OF_MEMORY)
    assert "\n" not in line and "score.batch_size" in line and "score.actors_per_gpu" in line
    assert caught.value.__suppress_context__  # what holds the tensors is not handed on


def test_actors_on_gpus_of_several_types_are_refused():
    check_alike([CPU, {**CPU, "processor": "another"}])
    check_alike([GPU, GPU])
    with pytest.raises(MachineError, match=r"several types \(NVIDIA A100, NVIDIA T4\); expected"):
        check_alike([GPU, {**GPU, "processor": "NVIDIA A100"}])


def test_a_plan_is_followed_on_its_own_device_alone(tmp_path):
    plans = {}
    for gpu in (None, "NVIDIA T4"):
        plans[gpu] = tmp_path / f"{gpu}.json"
        write_json(plans[gpu], {"gpu": gpu} if gpu else {})
    assert other_device(plans[None], CPU) is None
    assert other_device(plans[None], {**CPU, "processor": "another"}) is None
    assert other_device(plans["NVIDIA T4"], GPU) is None
    on_cpus, on_gpus = plans[None], plans["NVIDIA T4"]
    found = other_device(on_cpus, GPU)
    assert found == f"{on_cpus} is of CPUs, but scoring runs on GPUs (NVIDIA T4)"
    found = other_device(on_gpus, CPU)
    assert found == f"{on_gpus} is of GPUs (NVIDIA T4), but scoring runs on CPUs"
    assert other_device(on_gpus, {**GPU, "processor": "NVIDIA A100"}).endswith("(NVIDIA A100)")
    pool = SimpleNamespace(one=lambda method: GPU)
    write_json(on_cpus, {"ways": {}})
    with pytest.raises(MachineError, match="other bits; expected the same .see score.device"):
        use_plan(None, SimpleNamespace(macs={}), pool, on_cpus)


def test_noise_is_made_on_the_host_whatever_the_device(monkeypatch):
    asked = []

    def spied(*arguments):
        asked.append(arguments)
        return normal(*arguments)

    monkeypatch.setattr(population, "normal", spied)
    sampler = Sampler("ddpm", noise_levels(100, "linear"))
    steps = [((90, 1.0), (50, 1.0), (10, 1.0))]
    ((_, x_0),) = population.sample_population(
        {1.0: lambda x, t: x}, sampler, steps, seed=3, images=range(2), shape=(1, 2, 2), batch=4,
        device="meta",
    )  # fmt: skip
    assert x_0.device.type == "meta" and x_0.shape == (2, 1, 2, 2)
    assert [arguments[2] for arguments in asked] == [0, 91, 51]  # streams, each once
    assert all(len(arguments) == 4 for arguments in asked)  # none names a device


def test_a_gpu_is_timed_by_its_events_from_when_it_is_idle(monkeypatch):
    happened = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            happened.append("record")

        def synchronize(self):
            happened.append("wait")

        def elapsed_time(self, end):
            return 1500.0

    monkeypatch.setattr(stopwatch.torch.cuda, "Event", Event)
    monkeypatch.setattr(stopwatch.torch.cuda, "synchronize", lambda: happened.append("idle"))
    assert stopwatch.seconds_of(lambda: happened.append("call"), "cuda") == 1.5
    assert happened == ["idle", "record", "call", "record", "wait"]
    times = iter([3.0, 5.5])
    assert stopwatch.seconds_of(lambda: None, "cpu", lambda: next(times)) == 2.5
    stopwatch.started("cuda")
    assert happened[-1] == "idle"
