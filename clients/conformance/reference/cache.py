"""Values that were read before, and when they may be given again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Hashable

from wrongs import wrong


@dataclass
class Entry:
    value: Any
    version: int | None
    etag: str | None
    found: bool = True
    read_at: float = 0.0


def name(dataset: str, key: bytes, fields: list[str] | None, version: int | None, unit: str | None) -> tuple[Hashable, ...]:
    """What an entry is found by."""
    if wrong("cache_by_key_alone"):
        return ("", key)
    if wrong("cache_key_joined"):
        return (dataset, ":".join([key.decode(errors="replace"), *(fields or [])]), version)
    return (dataset, key, tuple(fields) if fields is not None else None, version, None if wrong("cache_without_unit") else unit)


class Cache:
    def __init__(self, ttl: float, mode: str) -> None:
        self.ttl, self.mode = ttl, mode
        self.entries: dict[tuple[Hashable, ...], Entry] = {}
        # The version that the last answer of each dataset showed.
        self.versions: dict[str, int] = {}

    def fresh(self, entry: Entry, pinned: bool) -> bool:
        """Whether it may be given without asking."""
        if wrong("no_cache"):
            return False
        if wrong("cache_never_expires") or (pinned and not wrong("pinned_expires")):
            return True
        return time.monotonic() - entry.read_at < self.ttl

    def keep(self, key: tuple[Hashable, ...], entry: Entry) -> None:
        entry.read_at = time.monotonic()
        self.entries[key] = entry

    def saw(self, dataset: str, version: int | None, pinned: bool) -> None:
        """An answer of this dataset showed this version."""
        if self.mode != "version" or version is None or wrong("cache_mode_ignored") or (pinned and not wrong("pinned_drops")):
            return
        if self.versions.get(dataset, version) != version:
            self.entries = {key: entry for key, entry in self.entries.items() if key[0] != dataset or (len(key) > 3 and key[3] is not None)}
        self.versions[dataset] = version
