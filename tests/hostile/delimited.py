"""CSV, TSV and Redshift's text that is cut, ragged, unclosed, or not what it seems."""

from __future__ import annotations

from typing import Iterator

from cases import ACCEPTED, MIB, MOST_MEMORY, Case, repeated

CSV = "key=k&format=csv"
TSV = "key=k&format=tsv"
REDSHIFT = "key=k&format=redshift&columns=k,v,w"

MAGICS = {
    "bzip2": b"BZh91AY&SY\x01\x02", "xz": b"\xfd7zXZ\0\0\x04", "zip": b"PK\x03\x04\x14\0\0\0", "lz4": b"\x04\x22\x4d\x18\x64\x40",
    "avro": b"Obj\x01\x04\x14", "orc": b"ORC\0\x01", "utf-16le": "\ufeffk,v\n".encode("utf-16le"),
    "utf-16be": "\ufeffk,v\n".encode("utf-16be"),
}
NO_UTF8 = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82", b"\x80", b"\xf4\x90\x80\x80"]
NO_NUMBERS = ["", " 1", "1 ", "+1", ".5", "1.", "1e", "0x10", "1_000", "1,5", "01", "--1", "NaN", "nan", "inf", "-Infinity", "1e+", "one", "١"]
NO_INTEGERS = ["1.0", "1e3", "-", "0x1", "", "00", "1.", "true"]
NO_BOOLEANS = ["yes", "no", "2", "", " true", "truee", "TRUE ", "-1", "null"]
NO_JSON = ["", "{", "[1,]", "{'a':1}", "nul", "[" * 200 + "]" * 200, '"a', "1 2", "NaN", '"\\q"']


def csv() -> Iterator[Case]:
    yield from separated(CSV, ",")


def tsv() -> Iterator[Case]:
    yield from separated(TSV, "\t")


def separated(query: str, mark: str) -> Iterator[Case]:
    def line(*cells: str) -> bytes:
        return mark.join(cells).encode() + b"\n"

    head, ada, bob = line("k", "v", "w"), line("ada", "1", '"x ""y"""'), line("bob", '"two\nlines"', "")
    good = head + ada + bob
    yield Case("sound", good, ACCEPTED, records=2, values={"bob": {"k": "bob", "v": "two\nlines", "w": ""}})
    yield from cut_csv(good, head, ada)
    rows = [
        line("x", "1"), line("x"), line("x", "1", "2", "3"), line("x", "1", "2", ""), line("x", '"a"b', "2"), line("x", '"a" ', "2"),
        line('"x"y', "1", "2"), line("x", '""z', "2"), line("x\r", "1", "2"), line("x", "a\rb", "2"), line("", "1", "2"),
        line('""', "1", "2"), line("k" * 65_537, "1", "2"), b"x" + mark.encode() * 100 + b"\n",
    ] + [line("x", "1", "y").replace(b"y", bad) for bad in NO_UTF8]
    for row in rows:
        yield Case(f"row {row[:30]!r}", head + ada + row + line("z", "1", "2"), "bad_rows", row=2)
    for kind, texts in {"number": NO_NUMBERS, "integer": NO_INTEGERS, "boolean": NO_BOOLEANS, "json": NO_JSON}.items():
        for text in texts:
            quoted = '"' + text.replace('"', '""') + '"'
            yield Case(f"{text[:20]!r} as {kind}", head + line("a", "1" if kind != "boolean" else "t", "") + line("x", quoted, ""),
                       "bad_rows", row=2, query=f"&types=v:{kind}")
    for name, body in {"open": head + ada + line("x", '"never closed', "2") + line("z", "1", "2"),
                       "open at the end": head + ada + b'x' + mark.encode() + b'"',
                       "open and doubled": head + ada + line("x", '"""', "2")}.items():
        yield Case(f"a quote that is {name}", body, "bad_rows", row=2)
    yield Case("a quote that opens in the header", b'"k' + line("", "v", "w") + ada, "bad_rows", row=0)
    yield from headers(mark, line, ada)
    for name, body, count, more in [
        ("a byte-order mark", b"\xef\xbb\xbf" + good, 2, ""), ("CRLF", good.replace(b"\n", b"\r\n"), 2, ""),
        ("no last line end", good[:-1], 2, ""), ("blank lines", b"\n" + head + b"\n\r\n" + ada, 1, ""),
        ("quotes within", head + line("x", 'a"b"c', "2"), 1, ""), ("everything quoted", head + line('"x"', '"1"', '"2"'), 1, ""),
        ("NUL in a cell", head + line("x", "\0", "2"), 1, ""), ("control characters", head + line("x", "\x1b[31m", "\x7f"), 1, ""),
        ("no header, but columns", line("x", "1", "2"), 1, "&columns=k,v,w"), ("null", head + line("x", "NA", ""), 1, "&null=NA&null="),
        ("NaN made null", head + line("x", "NaN", "-inf"), 1, "&types=v:number,w:number&nan=null"),
        ("64 KiB of key", head + line("k" * 65_536, "1", "2"), 1, ""), ("equal rows", head + ada + ada, 1, ""),
        ("long numbers", head + line("x", "9" * 400, "-0"), 1, "&types=v:integer,w:number"),
        ("JSON in a cell", head + line("x", '"{""a"": [1, 2]}"', "2"), 1, "&types=v:json"),
        ("1,000 columns", line("k", *(f"c{n}" for n in range(1000))) + line("x", *("1" * 1000)), 1, ""),
    ]:
        yield Case(name, body, ACCEPTED, records=count, query=more)
    yield Case("one key, two values", head + line("a", "1", "") + line("a", "2", ""), "duplicate_keys", row=0)
    for name, magic in MAGICS.items():
        yield Case(f"it is {name}", magic, "bad_rows", row=0)
    size = 1 << 30 if mark == "," else 100 * MIB
    yield Case(f"a row of {size} bytes in quotes", repeated(b"xy\n", size, head + ada + b"x" + mark.encode() + b'"', b'"\n'), "bad_rows", row=2,
               memory=700 * MIB)
    yield Case("100 MiB without a line end", repeated(b"x", 100 * MIB, head + ada), "bad_rows", row=2, memory=700 * MIB)
    yield Case("a header of 100 MiB", repeated(b"x" + mark.encode(), 100 * MIB), "bad_rows", row=0, memory=700 * MIB)
    yield Case("a header of 60 MiB of nothing", mark.encode() * (60 * MIB), "build_limit", row=0, memory=MOST_MEMORY)
    yield Case("a million cells", head + mark.encode() * 1_000_000 + b"\n", "bad_rows", row=1)
    yield Case("a value beyond 16 MiB", head + ada + line("x", "y" * (16 * MIB), ""), "value_too_large", row=2, memory=400 * MIB)


