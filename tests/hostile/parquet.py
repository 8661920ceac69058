"""Parquet files, made by hand: cut, lying about what they hold, or growing without reason."""

from __future__ import annotations

import copy
import struct
import zlib
from typing import Callable, Iterator

from cases import ACCEPTED, MIB, MOST_MEMORY, Case
from thrift import BINARY, I32, I64, LIST, STRUCT, Raw, Struct
from thrift import struct as thrift_struct
from thrift import varint

QUERY = "key=k&format=parquet"

INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = 1, 2, 3, 4, 5, 6, 7
REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8


class File:
    """A file of one row group: columns, each of a few pages; every field can be lied about."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.schema: list[Struct] = [element("schema")]
        self.chunks: list[tuple[Struct, list[bytes]]] = []
        self.meta: Struct = {}
        self.group: Struct = {}

    def column(self, name: str, kind: int, pages: list[bytes], values: int | None = None, repetition: int = REQUIRED,
               schema: Struct | None = None, chunk: Struct | None = None, dictionary: bool = False, path: list[bytes] | None = None,
               codec: int = 0) -> None:
        self.schema.append({1: (I32, kind), 3: (I32, repetition), 4: (BINARY, name.encode())} | (schema or {}))
        size = sum(len(page) for page in pages)
        meta: Struct = {1: (I32, kind), 2: (LIST, (I32, [PLAIN, RLE])), 3: (LIST, (BINARY, path or [name.encode()])), 4: (I32, codec),
                        5: (I64, self.rows if values is None else values), 6: (I64, size), 7: (I64, size), 9: (I64, 0)}
        if dictionary:
            meta[11] = (I64, 0)
        self.chunks.append((meta | (chunk or {}), pages))

    def bytes(self, footer: Callable[[Struct], Struct] | None = None) -> bytes:
        out, columns, lies = bytearray(b"PAR1"), [], []
        for meta, pages in self.chunks:
            meta = dict(meta)
            at = len(out)
            first_data = at + (len(pages[0]) if 11 in meta else 0)
            if meta[9] == (I64, 0):
                meta[9] = (I64, first_data)
            if meta.get(11) == (I64, 0):
                meta[11] = (I64, at)
            columns.append({2: (I64, at), 3: (STRUCT, meta)})
            for page in pages:
                out += page
        schema = copy.deepcopy(self.schema)
        schema[0].setdefault(5, (I32, len(schema) - 1))
        group: Struct = {1: (LIST, (STRUCT, columns)), 2: (I64, len(out)), 3: (I64, self.rows)} | self.group
        meta: Struct = {1: (I32, 1), 2: (LIST, (STRUCT, schema)), 3: (I64, self.rows), 4: (LIST, (STRUCT, [group]))} | self.meta
        encoded = thrift_struct(footer(meta) if footer else meta)
        return bytes(out) + encoded + struct.pack("<I", len(encoded)) + b"PAR1"


def element(name: str) -> Struct:
    return {4: (BINARY, name.encode())}


def page(values: int, content: bytes, encoding: int = PLAIN, lies: Struct | None = None, head: Struct | None = None,
         unpacked: int | None = None) -> bytes:
    data: Struct = {1: (I32, values), 2: (I32, encoding), 3: (I32, RLE), 4: (I32, RLE)} | (head or {})
    fields: Struct = {1: (I32, 0), 2: (I32, len(content) if unpacked is None else unpacked), 3: (I32, len(content)), 5: (STRUCT, data)}
    return thrift_struct(fields | (lies or {})) + content


def dictionary_page(values: int, content: bytes, lies: Struct | None = None) -> bytes:
    fields: Struct = {1: (I32, 2), 2: (I32, len(content)), 3: (I32, len(content)), 7: (STRUCT, {1: (I32, values), 2: (I32, PLAIN)})}
    return thrift_struct(fields | (lies or {})) + content


def texts(*all_of_them: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in all_of_them)


def longs(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


def levels(*runs: tuple[int, int], width: int = 1) -> bytes:
    """Definition or repetition levels as runs of (count, level), with their length before them."""
    body = b"".join(varint(count << 1) + level.to_bytes((width + 7) // 8, "little") for count, level in runs)
    return struct.pack("<I", len(body)) + body


KEYS = texts(b"ada", b"bob", b"cy")


def sound(codec: int = 0, pack: Callable[[bytes], bytes] = bytes) -> File:
    file = File(3)
    key, numbers = pack(KEYS), pack(longs(1, -2, 3))
    file.column("k", BYTE_ARRAY, [page(3, key, unpacked=len(KEYS))], schema={6: (I32, 0)}, codec=codec)
    file.column("v", INT64, [page(3, numbers, unpacked=24)], codec=codec)
    return file


def cases() -> Iterator[Case]:
    whole = sound().bytes()
    yield Case("sound", whole, ACCEPTED, records=3, values={"bob": {"k": "bob", "v": -2}})
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        yield Case(f"cut after {end} of {len(whole)}", whole[:end], "bad_rows", row=0)
    yield from ends(whole)
    yield from footers()
    yield from pages()
    yield from kinds()
    yield from keys()
    yield from bombs()


def ends(whole: bytes) -> Iterator[Case]:
    """Magic, and the length of the footer."""
    body, length = whole[:-8], struct.unpack("<I", whole[-8:-4])[0]
    for name, bad in {
        "another magic at the end": whole[:-4] + b"PAR2", "an encrypted footer": whole[:-4] + b"PARE",
        "magic alone": b"PAR1", "magic twice": b"PAR1PAR1", "a footer of no bytes": b"PAR1" + bytes(4) + b"PAR1",
        "rubbish behind": whole + b"rubbish", "a file of zeros": bytes(4096), "NDJSON": b'{"k":"x"}\n', "magic and text": b"PAR1" + b"x" * 99,
        "ORC": b"ORC\0" * 9, "upside down": whole[::-1], "a footer of zeros": b"PAR1" + bytes(100) + struct.pack("<I", 100) + b"PAR1",
        "a footer of 0xff": b"PAR1" + b"\xff" * 100 + struct.pack("<I", 100) + b"PAR1",
        "a footer of nested structs": b"PAR1" + b"\x1c" * 100_000 + struct.pack("<I", 100_000) + b"PAR1",
        "a footer of nested lists": b"PAR1" + b"\x19\x19" * 50_000 + struct.pack("<I", 100_000) + b"PAR1",
        "a footer of unknown nested lists": b"PAR1" + b"\xf9" + b"\x19" * 100_000 + struct.pack("<I", 100_001) + b"PAR1",
        "a footer of unknown nested structs": b"PAR1" + b"\xfc" + b"\x1c" * 100_000 + struct.pack("<I", 100_001) + b"PAR1",
    }.items():
        yield Case(name, bad, "bad_rows", row=0 if name != "NDJSON" else 0)
    for claimed in (0, 1, length - 1, length + 1, length + 5, len(whole), len(whole) * 2, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
        yield Case(f"a footer that claims {claimed} bytes", body + struct.pack("<I", claimed) + b"PAR1", "bad_rows", row=0)
    for count in (15, 1 << 20, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1):
        for at, what in ((2, "schema elements"), (4, "row groups"), (5, "key-value pairs"), (7, "column orders")):
            lie = Raw(b"\xfc" + varint(count))
            yield Case(f"{count} {what} are claimed", sound().bytes(lambda meta, at=at, lie=lie: meta | {at: (LIST, lie)}), "bad_rows", row=0)
    for length in (1 << 20, (1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1):
        lie = Raw(varint(length) + b"x")
        yield Case(f"a writer's name of {length} bytes", sound().bytes(lambda meta, lie=lie: meta | {6: (BINARY, lie)}), "bad_rows", row=0)


BOUNDS = (-1, 0, 1, 2, 4, 1 << 20, (1 << 31) - 1, -(1 << 31))
LONG_BOUNDS = (*BOUNDS, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))


def footers() -> Iterator[Case]:
    """One number of the footer is another."""
    for number in LONG_BOUNDS:
        if number != 3:
            yield Case(f"{number} rows in all are claimed", sound().bytes(lambda meta, n=number: meta | {3: (I64, n)}), "bad_rows")
        file = sound()
        file.group = {3: (I64, number)}
        yield Case(f"{number} rows in the group are claimed", file.bytes(), "bad_rows", row=0)
    for field, name in ((5, "values"), (6, "bytes, unpacked"), (7, "bytes, packed"), (9, "as the place of the data"), (11, "as the place of the dictionary")):
        for number in LONG_BOUNDS:
            file = sound()
            file.chunks[1][0][field] = (I64, number)
            # Of values and unpacked bytes nothing depends on what the footer says.
            is_idle = field in (5, 6) or (field in (9, 11) and number == 0)
            yield Case(f"{number} {name}", file.bytes(), ACCEPTED if is_idle else "bad_rows")
    for field, name in ((1, "type"), (4, "codec")):
        for number in (-1, 8, 9, 99, (1 << 31) - 1, -(1 << 31)):
            file = sound()
            file.chunks[1][0][field] = (I32, number)
            yield Case(f"{name} {number}", file.bytes(), "bad_rows", row=0)
    for codec in range(1, 8):
        file = sound()
        for meta, _ in file.chunks:
            meta[4] = (I32, codec)
        yield Case(f"codec {codec}, and it is not", file.bytes(), "bad_rows")
    for codec, pack in ((2, lambda raw: zlib.compress(raw, wbits=31)),):
        yield Case(f"codec {codec}", sound(codec, pack).bytes(), ACCEPTED, records=3)
        yield Case(f"codec {codec}, cut", sound(codec, lambda raw: pack(raw)[:-9]).bytes(), "bad_rows")
    for children in (-1, 0, 1, 3, 1000, (1 << 31) - 1, -(1 << 31)):
        file = sound()
        file.schema[0][5] = (I32, children)
        yield Case(f"a root of {children} children", file.bytes(), "build_limit" if children > 1 << 30 else "bad_rows", row=0)
    file = sound()
    file.schema = [element("schema") | {5: (I32, 1)}] + [element("deep") | {3: (I32, OPTIONAL), 5: (I32, 1)}] * 10_000 + file.schema[1:2]
    yield Case("a schema 10,000 deep", file.bytes(), "build_limit", row=0)
    for name, change in {"without columns": {1: (LIST, (STRUCT, []))}}.items():
        file = sound()
        file.group = change
        yield Case(f"a row group {name}", file.bytes(), "bad_rows", row=0)
    yield Case("no row group", sound().bytes(lambda meta: meta | {4: (LIST, (STRUCT, []))}), "bad_rows", row=0)
    yield Case("no row group, no rows", sound().bytes(lambda meta: meta | {3: (I64, 0), 4: (LIST, (STRUCT, []))}), "no_rows", row=0)
    yield Case("the same group twice", sound().bytes(lambda meta: meta | {4: (LIST, (STRUCT, meta[4][1][1] * 2))}), "bad_rows")
    yield Case("the same group twice, and said", sound().bytes(lambda meta: meta | {3: (I64, 6), 4: (LIST, (STRUCT, meta[4][1][1] * 2))}), ACCEPTED, records=3)
    for name in (b"", b"k", b"\xff", b"x" * 100_000, b"\0", b"a/b"):
        file = sound()
        file.schema[2][4] = (BINARY, name)
        yield Case(f"a column named {name[:9]!r}", file.bytes(), "bad_rows" if name in (b"k", b"\xff") else ACCEPTED, row=0)
    file = sound()
    file.schema[1][4] = (BINARY, b"j")
    yield Case("the key is no column", file.bytes(), "bad_rows", row=0)
    for repetition in (-1, 3, 99, OPTIONAL, REPEATED):
        file = sound()
        file.schema[2][3] = (I32, repetition)
        yield Case(f"repetition {repetition}", file.bytes(), "bad_rows", row=0 if repetition not in (1, 2) else None)


def pages() -> Iterator[Case]:
    """One number of a page's head is another."""
    for field, name in ((1, "kind"), (2, "bytes, unpacked"), (3, "bytes, packed")):
        for number in BOUNDS:
            if (field, number) == (1, 0):
                continue
            file = sound()
            file.chunks[1] = (file.chunks[1][0], [page(3, longs(1, -2, 3), lies={field: (I32, number)})])
            # Of a page that is not packed, nobody asks what it would be unpacked.
            is_idle = field == 2 and number in (0, 1, 2, 4)
            yield Case(f"a page: {name} {number}", file.bytes(), ACCEPTED if is_idle else "bad_rows")
    for field, name in ((1, "values"), (2, "encoding"), (3, "encoding of levels")):
        for number in BOUNDS:
            file = sound()
            file.chunks[1] = (file.chunks[1][0], [page(3, longs(1, -2, 3), head={field: (I32, number)})])
            # There are no levels, so how they would be written is one.
            is_fine = (field, number) == (2, PLAIN) or (field == 3 and number in (0, 2, 4))
            yield Case(f"a page: {name} {number}", file.bytes(), ACCEPTED if is_fine else "bad_rows")
    for name, content in {"empty": b"", "one byte short": longs(1, -2, 3)[:-1], "one value short": longs(1, -2)}.items():
        file = sound()
        file.chunks[1] = ({**file.chunks[1][0], 6: (I64, 60), 7: (I64, 60)}, [page(3, content)])
        yield Case(f"a page that is {name}", file.bytes(), "bad_rows")
    for length in (0xffffffff, 0x7fffffff, 1 << 20, 100):
        file = File(3)
        bad = texts(b"ada", b"bob") + struct.pack("<I", length) + b"cy"
        file.column("k", BYTE_ARRAY, [page(3, bad)], schema={6: (I32, 0)})
        yield Case(f"a text that claims {length} bytes", file.bytes(), "bad_rows")
    for width in (0, 1, 8, 32, 33, 255):
        for name, runs in {"a run of 2^31": varint(1 << 32) + b"\0" * 4, "packed groups beyond the end": varint(0xffffffff) + b"\xff",
                           "an index beyond the dictionary": varint(3 << 1) + b"\xff\xff\xff\x7f", "nothing": b""}.items():
            file = File(3)
            file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
            file.column("v", INT64, [dictionary_page(1, longs(7)), page(3, bytes([width]) + runs, RLE_DICTIONARY)], dictionary=True)
            # An index of no bits is 0, whatever stands there.
            is_fine = width == 0 and "index" in name
            yield Case(f"{name}, {width} bits wide", file.bytes(), ACCEPTED if is_fine else "bad_rows")
    for values in (-1, 0, 2, 1 << 20, (1 << 31) - 1):
        file = File(3)
        file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
        file.column("v", INT64, [dictionary_page(values, longs(7)), page(3, b"\1" + varint(3 << 1) + b"\0", RLE_DICTIONARY)], dictionary=True)
        yield Case(f"a dictionary that claims {values} values", file.bytes(), "bad_rows")
    file = File(3)
    file.column("k", BYTE_ARRAY, [page(3, b"\1" + varint(3 << 1) + b"\0", RLE_DICTIONARY)], schema={6: (I32, 0)})
    yield Case("no dictionary where one is needed", file.bytes(), "bad_rows")


