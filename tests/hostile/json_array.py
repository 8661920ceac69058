"""JSON arrays that are cut, mixed up, deep, long, or no arrays of objects."""

from __future__ import annotations

import json
from typing import Iterator

import ndjson
from cases import ACCEPTED, MIB, MOST_MEMORY, Case, repeated

QUERY = "key=k&format=json"
GOOD = b'[{"k":"ada","n":1},\n {"k":"bob","n":[2,{"x":"]}\\""}]},{"k":"cy"}]'


def cases() -> Iterator[Case]:
    yield Case("sound", GOOD, ACCEPTED, records=3, values={"bob": {"k": "bob", "n": [2, {"x": ']}"'}]}})
    yield Case("no bytes", b"", "no_rows", row=0)
    for end in range(1, len(GOOD)):
        yield Case(f"cut after {end}", GOOD[:end], "bad_rows")
    for row in ndjson.rows_at_fault():
        lines = row.body.split(b"\n") if isinstance(row.body, bytes) else []
        if len(lines) < 3 or row.expected != "bad_rows" or not lines[2].strip():
            continue
        bad = lines[2]
        yield Case(f"an element {bad[:30]!r}", b'[{"k":1},' + bad + b"]", row.expected, row=None)
    for text in [b"{}", b"null", b"1", b'"a"', b"[1]", b"[[]]", b"[null]", b"[,]", b'[{"k":1},]', b'[{"k":1}]]', b'[{"k":1}][', b'[{"k":1}]x',
                 b"[{]", b"[}]", b'[{"k":1}}]', b'[{"k":1]]', b"\xff[", b'[{"k":1}\0]', b'[{"k":1}{"k":2}]', b'[{"k":1};{"k":2}]']:
        yield Case(f"{text!r}", text, "bad_rows")
    for empty in [b"[]", b" [ ] ", b"\n", b"\xef\xbb\xbf[]"]:
        yield Case(f"{empty!r}", empty, "no_rows", row=0)
    many = json.dumps([{"k": n} for n in range(900)], indent=2).encode()
    yield Case("indented", many, ACCEPTED, records=900, values={"899": {"k": 899}})
    yield Case("deep", b'[{"k":1,"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "bad_rows", row=1)
    yield Case("brackets alone", b"[" * 1_000_000, "bad_rows")
    yield Case("an element without end", repeated(b"x", 80 * MIB, b'[{"k":"', b'"}]'), "bad_rows", row=1, memory=MOST_MEMORY)
    yield Case("space without end", repeated(b" ", 80 * MIB, b"[", b'{"k":1}]'), ACCEPTED, records=1)
