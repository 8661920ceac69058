"""gzip and zstd that is cut, damaged, nested, mislabelled, or grows without reason."""

from __future__ import annotations

import gzip as gz
import struct
import zlib
from typing import Callable, Iterable, Iterator

from cases import ACCEPTED, MIB, Case

QUERY = "key=k&format=ndjson"
ROWS = b"".join(b'{"k":"key-%d","n":%d}\n' % (n, n * 7919) for n in range(40))
GZIP = {"content-encoding": "gzip"}
ZSTD = {"content-encoding": "zstd"}


def gzip_of(rows: bytes) -> bytes:
    return gz.compress(rows, 9, mtime=0)


# zstd, as RFC 8878 has it; of its blocks those that need no entropy coder.


def zstd_of(rows: bytes, block: int = 1000) -> bytes:
    """One frame of raw blocks, its window 1 MiB."""
    pieces = [rows[at:at + block] for at in range(0, len(rows), block)] or [b""]
    return zstd_head() + b"".join(zstd_block(0, piece, n == len(pieces) - 1) for n, piece in enumerate(pieces))


def zstd_head(descriptor: int = 0, window: int = 0x50, rest: bytes = b"") -> bytes:
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + (b"" if descriptor & 0x20 else bytes([window])) + rest


def zstd_block(kind: int, content: bytes, last: bool, size: int | None = None) -> bytes:
    head = (len(content) if size is None else size) << 3 | kind << 1 | int(last)
    return struct.pack("<I", head)[:3] + content


def zstd_repeated(byte: bytes, count: int, before: bytes = b"") -> bytes:
    """`count` times one byte, in blocks of 128 KiB, each of four bytes: 32,768 to 1."""
    full, left = divmod(count, 1 << 17)
    blocks = [zstd_block(1, byte, False, 1 << 17)] * full + [zstd_block(1, byte, False, left)] * (left > 0)
    return zstd_head() + (zstd_block(0, before, False) if before else b"") + b"".join(blocks) + zstd_block(0, b"", True)