def kinds() -> Iterator[Case]:
    """Types that do not fit their columns."""
    for converted in (*range(-1, 24), 99):
        file = sound()
        file.schema[2][6] = (I32, converted)
        # None, timestamps, and integers of 64 bits. (-2 is no time of any day.)
        is_fine = converted in (-1, 9, 10, 14, 18)
        yield Case(f"INT64 as converted type {converted}", file.bytes(), ACCEPTED if is_fine else "bad_rows")
    for length in (-1, 0, 1, 16, 1 << 20, (1 << 31) - 1):
        file = File(3)
        file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
        file.column("v", FIXED, [page(3, bytes(48))], schema={2: (I32, length)})
        expected = {16: ACCEPTED, (1 << 31) - 1: "build_limit"}.get(length, "bad_rows")
        yield Case(f"fixed bytes of length {length}", file.bytes(), expected)
    for precision, scale in ((0, 0), (-1, 2), (19, 2), (5, 9), (5, -3), (1 << 30, 1 << 30), (18, 2)):
        file = sound()
        file.schema[2] |= {6: (I32, 5), 7: (I32, scale), 8: (I32, precision)}
        yield Case(f"a decimal of {precision} digits, {scale} behind the point", file.bytes(), ACCEPTED if precision == 18 else "bad_rows")
    for name, kind, content in (("NaN", DOUBLE, struct.pack("<3d", 1, float("nan"), 2)), ("infinity", FLOAT, struct.pack("<3f", 1, float("inf"), 2))):
        for query, expected in (("", "bad_rows"), ("&nan=null", ACCEPTED)):
            file = File(3)
            file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
            file.column("v", kind, [page(3, content)])
            yield Case(f"{name}{query}", file.bytes(), expected, row=2 if not query else None, query=query, records=3 if query else None)
    for name, converted, number in (("a timestamp of 2^63 - 1 ms", 9, (1 << 63) - 1), ("a timestamp of -2^63 us", 10, -(1 << 63)), ("a time of 2^40 us", 8, 1 << 40)):
        file = File(3)
        file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
        file.column("v", INT64, [page(3, longs(1, number, 3))], schema={6: (I32, converted)})
        yield Case(name, file.bytes(), "bad_rows", row=2)
    file = File(3)
    file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
    file.column("v", INT96, [page(3, b"\xff" * 36)])
    yield Case("INT96 of all ones", file.bytes(), "bad_rows", row=1)
    for name, text in (("no UTF-8", b"\xff\xfe"), ("half a character", b"\xe2\x82")):
        file = File(3)
        file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
        file.column("v", BYTE_ARRAY, [page(3, texts(b"x", text, b"y"))], schema={6: (I32, 0)})
        yield Case(f"a text that is {name}", file.bytes(), "bad_rows")
    for name, text in (("cut", b"{"), ("NaN", b"NaN"), ("200 deep", b"[" * 200 + b"]" * 200), ("100,000 deep", b"[" * 100_000), ("two values", b"1 2")):
        file = File(3)
        file.column("k", BYTE_ARRAY, [page(3, KEYS)], schema={6: (I32, 0)})
        file.column("v", BYTE_ARRAY, [page(3, texts(b"1", text, b"2"))], schema={6: (I32, 19)})
        yield Case(f"JSON that is {name}", file.bytes(), "bad_rows", row=2)


