"""The history of a run: every request with its start, end and outcome, as JSON lines.

Each process writes a file of its own into the directory of the run; times are of CLOCK_MONOTONIC, which all
processes of a machine share. A read is a list that begins with "r", anything else an object with its type
in "t". What a read should have given is never written: `rules.py` works it out again from the seed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Line = dict[str, Any]
# A place in the universe, or a key that has none.
KeyToken = int | str


class Read(NamedTuple):
    """One read, as it was asked and answered."""

    start: float
    end: float
    connection: str
    dataset: str
    # get, batch or scan.
    kind: str
    # Keys; of a scan its prefix, the key it goes on behind, and its limit.
    asked: list[Any]
    # The version that was asked for, if one was.
    pinned: int | None
    # ok, absent (of one key), error, or unknown: sent, and no answer.
    outcome: str
    status: int
    code: str | None
    # What the answer says it was read from.
    version: int | None
    # The contents that the values say they are of.
    claimed: list[int]
    digest: str
    # Of a scan: there is no more.
    end_of_scan: bool
    # Some of what does not fit the claim, for the message.
    wrong: list[Any]


class Writer:
    """Appends lines; several threads may."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", buffering=1 << 20)
        self._lock = threading.Lock()

    def add(self, kind: str, **fields: Any) -> None:
        self._write({"t": kind, **fields})

    def read(self, read: Read) -> None:
        self._write(["r", *read])

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _write(self, line: Any) -> None:
        text = json.dumps(line, separators=(",", ":")) + "\n"
        with self._lock:
            if not self._file.closed:
                self._file.write(text)


def lines(directory: Path) -> Iterator[Read | Line]:
    """Everything that was written, file by file."""
    paths = sorted(directory.glob("*.jsonl"))
    if not paths:
        raise FileNotFoundError(f"{directory} holds no history")
    for path in paths:
        with path.open() as file:
            for text in file:
                line = json.loads(text)
                yield Read(*line[1:]) if isinstance(line, list) else line
