import resource
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import UNet2DModel

from orchestration import checkpoints
from orchestration.checkpoints import (
    build_supernet,
    load_supernet,
    save_supernet,
)
from orchestration.errors import DataError, MachineError
from orchestration.files import read_json, write_json
from orchestration.supernet_description import read_description, supernet_sha
from orchestration.training_state import (
    Row,
    TrainingState,
    append_row,
    clear_except,
    newest_checkpoint,
    read_checkpoint,
    read_rows,
    write_checkpoint,
)

NETWORK = {
    "image_size": 4,
    "channels": 1,
    "block_out_channels": [4, 8],
    "layers_per_block": 1,
    "attention": [False, True],
    "head_size": 2,
    "norm_group_size": 2,
}
WIDTHS = (1.0, 0.5)
ROW = Row(25, 100, {1.0: 0.25, 0.5: 0.75}, 100.0, 3.5)


@pytest.fixture
def supernet():
    return build_supernet(NETWORK, WIDTHS, seed=3).eval()


def save(folder, supernet):
    save_supernet(folder, supernet, NETWORK, {"data": "digits"})
    return folder


def outputs(network, width=None):
    x = torch.linspace(-1, 1, 32).view(2, 1, 4, 4)
    t = torch.tensor([3, 700])
    with torch.no_grad():
        return network(x, t).sample if width is None else network(x, t, width)


def test_a_loaded_supernet_computes_the_same_at_every_width(tmp_path, supernet):
    loaded = load_supernet(save(tmp_path / "supernet", supernet))
    assert loaded.widths == WIDTHS
    for width in WIDTHS:
        assert torch.equal(outputs(loaded, width), outputs(supernet, width))


def test_diffusers_alone_reads_the_full_width(tmp_path, supernet):
    network = UNet2DModel.from_pretrained(save(tmp_path / "supernet", supernet))
    assert torch.equal(outputs(network), outputs(supernet, 1.0))


def test_description_tells_how_to_build_it_and_where_it_comes_from(tmp_path, supernet):
    description = read_description(save(tmp_path / "supernet", supernet))
    assert description["widths"] == [1.0, 0.5]
    assert description["network"] == NETWORK
    assert description["meta"] == {"data": "digits"}


def test_equal_supernets_have_equal_shas_and_others_other_ones(tmp_path, supernet):
    first = supernet_sha(save(tmp_path / "first", supernet))
    assert supernet_sha(save(tmp_path / "again", build_supernet(NETWORK, WIDTHS, 3))) == first
    assert supernet_sha(save(tmp_path / "seed", build_supernet(NETWORK, WIDTHS, 4))) != first
    with torch.no_grad():  # a parameter that only one width has
        next(iter(supernet.private.parameters())).add_(1)
    assert supernet_sha(save(tmp_path / "private", supernet)) != first


def test_building_leaves_the_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_supernet(NETWORK, WIDTHS, seed=9)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    "name", ["diffusion_pytorch_model.safetensors", "private.safetensors", "config.json"]
)
def test_a_flipped_bit_is_found_and_named(tmp_path, supernet, name):
    path = save(tmp_path / "supernet", supernet) / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_supernet(tmp_path / "supernet")


def test_a_missing_supernet_and_one_of_another_format_are_named(tmp_path, supernet):
    with pytest.raises(DataError, match="nowhere"):
        load_supernet(tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere"):
        supernet_sha(tmp_path / "nowhere")
    folder = save(tmp_path / "supernet", supernet)
    write_json(folder / "supernet.json", read_json(folder / "supernet.json") | {"format": "x/9"})
    with pytest.raises(DataError, match="'x/9', expected 'step-supernet/1'"):
        read_description(folder)


def test_a_save_that_fails_leaves_the_old_supernet(tmp_path, supernet, monkeypatch):
    folder = save(tmp_path / "supernet", supernet)
    sha = supernet_sha(folder)

    def fail(*_):
        raise MachineError("disk full")

    monkeypatch.setattr(checkpoints, "write_manifest", fail)
    with pytest.raises(MachineError):
        save(folder, build_supernet(NETWORK, WIDTHS, seed=4))
    assert supernet_sha(folder) == sha
    assert [path.name for path in tmp_path.iterdir()] == ["supernet"]


@contextmanager
def little_space(num_bytes):
    """Files end at this size, as on a disk that is full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_is_an_error_of_the_machine(tmp_path, supernet):
    """safetensors raises an error of its own there, which is no OSError."""
    with little_space(4000), pytest.raises(MachineError) as caught:
        save(tmp_path / "supernet", supernet)
    assert type(caught.value.__cause__).__name__ == "SafetensorError"
    line = str(caught.value)
    assert line.startswith(f"cannot write {tmp_path / 'supernet'}: ") and "\n" not in line
    assert line.endswith("expected a writable place with free space")
    assert list(tmp_path.iterdir()) == []


def training_state(iteration):
    generator = torch.Generator().manual_seed(iteration)
    weight = torch.randn(2, 3, 4, 4, generator=generator)
    tensors = {
        "weights/a": weight,
        "weights/b": weight.to(memory_format=torch.channels_last) / 3,
        "ema/num_updates": torch.tensor(iteration),
    }
    return TrainingState(iteration, tensors, (ROW,))


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path):
    state = training_state(50)
    read = read_checkpoint(write_checkpoint(tmp_path, state))
    assert read.iteration == 50
    assert list(read.rows) == [ROW]
    assert read.tensors.keys() == state.tensors.keys()
    for name, tensor in state.tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(read.tensors[name], tensor)


def test_training_goes_on_from_the_newest_whole_checkpoint(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") is None
    paths = [write_checkpoint(tmp_path, training_state(i)) for i in (9, 10, 200)]
    assert newest_checkpoint(tmp_path) == paths[2]
    (paths[2] / "state.safetensors").write_bytes(b"torn")
    assert newest_checkpoint(tmp_path) == paths[1]
    (paths[1] / "manifest.json").unlink()
    assert newest_checkpoint(tmp_path) == paths[0]


def test_clearing_keeps_one_checkpoint_alone(tmp_path):
    kept, other = (write_checkpoint(tmp_path, training_state(i)) for i in (9, 10))
    (tmp_path / "checkpoint_manager_snapshot.json").write_text("{torn")
    (tmp_path / ".checkpoint-00000011.tmp").mkdir()
    clear_except(tmp_path, kept)
    assert list(tmp_path.iterdir()) == [kept]
    clear_except(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
    clear_except(tmp_path / "nowhere", None)
    assert other != kept


def test_rows_are_read_once_whole(tmp_path):
    assert read_rows(tmp_path, 0) == []
    append_row(tmp_path, ROW)
    append_row(tmp_path, Row(50, 100, {1.0: 0.1}, 90.0, 2.0))
    with open(tmp_path / "rows.jsonl", "a") as file:
        file.write('{"iteration": 7')  # still being written
    assert read_rows(tmp_path, 0)[0] == ROW
    assert [row.iteration for row in read_rows(tmp_path, 1)] == [50]
    assert read_rows(tmp_path, 2) == []
