"""Values that prove whose they are.

A push is one Content: a dataset, a number that the checker gives it, and the seed of the run. From these
follow its keys and every byte of its values, so that any single answer shows which push it came from and
whether a byte of it was changed. Each content has keys that no other has, and lacks some that others have.

The number is the checker's, not the version: of a push in one request the server chooses the version after
the bytes were sent. The label of a push says its number, so that what the server calls it is found again
after a kill.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from functools import lru_cache

# One of so many keys of the universe is missing in each content.
LACKING_ONE_IN = 16
# How many keys each content has to itself.
OWN_KEYS = 4
# Contents from this number on have their own keys alone: pushes that a gate must refuse.
TINY = 1_000_000


def key_of(index: int) -> str:
    """The key of a place in the universe. They sort by place; some need every kind of escaping."""
    odd = index % 50
    if odd == 7:
        return f"k{index:06}/a%2Fb c+d"
    if odd == 23:
        return f"k{index:06}:\u00fc\u6f6e\"\\"
    return f"k{index:06}"


@lru_cache(maxsize=16)
def shared_keys(universe: int) -> list[tuple[str, bytes]]:
    """All keys of a universe, in the order of their bytes; as texts and as bytes."""
    keys = map(key_of, range(universe))
    return [(key, key.encode()) for key in keys]


def own_keys(dataset: str, number: int) -> list[str]:
    return [f"only:{dataset}:{number}:{i}" for i in range(OWN_KEYS)]


class Content:
    """What one push holds."""

    def __init__(self, seed: str, dataset: str, number: int, universe: int) -> None:
        self.seed = seed.encode()
        self.dataset = dataset
        self.number = number
        self.universe = universe
        self._prefix = f"{dataset}\0{number}\0".encode()
        self._keys: list[str] | None = None
        self._own = frozenset(own_keys(dataset, number))

    def label(self) -> str:
        return f"c{self.number}"

    def has(self, key: str) -> bool:
        if key.startswith("only:"):
            return key in self._own
        if self.number >= TINY or not key.startswith("k"):
            return False
        index = int(key[1:7]) if key[1:7].isdigit() else -1
        if not 0 <= index < self.universe or key_of(index) != key:
            return False
        return self._digest(key)[0] % LACKING_ONE_IN != 0

    def value(self, key: str) -> bytes:
        """The stored bytes of a key that it has: one JSON text."""
        digest = self._digest(key)
        length = 8 + digest[1] // 2
        if digest[2] == 0:
            # Longer than a block of a table.
            length += 4096
        noise = hashlib.shake_128(digest).hexdigest(length)
        return f'"{self.dataset}:{self.number}:{digest[:4].hex()}:{2 * length}:{noise}"'.encode()

    def expected(self, key: str) -> bytes | None:
        return self.value(key) if self.has(key) else None

    def keys(self) -> list[str]:
        """All its keys, in the order of their bytes."""
        if self._keys is None:
            shared = [] if self.number >= TINY else shared_keys(self.universe)
            digest, prefix, seed = hashlib.blake2b, self._prefix, self.seed
            has = [
                key
                for key, raw in shared
                if digest(prefix + raw, digest_size=24, key=seed).digest()[0] % LACKING_ONE_IN
            ]
            self._keys = has + sorted(self._own)
        return self._keys

    def page(self, prefix: str, after: str | None, limit: int) -> list[str]:
        """The keys that one page of a scan gives: those that begin with `prefix`, behind `after`."""
        keys = self.keys()
        start = bisect_left(keys, prefix) if after is None else bisect_right(keys, after)
        page = []
        for key in keys[start : start + limit]:
            if not key.startswith(prefix):
                break
            page.append(key)
        return page

    def rows(self) -> bytes:
        """The rows to push, as NDJSON with the fields `k` and `v`."""
        lines = [
            b'{"k":' + json.dumps(key).encode() + b',"v":' + self.value(key) + b"}"
            for key in self.keys()
        ]
        return b"\n".join(lines) + b"\n"

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(self._prefix + key.encode(), digest_size=24, key=self.seed).digest()


class Contents:
    """All contents of a run: made when they are asked for, the latest kept."""

    def __init__(self, seed: str, universes: dict[str, int]) -> None:
        self.seed = seed
        self.universes = universes

    def of(self, dataset: str, number: int) -> Content:
        return _content(self.seed, dataset, number, self.universes[dataset])


@lru_cache(maxsize=256)
def _content(seed: str, dataset: str, number: int, universe: int) -> Content:
    return Content(seed, dataset, number, universe)


def claimed(value: bytes) -> tuple[str, int] | None:
    """The dataset and number that a value says it is of, true or not."""
    parts = value[1:-1].split(b":", 2)
    try:
        return parts[0].decode(), int(parts[1])
    except (IndexError, ValueError):
        return None


def number_of_label(label: str | None) -> int | None:
    """The inverse of `Content.label`."""
    if label and label.startswith("c") and label[1:].isdigit():
        return int(label[1:])
    return None


def digest_of(found: list[bytes | None]) -> str:
    """What an answer gave, in short: equal for equal values in equal order. `None` is an absent key."""
    whole = hashlib.blake2b(digest_size=8)
    for value in found:
        whole.update(b"-" if value is None else b"+%d:" % len(value) + value)
    return whole.hexdigest()
