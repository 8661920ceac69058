"""Values kept on this side, right across swaps.

What is kept are the bytes of an answer, decoded anew each time they are given: whoever changes a list it was
given changes nothing here. An entry is given unasked for `ttl` seconds, then only after the server has said
that its ETag still holds. In the mode `version` only entries of the version that is served are given unasked; an
answer that was under way while another version was seen does not say which one that is. Batches are not
kept: one of them comes from one version, which a mixture of older entries does not.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import NamedTuple, Optional

from .settings import CachePolicy

# Dataset, version or None, key, fields, unit.
Place = tuple[str, Optional[int], bytes, Optional[tuple[str, ...]], Optional[str]]

# What an entry costs besides its key and value, roughly.
ENTRY_BYTES = 400


class Kept(NamedTuple):
    """One answer."""

    body: bytes
    content_type: str
    version: int
    etag: Optional[str]
    as_of: Optional[str]
    fresh_until: float

    def size(self) -> int:
        return ENTRY_BYTES + len(self.body)


class Seen(NamedTuple):
    """The version that a dataset showed last, and when that was known."""

    version: int
    at: float
    # Not, if the request was under way when another version was seen: either may be the newer one.
    sure: bool


class Cache:
    """Entries by place, the least recently used given up first. Any thread may call it."""

    def __init__(self, policy: CachePolicy) -> None:
        self.policy = policy
        self._entries: OrderedDict[Place, Kept] = OrderedDict()
        self._bytes = 0
        self._seen: dict[str, Seen] = {}
        self.renew_lock()
        _caches.add(self)

    def renew_lock(self) -> None:
        """After a fork: another thread may have held it."""
        self._lock = threading.Lock()

    def get(self, place: Place, now: float) -> tuple[Optional[Kept], bool]:
        """The entry, and whether it may be given unasked."""
        with self._lock:
            kept = self._entries.get(place)
            if kept is None:
                return None, False
            self._entries.move_to_end(place)
            if place[1] is not None:
                return kept, True
            fresh = now < kept.fresh_until
            if fresh and self.policy.mode == "version":
                seen = self._seen.get(place[0])
                fresh = seen is not None and seen.sure and seen.version == kept.version
            return kept, fresh

    def put(self, place: Place, kept: Kept) -> None:
        with self._lock:
            self._remove(place)
            size = kept.size() + len(place[2])
            if size > self.policy.max_bytes:
                return
            self._entries[place] = kept
            self._bytes += size
            while len(self._entries) > self.policy.max_entries or self._bytes > self.policy.max_bytes:
                self._remove(next(iter(self._entries)))

    def remove(self, place: Place) -> None:
        with self._lock:
            self._remove(place)

    def saw(self, dataset: str, version: int, began: float, now: float) -> bool:
        """An answer of what is served came from this version; its request was sent at `began` or later. Whether
        the answer may be kept: False if it may be older than what was seen before.
        """
        if self.policy.mode != "version":
            return True
        with self._lock:
            before = self._seen.get(dataset)
            sure = before is None or began > before.at or (before.sure and before.version == version)
            if not sure and before is not None and before.version == version:
                # Its time stays: else requests that overlap would never let it become certain.
                return False
            if before is None and len(self._seen) >= self.policy.max_entries:
                self._seen.clear()
            self._seen[dataset] = Seen(version, now, sure)
            return sure

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._seen.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def _remove(self, place: Place) -> None:
        kept = self._entries.pop(place, None)
        if kept is not None:
            self._bytes -= kept.size() + len(place[2])


_caches: weakref.WeakSet[Cache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in list(_caches):
        cache.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