def gzip_repeated(byte: bytes, count: int) -> bytes:
    """The same in gzip: 1,030 to 1."""
    block, crc = byte * MIB, 0
    for _ in range(count // MIB):
        crc = zlib.crc32(block, crc)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush, what follows refers to nothing before: the same bytes say the same again.
    packed = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    end = b"\3\0" + struct.pack("<II", crc, count & 0xffffffff)
    return b"\x1f\x8b\x08\0\0\0\0\0\2\xff" + packed * (count // MIB) + end


def both(name: str, pack: Callable[[bytes], bytes], headers: dict[str, str]) -> Iterator[Case]:
    """What holds for either."""
    whole = pack(ROWS)
    yield Case("sound", whole, ACCEPTED, records=40, values={"key-7": {"k": "key-7", "n": 55433}}, headers=headers)
    yield Case("sound, and nothing is said of it", whole, ACCEPTED, records=40)
    step = max(1, len(whole) // 90)
    for end in range(5, len(whole), step):
        yield Case(f"cut after {end} of {len(whole)}", whole[:end], "bad_rows", row=0, headers=headers)
    magic = 2 if headers is GZIP else 4
    for end in range(1, 4):
        yield Case(f"cut after {end}", whole[:end], "encoding_mismatch" if end < magic else "bad_rows", row=0, headers=headers)
    yield Case("cut, and rows at fault before", pack(b'{"k":1\n' * 9 + ROWS * 400)[:-9], "bad_rows", row=1, headers=headers)
    yield Case("nothing", b"", "no_rows", row=0, headers=headers)
    yield Case("nothing, compressed", pack(b""), "no_rows", row=0, headers=headers)
    yield Case("line ends, compressed", pack(b"\n\n"), "no_rows", row=0, headers=headers)
    yield Case("twice", pack(pack(ROWS)), "bad_rows", row=0, headers=headers)
    yield Case("three times", pack(pack(pack(ROWS))), "bad_rows", row=0, headers=headers)
    yield Case("gzip within", pack(gzip_of(ROWS)), "bad_rows", row=0, headers=headers)
    yield Case("zstd within", pack(zstd_of(ROWS)), "bad_rows", row=0, headers=headers)
    for inner, magic in {"bzip2": b"BZh91AY&SY\x01\x02", "xz": b"\xfd7zXZ\0\0\x04", "zip": b"PK\x03\x04\x14\0\0\0", "orc": b"ORC\0\x01"}.items():
        yield Case(f"{inner} within", pack(magic), "bad_rows", row=0, headers=headers)
    yield Case("Parquet within, as rows", pack(b"PAR1" + bytes(40) + b"PAR1"), "bad_rows", row=1, headers=headers)
    halves = pack(ROWS[:900]) + pack(ROWS[900:])
    yield Case("two members", halves, ACCEPTED, records=40, headers=headers)
    yield Case("a member for each byte", b"".join(pack(ROWS[n:n + 1]) for n in range(len(ROWS))), ACCEPTED, records=40, headers=headers)
    yield Case("10,000 empty members", pack(b"") * 10_000 + pack(ROWS), ACCEPTED, records=40, headers=headers)
    yield Case("rubbish behind", whole + b"rubbish behind", "bad_rows", row=0, headers=headers)
    yield Case("zeros behind", whole + bytes(512), "bad_rows", row=0, headers=headers)
    yield Case("rows behind", whole + ROWS, "bad_rows", row=0, headers=headers)
    yield Case("half a member behind", whole + whole[:20], "bad_rows", row=0, headers=headers)
    yield Case("a row at fault within", pack(ROWS + b'{"k":\n'), "bad_rows", row=41, headers=headers)
    yield Case("not UTF-8 within", pack(ROWS + b'{"k":"\xff"}\n'), "bad_rows", row=41, headers=headers)
    for label in ("br", "deflate", "compress", "lz4", "snappy", "gzip, gzip", "gzip, zstd", "zstd,", "gzip;q=1", "*", "utf-8", "x-zstd", "aws-chunked"):
        yield Case(f"Content-Encoding: {label}", whole, "unsupported_encoding", row=0, headers={"content-encoding": label})
    other = GZIP if headers is ZSTD else ZSTD
    yield Case("the other one's name", whole, "encoding_mismatch", row=0, headers=other)
    yield Case("plain rows under its name", ROWS, "encoding_mismatch", row=0, headers=headers)
    yield Case("said in capitals", whole, ACCEPTED, records=40, headers={"content-encoding": headers["content-encoding"].upper()})
    yield Case("said to be nothing", whole, ACCEPTED, records=40, headers={"content-encoding": "identity"})
    for limit in ("min", "max"):
        row = b'{"k":"%s","pad":"' % limit.encode() + b"a" * (8 * MIB) + b'"}\n'
        yield Case(f"one row of 8 MiB ({limit})", pack(row), ACCEPTED, records=1, headers=headers)


def gzip() -> Iterator[Case]:
    yield from both("gzip", gzip_of, GZIP)
    whole = gzip_of(ROWS)
    for at, name in {2: "method", 3: "flags"}.items():
        for value in (0xff, 0x20, 0x00 if at == 2 else 0x80, 0x07):
            if at == 3 and value == 0x07:
                continue  # Says that fields follow, which the data then is taken for.
            yield Case(f"{name} {value:#x}", whole[:at] + bytes([value]) + whole[at + 1:], "bad_rows", row=0, headers=GZIP)
    for bit in range(64):
        at = len(whole) - 8 + bit // 8
        bad = whole[:at] + bytes([whole[at] ^ 1 << bit % 8]) + whole[at + 1:]
        yield Case(f"bit {bit} of checksum and length", bad, "bad_rows", row=0, headers=GZIP)
    named = whole[:3] + b"\x08" + whole[4:10] + b"../../etc/passwd\0" + whole[10:]
    yield Case("a name that is a path", named, ACCEPTED, records=40, headers=GZIP)
    yield Case("a name that does not end", whole[:3] + b"\x08" + whole[4:10] + b"x" * 100_000, "bad_rows", row=0, headers=GZIP)
    yield Case("an extra field longer than the rest", whole[:3] + b"\x04" + whole[4:10] + b"\xff\xff" + whole[10:], "bad_rows", row=0, headers=GZIP)
    bombs: list[tuple[str, Callable[[], Iterable[bytes]]]] = [
        ("1 GB of spaces", lambda: [gzip_repeated(b" ", 1 << 30)]),
        ("1 GB of line ends", lambda: [gzip_repeated(b"\n", 1 << 30)]),
        ("1 GB of zeros", lambda: [gzip_repeated(b"\0", 1 << 30)]),
        ("1 GB of rows", lambda: [gzip_of(b'{"k":"x"}\n' * 100_000)] * 1000),
        ("1 GB in 1,024 members", lambda: [gzip_repeated(b"\n", MIB)] * 1024),
    ]
    for name, body in bombs:
        long_row = "spaces" in name or "zeros" in name
        # A line beyond 64 MiB is refused before the 256 MiB that are free have been read.
        yield Case(f"bomb: {name}", body, "bad_rows" if long_row else "decompression_limit", row=1 if long_row else 0, headers=GZIP,
                   memory=700 * MIB if long_row else 256 * MIB)


def zstd() -> Iterator[Case]:
    yield from both("zstd", zstd_of, ZSTD)
    blocks = zstd_block(0, ROWS, True)
    for name, head in {
        "a window of 3.75 TiB": zstd_head(window=0xff), "a window of 256 MiB": zstd_head(window=0x90), "a reserved bit": zstd_head(0x08),
        "a dictionary that is not there": zstd_head(0x01, rest=b"\x07"), "a dictionary of four bytes": zstd_head(0x03, rest=b"\x07\0\0\x01"),
        "a content size of 2^64 - 1": zstd_head(0xe0, rest=b"\xff" * 8), "a content size of 2^63": zstd_head(0xe0, rest=bytes(7) + b"\x80"),
        "too small a content size": zstd_head(0x20, rest=b"\x05"), "too large a content size": zstd_head(0x60, rest=b"\xff\xff"),
        "a checksum that is not there": zstd_head(0x04),
    }.items():
        yield Case(name, head + blocks, "bad_rows", row=0, headers=ZSTD)
    yield Case("a wrong checksum", zstd_head(0x04) + blocks + b"\0\0\0\0", "bad_rows", row=0, headers=ZSTD)
    yield Case("the right content size", zstd_head(0x60, rest=struct.pack("<H", len(ROWS) - 256)) + blocks, ACCEPTED, records=40, headers=ZSTD)
    yield Case("an unused bit", zstd_head(0x10) + blocks, ACCEPTED, records=40, headers=ZSTD)
    for size in (1, 128 * 1024 + 1, (1 << 21) - 1):
        for kind in (0, 1, 2, 3):
            if (kind, size) == (1, 1):
                continue
            yield Case(f"a block of kind {kind} that claims {size}", zstd_head() + zstd_block(kind, ROWS[:100], True, size), "bad_rows", row=0, headers=ZSTD)
    yield Case("no last block", zstd_head() + zstd_block(0, ROWS, False), "bad_rows", row=0, headers=ZSTD)
    yield Case("no block", zstd_head(), "bad_rows", row=0, headers=ZSTD)
    for kind in range(16):
        frame = bytes([0x50 | kind]) + b"\x2a\x4d\x18"
        yield Case(f"a frame to be skipped, {kind}", frame + struct.pack("<I", 3) + b"abc" + zstd_of(ROWS), ACCEPTED, records=40, headers=ZSTD)
        yield Case(f"a frame to be skipped, {kind}, that claims 4 GiB", frame + b"\xff" * 4 + zstd_of(ROWS), "bad_rows", row=0, headers=ZSTD)
    for old in range(0x22, 0x28):
        yield Case(f"format 0.{old - 0x20}", bytes([old]) + b"\xb5\x2f\xfd" + zstd_head()[4:] + blocks, "encoding_mismatch", row=0, headers=ZSTD)
    bombs: dict[str, tuple[bytes, bool]] = {
        "1 GB of line ends, 32,768 to 1": (zstd_repeated(b"\n", 1 << 30), False),
        "16 GB of line ends": (zstd_repeated(b"\n", 1 << 34), False),
        "16 GB of spaces": (zstd_repeated(b" ", 1 << 34), True),
        "16 GB of zeros behind a row": (zstd_repeated(b"\0", 1 << 34, ROWS), True),
        "16 GB in 16,384 frames": (zstd_repeated(b"\n", MIB) * (1 << 14), False),
        "16 GB in many frames with empty ones between": ((zstd_repeated(b"\n", 16 * MIB) + zstd_of(b"")) * 1024, False),
    }
    for name, (body, long_row) in bombs.items():
        row = (41 if "behind" in name else 1) if long_row else 0
        yield Case(f"bomb: {name}", body, "bad_rows" if long_row else "decompression_limit", row=row, headers=ZSTD, memory=700 * MIB if long_row else 256 * MIB)
