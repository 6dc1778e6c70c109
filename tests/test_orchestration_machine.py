"""Devices, told or faked: no test here needs a GPU, and none shows that one would work."""

import os
from types import SimpleNamespace

import pytest
import torch

from models import chain_noise, population
from models.diffusion import noise_levels
from models.noise import normal
from models.sampling import Sampler
from orchestration import config as configs
from orchestration import machine, stopwatch, training_run
from orchestration.actors import check_alike
from orchestration.errors import MachineError
from orchestration.files import write_json
from orchestration.plan import use_plan
from orchestration.plan_file import other_device

CPU = {"processor": "one", "has_bfloat16": False, "machine": "x86_64", "torch": "2"}
GPU = {
    **CPU, "processor": "NVIDIA T4", "device": "cuda", "cuda": "13.0", "cudnn": "9",
    "capability": "7.5", "multiprocessors": "40",
}  # fmt: skip
A100 = {**GPU, "capability": "8.0", "multiprocessors": "108"}
SMALL, LARGE = ({**A100, "processor": f"NVIDIA A100-SXM4-{size}GB"} for size in (40, 80))


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


def computing(monkeypatch, error=None):
    """Has there be a GPU, on which whatever is computed raises an error."""

    def ones(size, device):
        assert device == "cuda"
        if error is not None:
            raise error
        return torch.zeros(size)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)


def test_a_gpu_that_torch_has_no_kernels_for_is_told_and_a_full_one_is_not(monkeypatch):
    text = "CUDA error: no kernel image is available for execution on the device\nhints follow"
    computing(monkeypatch, torch.AcceleratorError(text))
    with pytest.raises(MachineError) as caught:
        machine.check_usable("cuda")
    assert "cannot use (CUDA error: no kernel image is available for ex" in str(caught.value)
    assert "; expected torch for CUDA and this GPU" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(MachineError, match="no kernel image"):
        machine.local_device("auto")
    machine.check_usable("cpu")
    for full in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB"),
        torch.AcceleratorError("CUDA error: out of memory\nhints follow"),
    ):
        computing(monkeypatch, full)
        machine.check_usable("cuda")
    computing(monkeypatch)
    machine.check_usable("cuda")


def test_the_record_of_a_cpu_is_what_it_was():
    assert machine.hardware().keys() == {"processor", "has_bfloat16", "machine", "torch"}


