"""Avro files, made by hand: cut, lying about what they hold, or growing without reason."""

from __future__ import annotations

import json
import zlib
from typing import Any, Iterator

from cases import ACCEPTED, MIB, MOST_MEMORY, Case

QUERY = "key=k&format=avro"
SYNC = b"0123456789abcdef"
FIELDS = [{"name": "k", "type": "string"}, {"name": "n", "type": ["null", "long"]}]


def long(number: int) -> bytes:
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    rest &= (1 << 64) - 1
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def text(content: bytes) -> bytes:
    return long(len(content)) + content


def header(fields: Any = None, codec: bytes = b"null", schema: bytes | None = None) -> bytes:
    described = schema if schema is not None else json.dumps({"type": "record", "name": "r", "fields": fields or FIELDS}).encode()
    return b"Obj\x01" + long(2) + text(b"avro.schema") + text(described) + text(b"avro.codec") + text(codec) + long(0) + SYNC


def block(rows: int, data: bytes, size: int | None = None, sync: bytes = SYNC) -> bytes:
    return long(rows) + long(len(data) if size is None else size) + data + sync


def row(key: bytes, number: int | None = None) -> bytes:
    return text(key) + (long(0) if number is None else long(1) + long(number))


ROWS = row(b"ada", 1) + row(b"bob") + row(b"cy", -5)
GOOD = header() + block(2, row(b"ada", 1) + row(b"bob")) + block(1, row(b"cy", -5))


def cases() -> Iterator[Case]:
    yield Case("sound", GOOD, ACCEPTED, records=3, values={"ada": {"k": "ada", "n": 1}, "bob": {"k": "bob", "n": None}})
    ends = {len(header()): 0, len(header() + block(2, row(b"ada", 1) + row(b"bob"))): 2}
    for end in range(1, len(GOOD)):
        if end in ends:
            # Nothing in a file says how many blocks it has.
            yield Case(f"cut after {end}", GOOD[:end], ACCEPTED if ends[end] else "no_rows", row=0)
        else:
            yield Case(f"cut after {end}", GOOD[:end], "bad_rows")
    for rows in [-(2**63), -1, 1, 2, 4, 5, 1000, 2**31, 2**40, 2**62]:
        yield Case(f"{rows} rows claimed for 3", header() + block(rows, ROWS), "bad_rows")
    for size in [-(2**63), -1, 0, 1, len(ROWS) - 1, len(ROWS) + 1, 1000, 2**31, 2**40, 2**62]:
        yield Case(f"{size} bytes claimed", header() + block(3, ROWS, size), "bad_rows")
    yield Case("another mark", header() + block(3, ROWS, sync=SYNC[::-1]), "bad_rows")
    yield Case("ten empty blocks", header() + block(0, b"") * 10 + block(3, ROWS), ACCEPTED, records=3)
    for length in [-(2**63), -1, 1000, 2**31, 2**40, 2**62]:
        yield Case(f"a text of {length}", header() + block(1, long(length) + b"ada"), "bad_rows")
    for branch in [-1, 2, 3, 2**40]:
        yield Case(f"branch {branch} of a union of two", header() + block(1, text(b"ada") + long(branch)), "bad_rows")
    yield Case("a text that is no UTF-8", header() + block(1, row(b"\xff\xfe")), "bad_rows")
    yield Case("no key", header() + block(1, row(b"")), "bad_rows")
    yield from schemas()
    yield from growing()
    yield Case("a key twice", header() + block(2, row(b"a", 1) + row(b"a", 2)), "duplicate_keys")


def schemas() -> Iterator[Case]:
    for name, schema in {
        "empty": b"", "no JSON": b"{", "a number": b"1", "a string": b'"string"', "an array": b'{"type":"array","items":"string"}',
        "no fields": b'{"type":"record","name":"r"}', "fields are no list": b'{"type":"record","name":"r","fields":1}',
        "an unknown type": b'{"type":"record","name":"r","fields":[{"name":"k","type":"odd"}]}',
        "deep": b'{"type":"record","name":"r","fields":[{"name":"k","type":' + b'{"type":"array","items":' * 5000 + b'"int"' + b"}" * 5000 + b"}]}",
        "itself": b'{"type":"record","name":"r","fields":[{"name":"k","type":"string"},{"name":"r","type":"r"}]}',
        "a fixed of much": b'{"type":"record","name":"r","fields":[{"name":"k","type":{"type":"fixed","name":"f","size":2147483647}}]}',
        "a decimal of much": b'{"type":"record","name":"r","fields":[{"name":"k","type":{"type":"bytes","logicalType":"decimal","precision":999,"scale":1}}]}',
        "an enum of nothing": b'{"type":"record","name":"r","fields":[{"name":"k","type":{"type":"enum","name":"e","symbols":[]}}]}',
        "a name twice": b'{"type":"record","name":"r","fields":[{"name":"k","type":"string"},{"name":"k","type":"string"}]}',
        "no key": b'{"type":"record","name":"r","fields":[{"name":"x","type":"string"}]}',
        "no UTF-8": b'{"type":"record","name":"\xff","fields":[]}',
    }.items():
        # Two columns of a name, none of the key's, or a type that is not read are the fault of no row.
        at = 0 if name in ("a name twice", "no key", "itself") else None
        yield Case(f"a schema: {name}", header(schema=schema) + block(1, row(b"ada", 1)), "bad_rows", row=at)
    for codec in [b"bzip2", b"xz", b"odd", b"\xff"]:
        at = 0 if codec in (b"bzip2", b"xz") else None
        yield Case(f"the codec {codec!r}", header(codec=codec) + block(3, ROWS), "bad_rows", row=at)
    for codec in [b"deflate", b"snappy", b"zstandard"]:
        yield Case(f"no {codec!r}", header(codec=codec) + block(3, b"\xff" * 40), "bad_rows")
        yield Case(f"nothing in {codec!r}", header(codec=codec) + block(3, b""), "bad_rows")
    yield Case("a header of much", b"Obj\x01" + long(1) + text(b"avro.schema") + long(2**40) + b"x" * 1000, "bad_rows")
    yield Case("a header without end", b"Obj\x01" + long(2**40) + (text(b"k") + text(b"v")) * 1000, "bad_rows")


def growing() -> Iterator[Case]:
    """Little that becomes much."""
    deflate = zlib.compressobj(9, wbits=-15)
    packed = deflate.compress(text(b"x" * (15 * MIB)) + long(0)) + deflate.flush()
    yield Case("a large key", header(codec=b"deflate") + block(1, packed), "bad_rows", memory=MOST_MEMORY)
    nothing = json.dumps({"type": "record", "name": "r", "fields": [{"name": "k", "type": "null"}]}).encode()
    yield Case("rows of nothing", header(schema=nothing) + block(10_000_000, b""), "bad_rows", memory=MOST_MEMORY)
    arrays = [{"name": "k", "type": "string"}, {"name": "n", "type": {"type": "array", "items": "null"}}]
    yield Case("an array of nothings", header(arrays) + block(1, text(b"a") + long(5_000_000) + long(0)), "bad_rows", memory=MOST_MEMORY)