def cut_csv(good: bytes, head: bytes, ada: bytes) -> Iterator[Case]:
    """Cut anywhere: what is ragged or unclosed is refused."""
    for end in range(0, len(good), 1):
        left = good[:end]
        name = f"cut after {end}"
        if end <= len(head):
            # A header whose last cell has no name.
            yield Case(name, left, "bad_rows" if left.endswith(head[1:2]) else "no_rows", row=0)
            continue
        row = left[len(head):]
        mark = head[1:2]
        first = row[:len(ada)]
        second = row[len(ada):]
        checked, number = (second, 2) if second else (first, 1)
        is_open = checked.count(b'"') % 2 == 1
        ragged = checked.count(mark) != 2
        if is_open or ragged:
            yield Case(name, left, "bad_rows", row=number)
        else:
            yield Case(name, left, ACCEPTED, records=number)


def headers(mark: str, line: object, ada: bytes) -> Iterator[Case]:
    m = mark.encode()
    for name, head in {"lacks the key": b"a" + m + b"v" + m + b"w\n", "has a name twice": b"k" + m + b"v" + m + b"v\n",
                       "has a column without a name": b"k" + m + m + b"w\n", "has the key twice": b"k" + m + b"k" + m + b"w\n",
                       "is not UTF-8": b"k" + m + b"\xff" + m + b"w\n"}.items():
        yield Case(f"a header that {name}", head + ada, "bad_rows", row=0)
    yield Case("a type for no column", b"k" + m + b"v" + m + b"w\n" + ada, "invalid_setting", query="&types=zz:number", row=0)
    yield Case("a header alone", b"k" + m + b"v\n", "no_rows", row=0)
    yield Case("a header without its end", b"k" + m + b"v", "no_rows", row=0)
    yield Case("nothing", b"", "no_rows", row=0)
    yield Case("line ends alone", b"\n\r\n\n", "no_rows", row=0)


