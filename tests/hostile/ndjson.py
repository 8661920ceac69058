"""NDJSON that is cut, mixed up, deep, long, or not what it seems."""

from __future__ import annotations

import json
from typing import Iterator

from cases import ACCEPTED, MIB, MOST_MEMORY, Case, repeated

QUERY = "key=k&format=ndjson"
GOOD = b'{"k":"ada","n":1}\n{"k":"bob","n":[2,{"x":null}]}\n{"k":"cy","n":"\\u00e9"}\n'


def cases() -> Iterator[Case]:
    yield Case("sound", GOOD, ACCEPTED, records=3, values={"ada": {"k": "ada", "n": 1}})
    yield from cut()
    yield from rows_at_fault()
    yield from odd_and_fine()
    yield from keys()
    yield from enormous()


def cut() -> Iterator[Case]:
    """Cut anywhere: accepted exactly if what is left is whole rows."""
    for end in range(len(GOOD)):
        left = GOOD[:end]
        lines = [line for line in left.split(b"\n") if line]
        whole = [line for line in lines if is_row(line)]
        if not lines:
            yield Case(f"cut after {end}", left, "no_rows", row=0)
        elif len(whole) == len(lines):
            yield Case(f"cut after {end}", left, ACCEPTED, records=len(lines))
        else:
            yield Case(f"cut after {end}", left, "bad_rows", row=len(lines))


def is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def rows_at_fault() -> Iterator[Case]:
    """The third line is no row."""
    bad = [
        b"{", b"}", b"{}}", b"[", b"]", b"[1]", b"null", b"true", b"1", b'"k"', b"nonsense", b"{'k':'x'}", b"{k:1}",
        b'{"k"}', b'{"k":}', b'{"k":"x",}', b'{,"k":"x"}', b'{"k":"x" "n":1}', b'{"k":"x";"n":1}', b'{"k"="x"}',
        b'{"k":"x"}{"k":"y"}', b'{"k":"x"} {"k":"y"}', b'{"k":"x"},', b'{"k":"x"}]', b'{"k":"x"}x', b'{"k":"x"}\0',
        b'{"k":"x","n":01}', b'{"k":"x","n":+1}', b'{"k":"x","n":.5}', b'{"k":"x","n":1.}', b'{"k":"x","n":1e}',
        b'{"k":"x","n":0x1f}', b'{"k":"x","n":1_000}', b'{"k":"x","n":--1}', b'{"k":"x","n":-}', b'{"k":"x","n":1e+}',
        b'{"k":"x","n":NaN}', b'{"k":"x","n":Infinity}', b'{"k":"x","n":-Infinity}', b'{"k":"x","n":nan}',
        b'{"k":"x","n":inf}', b'{"k":"x","n":undefined}', b'{"k":"x","n":True}', b'{"k":"x","n":nul}', b'{"k":"x","n":nulll}',
        b'{"k":"x","n":"\\q"}', b'{"k":"x","n":"\\u12"}', b'{"k":"x","n":"\\uzzzz"}', b'{"k":"x","n":"\\x41"}',
        b'{"k":"x","n":"a\tb"}', b'{"k":"x","n":"a\0b"}', b'{"k":"x","n":"\x1f"}', b'{"k":"x","n":"open}', b'{"k":"x","n":\'x\'}',
        b'{"k":"x","n":"\xff"}', b'{"k":"x","n":"\xc0\xaf"}', b'{"k":"x","n":"\xed\xa0\x80"}', b'{"k":"x","n":"\xf8\x88\x80\x80\x80"}',
        b'{"k":"x","n":"\xe2\x82"}', b"\xff\xfe{\0", b'\xef\xbb\xbf{"k":"x"}', b'{"k":"x","k":"y"}', b'{"k":"x","\\u006b":"y"}',
        b'{"k":"x","n":[1,]}', b'{"k":"x","n":[,1]}', b'{"k":"x","n":[1 2]}', b'{"k":"x","n":[1}', b'{"k":"x","n":{]}',
        b'{"k":"x","n":{"a":1,}}', b'{"k":"x","n":{1:1}}', b'{"k":"x","n":/*c*/1}', b'// c', b'# c', b'{"k":"x"} // c',
        b'\x0b{"k":"x"}', b'\xc2\xa0{"k":"x"}', b'{"\\ud800":1,"k":"x"}', b"--- ", b"<row/>", b"k,n", b"%PDF-1.4", b"\x7fELF",
    ]
    for line in bad:
        good = b'{"k":"ada"}\n{"k":"bob"}\n'
        yield Case(f"row {line[:40]!r}", good + line + b'\n{"k":"z"}\n', "bad_rows", row=3)
    for depth in (121, 128, 1000, 100_000):
        for open_, close in ((b"[", b"]"), (b'{"a":', b"}")):
            deep = b'{"k":"x","n":' + open_ * depth + b"1" + close * depth + b"}\n"
            yield Case(f"{depth} deep {open_!r}", b'{"k":"ada"}\n' + deep, "bad_rows", row=2)
            yield Case(f"{depth} deep, open {open_!r}", open_ * depth, "bad_rows", row=1)
    six = b"".join(b'{"k":\n' for _ in range(60))
    yield Case("sixty bad rows", six, "bad_rows", row=5)
    yield Case("an array of rows", b'[{"k":"x"},\n{"k":"y"}]\n', "bad_rows", row=1)
    yield Case("pretty-printed", json.dumps({"k": "x"}, indent=1).encode(), "bad_rows", row=1)
    yield Case("records by RS (RFC 7464)", b'\x1e{"k":"x"}\n', "bad_rows", row=1)
    for name, magic in {"bzip2": b"BZh91AY&SY\x01\x02", "xz": b"\xfd7zXZ\0\0\x04", "zip": b"PK\x03\x04\x14\0\0\0",
                        "lz4": b"\x04\x22\x4d\x18\x64\x40", "avro": b"Obj\x01\x04\x14", "orc": b"ORC\0\x01",
                        "utf-16le": '\ufeff{"k":"x"}\n'.encode("utf-16le"), "utf-16be": '\ufeff{"k":"x"}\n'.encode("utf-16be")}.items():
        yield Case(f"it is {name}", magic, "bad_rows", row=0)
    yield Case("it is Parquet", b"PAR1" + bytes(64) + b"PAR1", "bad_rows", row=1)


