"""Sources that were sound, or nearly, and are changed at random."""

from __future__ import annotations

import random
from typing import Iterator

from cases import ANY, MOST_MEMORY, Case

# Longer sources are not changed: most of them is the same byte.
LONGEST = 64 * 1024
INTERESTING = [b"\0", b"\xff", b"\x7f", b"\x80", b'"', b"\\", b"\n", b"\r", b"{", b"[", b",", b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd",
               b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"null", b"NaN", b"1e999", b"\xef\xbb\xbf", b"\xed\xa0\x80"]


def mutated(kind: str, cases: list[Case], count: int, seed: int) -> Iterator[Case]:
    """`count` of them; the same for the same seed."""
    choices = random.Random(f"{kind} {seed}")
    sources = [case for case in cases if isinstance(case.body, bytes) and 0 < len(case.body) <= LONGEST and "INSTEAD" not in case.query]
    for number in range(count):
        case, other = choices.choice(sources), choices.choice(sources)
        assert isinstance(case.body, bytes) and isinstance(other.body, bytes)
        body = bytearray(case.body)
        for _ in range(choices.choice((1, 1, 1, 2, 3, 8, 30))):
            change(choices, body, other.body)
        yield Case(f"{kind}/mutation {number} of {case.name}", bytes(body), ANY, query=case.query, headers=case.headers, memory=MOST_MEMORY)


def change(choices: random.Random, body: bytearray, other: bytes) -> None:
    at = choices.randrange(len(body) + 1)
    end = min(len(body), at + choices.choice((1, 1, 2, 4, 16, 200)))
    match choices.randrange(8):
        case 0 if at < len(body):
            body[at] ^= 1 << choices.randrange(8)
        case 1 if at < len(body):
            body[at] = choices.randrange(256)
        case 2:
            del body[at:end]
        case 3:
            body[at:at] = choices.choice(INTERESTING)
        case 4:
            body[at:end] = choices.choice(INTERESTING)
        case 5:
            body[at:at] = body[at:end] * choices.choice((1, 2, 50))
        case 6:
            cut = choices.randrange(len(other) + 1)
            body[at:] = other[cut:]
        case _:
            del body[at:]