def keys() -> Iterator[Case]:
    for name, text in {"empty": b"", "64 KiB and one": b"k" * 65_537}.items():
        file = File(3)
        file.column("k", BYTE_ARRAY, [page(3, texts(b"a", text, b"b"))], schema={6: (I32, 0)})
        yield Case(f"a key that is {name}", file.bytes(), "bad_rows", row=2)
    file = File(3)
    file.column("k", BYTE_ARRAY, [page(3, levels((1, 1), (1, 0), (1, 1)) + texts(b"a", b"b"))], repetition=OPTIONAL, schema={6: (I32, 0)})
    yield Case("a null key", file.bytes(), "bad_rows", row=2)
    file = File(3)
    file.column("k", DOUBLE, [page(3, struct.pack("<3d", 1, 2, 3))])
    yield Case("keys that are fractions", file.bytes(), "bad_rows", row=1)
    file = File(3)
    file.column("k", BYTE_ARRAY, [page(3, texts(b"\xff", b"\0", b"\n"))])
    yield Case("keys of any bytes", file.bytes(), ACCEPTED, records=3)
    file = File(3)
    file.column("k", INT64, [page(3, longs(1, 1, 2))])
    file.column("v", INT64, [page(3, longs(1, 2, 3))])
    yield Case("one key, two values", file.bytes(), "duplicate_keys", row=0)