def test_a_gpu_is_told_by_what_its_bits_depend_on(monkeypatch):
    computing(monkeypatch)
    for name, answer in {
        "get_device_name": lambda: "NVIDIA A100-SXM4-40GB",
        "is_bf16_supported": lambda including_emulation: True,
        "get_device_properties": lambda: SimpleNamespace(
            major=8, minor=0, multi_processor_count=108
        ),
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    found = machine.hardware("cuda")
    assert found["processor"] == SMALL["processor"] and found.keys() == SMALL.keys()
    assert machine.gpu_kind(found) == "108 multiprocessors of capability 8.0"
    assert machine.gpu_kind(CPU) is None


def flags():
    return (
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def fused_attention():
    cuda = torch.backends.cuda
    return cuda.mem_efficient_sdp_enabled(), cuda.flash_sdp_enabled(), cuda.cudnn_sdp_enabled()


def enable_fused_attention(enabled):
    torch.backends.cuda.enable_mem_efficient_sdp(enabled)
    torch.backends.cuda.enable_flash_sdp(enabled)
    torch.backends.cuda.enable_cudnn_sdp(enabled)


def test_only_a_gpu_is_settled(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back in the end
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = flags()
    machine.settle("cpu", tf32=True, gradients=True)
    assert fused_attention() == (True, True, True)
    assert flags() == before and "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    try:
        machine.settle("cuda")
        assert flags() == (False, False, False, True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        machine.settle("cuda", tf32=True)
        assert flags() == (True, True, False, True, True, False)
        assert fused_attention() == (True, True, True)
        machine.settle("cuda", gradients=True)
        assert fused_attention() == (False, False, False)
        assert torch.backends.cuda.math_sdp_enabled()
    finally:
        enable_fused_attention(True)
        (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32,
         torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) = before[:4]
        torch.use_deterministic_algorithms(before[4])
        torch.utils.deterministic.fill_uninitialized_memory = before[5]


def test_a_training_worker_is_settled_for_gradients(monkeypatch, tmp_path):
    asked = []
    context = SimpleNamespace(get_world_rank=lambda: 1)
    monkeypatch.setattr(training_run.ray.train, "get_context", lambda: context)
    monkeypatch.setattr(training_run.ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(training_run.torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(training_run, "settle", lambda *how, **more: asked.append((how, more)))
    train = configs.load(None, ["search.budget=1", "train.tf32=true"]).train
    assert training_run.settled_device(train, tmp_path) == torch.device("cpu")
    assert asked == [(("cpu", True), {"gradients": True})]


def test_actors_on_gpus_that_give_other_bits_are_refused():
    check_alike([CPU, {**CPU, "processor": "another"}])
    check_alike([GPU, GPU])
    check_alike([SMALL, LARGE])  # they differ in memory alone
    with pytest.raises(MachineError) as caught:
        check_alike([GPU, LARGE, SMALL])
    line = str(caught.value)
    assert "(NVIDIA A100-SXM4-40GB: 108 multiprocessors of capability 8.0, NVIDIA A100-S" in line
    assert "expected one kind, by ray.accelerator_type" in line and "\n" not in line
    # Ray calls all of them H100
    boards = [{**GPU, "processor": f"NVIDIA H100 {n}", "multiprocessors": n} for n in "ab"]
    with pytest.raises(MachineError, match=r"ray start --resources='{.accelerator_type:"):
        check_alike(boards)
    # A name may stand for several kinds, such as of slices of one GPU
    with pytest.raises(MachineError, match="1 multiprocessors .* 2 multiprocessors"):
        check_alike([{**GPU, "multiprocessors": n} for n in "12"])


def test_a_plan_is_followed_on_its_own_device_alone(tmp_path):
    plans = {}
    for gpu, of_gpu in (
        (None, {}),
        ("NVIDIA T4", {"gpu": "NVIDIA T4", "gpu_kind": machine.gpu_kind(GPU)}),
        ("A100", {"gpu": SMALL["processor"], "gpu_kind": machine.gpu_kind(SMALL)}),
        ("old", {"gpu": "NVIDIA T4"}),  # from when there were names alone
    ):
        plans[gpu] = tmp_path / f"{gpu}.json"
        write_json(plans[gpu], of_gpu)
    assert other_device(plans[None], CPU) is None
    assert other_device(plans[None], {**CPU, "processor": "another"}) is None
    assert other_device(plans["NVIDIA T4"], GPU) is None
    assert other_device(plans["A100"], LARGE) is None
    assert "of CPUs, but scoring runs on GPUs (NVIDIA T4: 40 m" in other_device(plans[None], GPU)
    assert other_device(plans["NVIDIA T4"], CPU).endswith("7.5), but scoring runs on CPUs")
    assert other_device(plans["NVIDIA T4"], SMALL) is not None
    for other in (CPU, GPU):
        assert "is of GPUs (NVIDIA T4), but scoring" in other_device(plans["old"], other)
    pool = SimpleNamespace(one=lambda method: GPU)
    write_json(plans[None], {"ways": {}})
    with pytest.raises(MachineError, match="other bits; expected the same .see score.device"):
        use_plan(None, SimpleNamespace(macs={}), pool, plans[None])


def test_noise_is_made_on_the_host_whatever_the_device(monkeypatch):
    asked = []

    def spied(*arguments):
        asked.append(arguments)
        return normal(*arguments)

    monkeypatch.setattr(chain_noise, "normal", spied)
    sampler = Sampler("ddpm", noise_levels(100, "linear"))
    steps = [((90, 1.0), (50, 1.0), (10, 1.0))]
    ((_, x_0),) = population.sample_population(
        {1.0: lambda x, t: x}, sampler, steps, seed=3, images=range(2), shape=(1, 2, 2), batch=4,
        device="meta",
    )  # fmt: skip
    assert x_0.device.type == "meta" and x_0.shape == (2, 1, 2, 2)
    streams = [arguments[2] for arguments in asked]
    assert {91, 51, 11} < set(streams) and len(set(streams)) == len(streams)
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