def redshift() -> Iterator[Case]:
    good = b"ada|1|x \\| y\nbob|two\\\nlines|\\\\\n"
    yield Case("sound", good, ACCEPTED, records=2, values={"bob": {"k": "bob", "v": "two\nlines", "w": "\\"}})
    ada = good[:good.index(b"bob")]
    for end in range(len(good)):
        left = good[:end]
        row, number = (left[len(ada):], 2) if end > len(ada) else (left, 1)
        plain = row.replace(b"\\\\", b"").replace(b"\\|", b"").replace(b"\\\n", b"")
        if not left:
            yield Case(f"cut after {end}", left, "no_rows", row=0)
        elif plain.endswith(b"\\") or plain.count(b"|") != 2 or row.endswith(b"\\\n"):
            yield Case(f"cut after {end}", left, "bad_rows", row=number)
        else:
            yield Case(f"cut after {end}", left, ACCEPTED, records=number)
    rows = [b"x|1", b"x", b"x|1|2|3", b"x|1|2|", b"x\\|1|2", b"|1|2", b"k" * 65_537 + b"|1|2", b"|" * 100] + [b"x|1|" + bad for bad in NO_UTF8]
    for row in rows:
        yield Case(f"row {row[:30]!r}", ada + row + b"\nz|1|2\n", "bad_rows", row=2)
    for kind, texts in {"number": NO_NUMBERS, "integer": NO_INTEGERS, "boolean": NO_BOOLEANS, "json": NO_JSON}.items():
        for text in texts:
            cell = text.replace("\\", "\\\\").encode()
            yield Case(f"{text[:20]!r} as {kind}", (b"a|1|\n" if kind != "boolean" else b"a|t|\n") + b"x|" + cell + b"|\n", "bad_rows", row=2,
                       query=f"&types=v:{kind}")
    yield Case("a backslash at the end", ada + b"x|1|2\\", "bad_rows", row=2)
    yield Case("an escaped line end at the end", ada + b"x|1|2\\\n", "bad_rows", row=2)
    yield Case("nothing but backslashes", b"\\" * 100_001, "bad_rows", row=1)
    for name, body, count, more in [
        ("a byte-order mark", b"\xef\xbb\xbf" + good, 2, ""), ("CRLF", b"ada|1|2\r\nbob|1|2\r\n", 2, ""),
        ("no last line end", b"ada|1|2", 1, ""), ("blank lines", b"\n\nada|1|2\n\n", 1, ""), ("NUL", b"ada|\0|2\n", 1, ""),
        ("quotes are text", b'ada|"1|"2\n', 1, ""), ("an escaped carriage return", b"ada|a\\\rb|2\n", 1, ""),
        ("a carriage return within", b"ada|a\rb|2\n", 1, ""), ("null", b"ada|\\N|\n", 1, "&null=%5CN"),
        ("another delimiter", b"ada\x011\x012\n", 1, "&delimiter=%5Cx01"), ("equal rows", ada + ada, 1, ""),
        ("NaN made null", b"ada|NaN|inf\n", 1, "&types=v:number,w:number&nan=null"), ("escaped letters", b"\\a\\d\\a|1|2\n", 1, ""),
        ("long numbers", b"x|" + b"9" * 400 + b"|-0\n", 1, "&types=v:integer,w:number"), ("JSON in a cell", b'x|{"a": [1]}|\n', 1, "&types=v:json"),
        ("64 KiB of key", b"k" * 65_536 + b"|1|2\n", 1, ""),
    ]:
        yield Case(name, body, ACCEPTED, records=count, query=more)
    yield Case("one key, two values", b"a|1|\na|2|\n", "duplicate_keys", row=0)
    yield Case("line ends alone", b"\n\n\r\n", "no_rows", row=0)
    yield Case("a type for no column", ada, "invalid_setting", query="&types=zz:number", row=0)
    yield Case("too few columns are named", ada, "bad_rows", query="&columns=x", row=1)
    for name, magic in MAGICS.items():
        yield Case(f"it is {name}", magic, "bad_rows", row=0)
    for delimiter in ("%5C", "%22", "", "ab", "%0A", "%0D", "%C3%A9", "%00", "%5Cx", "%5C999"):
        expected = ACCEPTED if delimiter == "%00" else "invalid_setting"
        body = b"ada\0001\0002\n" if delimiter == "%00" else ada
        yield Case(f"a delimiter {delimiter!r}", body, expected, query=f"&delimiter={delimiter}", row=0)
    for columns in ("k,k,v", "v,w,x", "k,,v"):
        yield Case(f"columns {columns}", b"a|b|c\n", "invalid_setting", query=f"&INSTEAD&columns={columns}", row=0)
    yield Case("a row of 1 GB", repeated(b"x\\\n", 1 << 30, ada + b"x|"), "bad_rows", row=2, memory=700 * MIB)
    yield Case("100 MiB without a line end", repeated(b"x", 100 * MIB, ada), "bad_rows", row=2, memory=700 * MIB)
    yield Case("a million cells", ada + b"|" * 1_000_000 + b"\n", "bad_rows", row=2)
    yield Case("a value beyond 16 MiB", ada + b"x|" + b"y" * (16 * MIB) + b"|\n", "value_too_large", row=2, memory=400 * MIB)
    for number in range(40):
        ragged = ada + b"|".join([b"x"] * (4 + number)) + b"\n"
        yield Case(f"{4 + number} cells", ragged, "bad_rows", row=2)
