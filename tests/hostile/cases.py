"""What a hostile source is, and what must come of it: bytes, and one expected code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, Iterator

ACCEPTED = "accepted"
# Any refusal that blames the data, or acceptance: for sources that were changed at random.
ANY = "any"

# The one status that each code may be answered with.
STATUS = {
    ACCEPTED: 201,
    "bad_rows": 422,
    "no_rows": 422,
    "value_too_large": 422,
    "duplicate_keys": 422,
    "build_limit": 422,
    "decompression_limit": 413,
    "payload_too_large": 413,
    "invalid_setting": 400,
    "invalid_parameter": 400,
    "unknown_parameter": 400,
    "invalid_header": 400,
    "encoding_mismatch": 400,
    "digest_mismatch": 400,
    "unsupported_encoding": 415,
}

MIB = 1 << 20

# What a builder may have resident at most, unless a case says otherwise: its sorting has 64 MiB.
USUAL_MEMORY = 256 * MIB
# What a builder may have at all: twice what it sorts with, and 1.5 GiB.
MOST_MEMORY = 1700 * MIB


@dataclass
class Case:
    """One source. `body` is its bytes, or gives them piece by piece where they are too many."""

    name: str
    body: bytes | Callable[[], Iterable[bytes]]
    expected: str
    # The row or line that the answer must name; 0: none, None: any, where rows are at fault.
    row: int | None = None
    # How many records an accepted source has, and some of its values.
    records: int | None = None
    values: dict[str, Any] = field(default_factory=dict)
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    # What its builder may have resident at most.
    memory: int = USUAL_MEMORY


def numbered(prefix: str, cases: Iterable[Case]) -> Iterator[Case]:
    """The same cases under names that are told apart."""
    for number, case in enumerate(cases):
        case.name = f"{prefix}/{number:03d} {case.name}"
        yield case


def repeated(piece: bytes, size: int, before: bytes = b"", after: bytes = b"") -> Callable[[], Iterable[bytes]]:
    """A body of about `size` bytes that is never in memory as a whole."""

    def give() -> Iterator[bytes]:
        block = piece * max(1, 65536 // len(piece))
        yield before
        for _ in range(size // len(block)):
            yield block
        yield after

    return give
