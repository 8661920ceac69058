"""Faults that the checker makes itself, while nobody serves the directory."""

from __future__ import annotations

import os
import random
from pathlib import Path


class PowerCut:
    """Loses what was not synced, as far as it can be known from outside: the end of the journal.

    A build with faults notes the number and the size of each file when a sync of it has succeeded, next to
    that call. What a kill leaves in the journal behind that size is in the page cache alone: a power cut
    would lose it, or a part of it. (Other files: tests/torture/crash.)
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "synced"
        self.path.write_text("")
        self.read = 0
        self.synced: dict[int, int] = {}

    def variable(self) -> str:
        return f"synced:{self.path}"

    def strike(self, data: Path, chance: random.Random) -> int:
        """Cuts the journal; how many bytes were lost."""
        with self.path.open() as file:
            file.seek(self.read)
            for line in file:
                if line.endswith("\n"):
                    number, size = line.split()
                    self.synced[int(number)] = int(size)
                    self.read += len(line)
        journal = data / "journal"
        if not journal.exists():
            return 0
        told = os.stat(journal)
        synced = self.synced.get(told.st_ino, 0)
        if told.st_size <= synced:
            return 0
        left = synced if chance.random() < 0.5 else chance.randint(synced, told.st_size - 1)
        os.truncate(journal, left)
        return told.st_size - left


def damage(version: Path, chance: random.Random, places: int) -> bool:
    """Changes some bits in the tables of a stored version, keeping their sizes."""
    tables = sorted(version.glob("*.sst"))
    for table in tables:
        size = table.stat().st_size
        with table.open("r+b") as file:
            for _ in range(places):
                # Records stand at the beginning; what RocksDB says of them at the end.
                at = chance.randrange(size * 3 // 4)
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return bool(tables)