def odd_and_fine() -> Iterator[Case]:
    """What looks wrong, and is right: to refuse it would be a fault too."""
    deepest = b'{"k":"x","n":' + b"[" * 119 + b"1" + b"]" * 119 + b"}\n"
    for name, body, count in [
        ("a byte-order mark", b"\xef\xbb\xbf" + GOOD, 3),
        ("CRLF", GOOD.replace(b"\n", b"\r\n"), 3),
        ("blank lines", b"\n\n  \n" + GOOD.replace(b"\n", b"\n\n\r\n"), 3),
        ("no last line end", GOOD[:-1], 3),
        ("white space", b' { "k" :\t"x" , "n" : [ 1 , 2 ] } \n', 1),
        ("119 deep", deepest, 1),
        ("numbers of any size", b'{"k":"x","n":[1e999,-1E-999,184467440737095516160000,0.1e1]}\n', 1),
        ("half a surrogate pair in a value", b'{"k":"x","n":"\\ud800"}\n', 1),
        ("an empty name", b'{"":1,"k":"x"}\n', 1),
        ("NUL, escaped", b'{"k":"x","n":"\\u0000"}\n', 1),
        ("a repeated name within", b'{"k":"x","n":{"a":1,"a":2}}\n', 1),
        ("equal rows", b'{"k":"x"}\n{"k":"x"}\n', 1),
        ("NaN made null", b'{"k":"x","n":NaN}\n{"k":"y","n":[-Infinity]}\n', 2),
        ("10,000 fields", json.dumps({"k": "x"} | {f"f{n}": n for n in range(10_000)}).encode(), 1),
    ]:
        query = "&nan=null" if "null" in name else ""
        yield Case(name, body, ACCEPTED, records=count, query=query)
    yield Case("nothing", b"", "no_rows", row=0)
    yield Case("line ends alone", b"\n\r\n \n", "no_rows", row=0)
    yield Case("a byte-order mark alone", b"\xef\xbb\xbf", "no_rows", row=0)


