import dataclasses
import os

import pytest

from orchestration.errors import ConfigError, DataError, MachineError
from orchestration.journal import Journal, Record


def record(index: int, quality: float = 1.5) -> Record:
    return Record(
        index=index,
        generation=index // 2,
        key=f"{index:012x}",
        steps=((900, 0.25), (400, 1.0)),
        quality=quality,
        quality_se=0.1,
        delta=1 / 3,
        delta_se=1e-300,
        macs=2**60 + 1,
        calls=200,
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


def test_what_was_appended_is_read_again_exactly(path):
    written = [record(i, quality=1 / (i + 3)) for i in range(5)]
    journal = Journal(path, "abc")
    journal.append(written[:2])
    journal.append(written[2:])
    assert Journal(path, "abc").records == written
    assert Journal(path, "abc").stopped is None


def test_what_a_race_adds_to_a_record_is_kept_and_without_one_nothing_is_written(tmp_path):
    plain, raced = tmp_path / "plain", tmp_path / "raced"
    Journal(plain, "abc").append([record(0)])
    assert b"num_images" not in plain.read_bytes() and b"complete" not in plain.read_bytes()
    written = [
        dataclasses.replace(record(0), num_images=2000),
        dataclasses.replace(record(1), num_images=250, complete=False),
    ]
    Journal(raced, "abc").append(written)
    assert Journal(raced, "abc").records == written


def test_the_same_records_give_the_same_bytes_however_they_were_appended(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    Journal(one, "abc").append([record(0), record(1)])
    journal = Journal(two, "abc")
    journal.append([record(0)])
    journal.append([record(1)])
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_an_unfinished_last_line_is_cut_off_and_the_rest_stays(path, cut):
    Journal(path, "abc").append([record(0), record(1)])
    whole = path.read_bytes()
    os.truncate(path, len(whole) - cut)
    journal = Journal(path, "abc")
    assert journal.records == [record(0)]
    journal.append([record(1)])
    assert path.read_bytes() == whole


def test_every_flipped_byte_of_an_earlier_line_is_found_and_the_line_named(path):
    Journal(path, "abc").append([record(0), record(1)])
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for offset in range(0, len(lines[1]) - 1, 7):
        damaged = bytearray(lines[1])
        damaged[offset] ^= 1
        path.write_bytes(lines[0] + bytes(damaged) + lines[2])
        with pytest.raises(DataError, match="line [23]"):
            Journal(path, "abc")


def test_a_missing_line_is_found(path):
    Journal(path, "abc").append([record(i) for i in range(3)])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[3])
    with pytest.raises(DataError, match="line 3"):
        Journal(path, "abc")


def test_another_search_is_refused(path):
    Journal(path, "abc")
    with pytest.raises(ConfigError, match="another search"):
        Journal(path, "abd")


def test_records_that_are_there_already_are_passed_over_if_equal(path):
    journal = Journal(path, "abc")
    journal.append([record(0), record(1)])
    before = path.read_bytes()
    journal.append([record(1)])
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="differently"):
        journal.append([dataclasses.replace(record(1), quality=1.6)])
    with pytest.raises(ValueError, match="ask order"):
        journal.append([record(3)])


def test_a_stop_is_kept_and_said_once(path):
    journal = Journal(path, "abc")
    journal.append([record(0)])
    journal.stop("300 candidates scored")
    journal.stop("again")
    assert Journal(path, "abc").stopped == "300 candidates scored"


def test_a_journal_that_cannot_be_written_says_where(tmp_path):
    with pytest.raises(MachineError, match="nowhere"):
        Journal(tmp_path / "nowhere" / "journal.jsonl", "abc")
