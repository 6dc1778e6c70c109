"""The journal of a search: one checksummed line for every scored candidate, only ever appended.

It is the truth that a search resumes from; the optimizer, MLflow, tables and plots are made again
from it. A line is `{"check": <16 hex of sha256 of the rest>, ...}` in canonical JSON, holds no
times, and floats survive it exactly, so that the same search writes the same bytes. The first line
names the format and the fingerprint of the search; a last one says why the search stopped.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from orchestration.errors import ConfigError, DataError, MachineError

FORMAT = "step-journal/1"


@dataclass(frozen=True)
class Record:
    """A scored candidate.

    Args:
        index: position in ask order, from 0.
        generation: of the optimizer, from 0.
        key: of its schedule.
        steps: (t, width) pairs in sampling order.
        quality: lower is better; at the search's number of images.
        quality_se: its standard error.
        delta: paired difference of quality from the baseline's; 0 for the baseline.
        delta_se: its standard error.
        macs: multiply-accumulates of one sample.
        calls: network calls x images that it added to those of earlier candidates (see
            `search_spaces.prefixes.charge`).
        num_images: that it was scored on in a race (`racing.py`), else None.
        complete: scored on as many images as any; only such candidates are on the front.
    """

    index: int
    generation: int
    key: str
    steps: tuple[tuple[int, float], ...]
    quality: float
    quality_se: float
    delta: float
    delta_se: float
    macs: int
    calls: int
    num_images: int | None = None
    complete: bool = True


class Journal:
    """The open journal of one run; the caller holds the run's lock.

    Args:
        path: `journal.jsonl`; made with its first line where it is missing.
        fingerprint: of the configuration that the candidates' values depend on.

    Raises:
        ConfigError: the journal belongs to another search.
        DataError: a line before the last is damaged, or a last line that is whole fails its check.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.records: list[Record] = []
        self.stopped: str | None = None
        lines = _read_whole_lines(path)
        if lines:
            self._replay(lines, fingerprint)
        else:
            self._write([{"format": FORMAT, "search": fingerprint}])

    def append(self, records: Sequence[Record]) -> None:
        """Adds records that follow the last one and returns once they are on disk.

        Records that are already there are passed over, if they are the same ones.
        """
        new = [record for record in records if record.index >= len(self.records)]
        if any(self.records[r.index] != r for r in records if r.index < len(self.records)):
            raise DataError(f"{self.path}: a candidate was scored again and came out differently")
        if [record.index for record in new] != list(
            range(len(self.records), len(self.records) + len(new))
        ):
            raise ValueError("records must follow each other in ask order")
        self._write([_row(record) for record in new])
        self.records += new

    def stop(self, reason: str) -> None:
        """Marks the search as complete, so that a resume goes on to what follows it."""
        if self.stopped is None:
            self._write([{"stopped": reason}])
            self.stopped = reason

    def _replay(self, lines: Sequence[bytes], fingerprint: str) -> None:
        rows = [_checked(line, f"{self.path}, line {n}") for n, line in enumerate(lines, 1)]
        head = rows[0]
        if head.get("format") != FORMAT:
            raise DataError(f"{self.path}, line 1: expected format {FORMAT!r}, got {head!r}")
        if head["search"] != fingerprint:
            raise ConfigError(
                f"{self.path} is the journal of another search ({head['search']}, this one is"
                f" {fingerprint}): give another --out"
            )
        for row in rows[1:]:
            if "stopped" in row:
                self.stopped = row["stopped"]
            else:
                self.records.append(self._record(row))

    def _record(self, row: dict[str, Any]) -> Record:
        steps = tuple((t, width) for t, width in row.pop("steps"))
        record = Record(steps=steps, **row)
        if record.index != len(self.records):
            raise DataError(
                f"{self.path}, line {len(self.records) + 2}: holds candidate {record.index},"
                f" expected {len(self.records)}: a line is missing"
            )
        return record

    def _write(self, rows: Iterable[dict[str, Any]]) -> None:
        data = b"".join(_line(row) for row in rows)
        try:
            with open(self.path, "ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MachineError(f"{self.path}: cannot append to the journal: {error}") from error


def has_candidates(path: Path) -> bool:
    """Whether a journal holds more than its first line; nothing is checked."""
    return len(_read_whole_lines(path)) > 1


def _row(record: Record) -> dict[str, Any]:
    """A record without the values that it need not name."""
    defaults = {field.name: field.default for field in fields(Record)}
    return {key: value for key, value in vars(record).items() if value != defaults[key]}


def _line(row: dict[str, Any]) -> bytes:
    body = _canonical(row)
    return _canonical({"check": sha256(body).hexdigest()[:16], **row}) + b"\n"


def _canonical(row: dict[str, Any]) -> bytes:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _checked(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        check = row.pop("check")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{where}: not a journal line ({error})") from error
    if sha256(_canonical(row)).hexdigest()[:16] != check:
        raise DataError(f"{where}: damaged, its checksum does not match")
    return row


def _read_whole_lines(path: Path) -> list[bytes]:
    """The complete lines of the file; what a kill left of an unfinished one is cut off."""
    if not path.exists():
        return []
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        with open(path, "r+b") as file:
            file.truncate(end)
    return data[:end].splitlines()