def keys() -> Iterator[Case]:
    for name, key in {"null": "null", "a fraction": "1.5", "an exponent": "1e3", "an object": "{}", "an array": '["x"]', "empty": '""',
                      "half a surrogate pair": '"\\udc00"', "NaN": "NaN", "64 KiB and one": '"' + "k" * 65_537 + '"'}.items():
        yield Case(f"a key that is {name}", b'{"k":"a"}\n' + f'{{"k":{key}}}\n'.encode(), "bad_rows", row=2)
    for name, key, text in [("64 bits", "18446744073709551615", "18446744073709551615"), ("beyond 64 bits", "9" * 30, "9" * 30),
                            ("negative", "-9223372036854775809", "-9223372036854775809"), ("a boolean", "true", "true"),
                            ("escaped", '"\\u0061"', "a"), ("64 KiB", '"' + "k" * 65_536 + '"', None)]:
        values = {text: {"k": json.loads(key)}} if text else {}
        yield Case(f"a key: {name}", f'{{"k":{key}}}\n'.encode(), ACCEPTED, records=1, values=values)
    yield Case("no key at all", b'{"n":1}\n', "bad_rows", row=1)
    yield Case("a key that no row has", GOOD, "bad_rows", query="&key=j")
    yield Case("the separator in a part of the key", b'{"k":"a:b","j":"c"}\n', "bad_rows", query="&key=j", row=1)
    yield Case("one key, two values", b'{"k":"a","n":1}\n{"k":"a","n":2}\n', "duplicate_keys", row=0)
    yield Case("0 and -0 are one key", b'{"k":0}\n{"k":-0}\n', "duplicate_keys", row=0)


def enormous() -> Iterator[Case]:
    """What is large, or claims to be."""
    line = repeated(b"x", 1 << 30, b'{"k":"ada"}\n{"k":"', b'"}\n')
    yield Case("a line of 1 GB", line, "bad_rows", row=2, memory=700 * MIB)
    yield Case("100 MiB without a line end", repeated(b" ", 100 * MIB), "bad_rows", row=1, memory=700 * MIB)
    yield Case("a row of four million fields", b'{"k":"x"' + b"".join(b',"%d":1' % n for n in range(4_000_000)) + b"}\n", "value_too_large", row=1,
               memory=MOST_MEMORY)
    big = b'{"k":"x","n":"' + b"y" * (16 * MIB) + b'"}\n'
    yield Case("a value beyond 16 MiB", b'{"k":"a"}\n' + big, "value_too_large", row=2, memory=400 * MIB)
    yield Case("a row of 63 MiB, a small part of it kept", b'{"k":"x","v":1,"n":"' + b"y" * (63 * MIB) + b'"}\n', ACCEPTED,
               records=1, query="&fields=k,v", memory=700 * MIB)
    yield Case("65 MiB of white space in a row", b'{"k":' + b" " * (65 * MIB) + b'"x"}\n', "bad_rows", row=1, memory=700 * MIB)
    yield Case("8 MiB of line ends", b"\n" * (8 * MIB), "no_rows", row=0)
    yield Case("a million brackets a line", (b"[" * 1_000_000 + b"\n") * 8, "bad_rows", row=1)
    yield Case("gathered beyond 16 MiB", b"".join(b'{"k":"x","n":"%s"}\n' % (b"%d" % n * 100_000) for n in range(10, 99)),
               "value_too_large", query="&collect=true", row=0, memory=400 * MIB)
    twice = b"".join(b'{"k":"x","f%d":1,"f%d":2}\n' % (n, n) for n in range(5))
    yield Case("names that are there twice", twice, "bad_rows", row=1)