def bombs() -> Iterator[Case]:
    """A few hundred bytes that would be gigabytes of rows."""
    for rows in (1 << 24, (1 << 31) - 1):
        file = File(rows)
        content = b"\1" + varint(rows << 1) + b"\0"
        file.column("k", BYTE_ARRAY, [dictionary_page(1, texts(b"x")), page(rows, content, RLE_DICTIONARY)], schema={6: (I32, 0)}, dictionary=True)
        file.column("v", BYTE_ARRAY, [dictionary_page(1, texts(b"y" * 100)), page(rows, content, RLE_DICTIONARY)], schema={6: (I32, 0)},
                    dictionary=True)
        yield Case(f"bomb: {rows} equal rows", file.bytes(), "decompression_limit", row=0, memory=400 * MIB)
    for count in (1 << 20, 1 << 26, (1 << 31) - 1):
        file = File(1)
        file.column("k", BYTE_ARRAY, [page(1, texts(b"x"))], schema={6: (I32, 0)})
        repeats = levels((1, 0), (count - 1, 1)) + levels((count, 1))
        content = b"\1" + varint(count << 1) + b"\0"
        file.column("v", BYTE_ARRAY, [dictionary_page(1, texts(b"y" * 1000)), page(count, repeats + content, RLE_DICTIONARY)], values=count,
                    repetition=REPEATED, schema={6: (I32, 0)}, dictionary=True)
        yield Case(f"bomb: a list of {count} texts", file.bytes(), "build_limit", memory=MOST_MEMORY)
    # Half a gigabyte of values is no bomb; as a repeated text it is read in little memory.
    big = File(64)
    content = b"\1" + varint(64 << 1) + b"\0"
    big.column("k", INT64, [page(64, longs(*range(64)))])
    big.column("v", BYTE_ARRAY, [dictionary_page(1, texts(b"y" * (8 * MIB))), page(64, content, RLE_DICTIONARY)], schema={6: (I32, 0)}, dictionary=True)
    big.group = {2: (I64, 1)}
    yield Case("64 times a text of 8 MiB", big.bytes(), ACCEPTED, records=64)
    for size in (1 << 30, (1 << 31) - 1):
        file = sound()
        squeezed = zlib.compress(longs(1, -2, 3), wbits=31)
        file.chunks[1] = ({**file.chunks[1][0], 4: (I32, 2), 6: (I64, size), 7: (I64, 90)}, [page(3, squeezed, unpacked=size)])
        yield Case(f"bomb: a page that claims {size} bytes, unpacked", file.bytes(), "bad_rows" if size == 1 << 30 else "build_limit", memory=MOST_MEMORY)
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join([*(zeros.compress(bytes(MIB)) for _ in range(512)), zeros.flush()])
    file = sound()
    file.chunks[1] = ({**file.chunks[1][0], 4: (I32, 2), 6: (I64, 512 * MIB), 7: (I64, len(packed) + 60)}, [page(3, packed, unpacked=512 * MIB)])
    yield Case("bomb: a page of 512 MiB for three values", file.bytes(), "bad_rows", memory=MOST_MEMORY)
