import errno
import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from orchestration import files
from orchestration.errors import DataError, MachineError


def test_json_is_canonical_and_comes_back(tmp_path):
    path = tmp_path / "deep" / "front.json"
    files.write_json(path, {"b": [1, 2.5, None], "a": {"d": 0.1, "c": "é"}})
    first = path.read_bytes()
    files.write_json(path, {"a": {"c": "é", "d": 0.1}, "b": [1, 2.5, None]})
    assert path.read_bytes() == first
    assert first.endswith(b"}\n") and first.index(b'"a"') < first.index(b'"b"')
    assert files.read_json(path) == {"a": {"c": "é", "d": 0.1}, "b": [1, 2.5, None]}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number(tmp_path, number):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"quality": number})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "front.json"
    files.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineError, match="front.json: No space left on device; expected"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_really_full_is_a_machine_error():
    with pytest.raises(MachineError, match="No space left"), files.disk_errors(files.Path("x")):
        with open("/dev/full", "wb") as file:
            file.write(b"x")


def test_the_content_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), rename(a, b)))
    files.write_bytes(tmp_path / "a", b"x")
    assert events == ["sync", "rename", "sync"]  # the last one is the folder


def test_readers_of_a_file_being_rewritten_see_one_whole_version(tmp_path):
    path = tmp_path / "a"
    versions = {bytes([letter]) * 100_000 for letter in b"ab"}
    files.write_bytes(path, min(versions))

    def rewrite():
        for _ in range(20):
            for version in versions:
                files.write_bytes(path, version)

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= versions


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"", None])
def test_unreadable_json_is_a_data_error_with_its_path(tmp_path, content):
    path = tmp_path / "front.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="front.json"):
        files.read_json(path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"a" * 100)
    (tmp_path / "b.bin").write_bytes(b"b")
    files.write_manifest(tmp_path, ["a.bin", "b.bin"], {"format": "x/1"})
    return tmp_path


def test_a_manifest_holds_the_sha256_of_each_file(folder):
    manifest = files.check_manifest(folder)
    assert manifest["format"] == "x/1"
    assert manifest["files"]["a.bin"] == hashlib.sha256(b"a" * 100).hexdigest()


@pytest.mark.parametrize("position", [0, 57, 99])
def test_one_flipped_bit_is_found_and_named_with_both_sums(folder, position):
    content = bytearray(b"a" * 100)
    content[position] ^= 1
    (folder / "a.bin").write_bytes(content)
    expected, found = (hashlib.sha256(x).hexdigest() for x in (b"a" * 100, content))
    with pytest.raises(DataError, match=f"a.bin is damaged: .*{expected}.*{found}"):
        files.check_manifest(folder)


def test_missing_files_and_manifests_are_named(folder):
    (folder / "b.bin").unlink()
    with pytest.raises(DataError, match="b.bin"):
        files.check_manifest(folder)
    files.write_json(folder / "manifest.json", {"format": "x/1"})
    with pytest.raises(DataError, match="manifest.json: expected"):
        files.check_manifest(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(DataError, match="manifest.json"):
        files.check_manifest(folder)


def test_a_folder_appears_complete_and_takes_the_place_of_an_older_one(tmp_path):
    path = tmp_path / "supernet"
    for text in ("old", "new"):
        with files.new_folder(path) as unfinished:
            (unfinished / "inner").mkdir()
            (unfinished / "inner" / text).write_text(text)
            assert not (path / "inner" / text).exists()
        assert [item.name for item in (path / "inner").iterdir()] == [text]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_whose_body_fails_leaves_no_trace(tmp_path):
    path = tmp_path / "supernet"
    with files.new_folder(path) as unfinished:
        (unfinished / "old").write_text("old")
    with pytest.raises(RuntimeError), files.new_folder(path) as unfinished:
        (unfinished / "new").write_text("new")
        raise RuntimeError
    assert [item.name for item in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


HOLD = """
import sys
from pathlib import Path
from orchestration.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_names_its_holder_and_goes_with_it(tmp_path):
    path = tmp_path / "run" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(MachineError, match=f"held by pid {holder.pid} "), files.lock(path):
        pytest.fail("two hold the lock")
    holder.kill()
    holder.communicate()
    with files.lock(path):
        assert path.read_text().startswith(f"pid {os.getpid()} ")
    with files.lock(path):  # and it can be taken again
        pass


def test_a_lock_passes_on_the_errors_of_its_body(tmp_path):
    with pytest.raises(FileNotFoundError), files.lock(tmp_path / ".lock"):
        raise FileNotFoundError


def test_what_two_want_at_once_is_made_once(tmp_path):
    path, made = tmp_path / "cache" / "thing", []

    def want(started, name):
        with files.cached_folder(path) as unfinished:
            started.set()
            if unfinished is not None:
                time.sleep(0.5)
                (unfinished / "who").write_text(name)
                files.write_manifest(unfinished, ["who"], {})
                made.append(name)

    started = threading.Event()
    first = threading.Thread(target=want, args=(started, "first"))
    first.start()
    assert started.wait(60)
    want(threading.Event(), "second")
    first.join()
    assert made == ["first"] and (path / "who").read_text() == "first"


def test_what_could_not_be_made_is_made_by_the_next(tmp_path):
    path = tmp_path / "thing"
    with pytest.raises(ValueError, match="half-way"), files.cached_folder(path) as unfinished:
        (unfinished / "half").write_text("")
        raise ValueError("half-way")
    assert not path.exists()
    with files.cached_folder(path) as unfinished:
        assert list(unfinished.iterdir()) == []
        files.write_manifest(unfinished, [], {})
    with files.cached_folder(path) as unfinished:
        assert unfinished is None


def test_a_lock_is_waited_for_as_long_as_asked(tmp_path):
    with files.lock(tmp_path / "l"), pytest.raises(MachineError, match="held by"):
        start = time.monotonic()
        with files.lock(tmp_path / "l", patience_s=0.3):
            pass
    assert time.monotonic() - start >= 0.3
