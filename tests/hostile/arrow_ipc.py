"""Arrow IPC files and streams: cut, and with every word of them changed."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Iterator

from cases import ACCEPTED, ANY, MOST_MEMORY, Case

QUERY = "key=k&format=arrow"


def unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


# Three rows of a text, a number, a dictionary and a list, as pyarrow writes them.
STREAM = unpacked("""
eNqFUTtSw0AM1dprxxO22MLDuKDwIShSUqagSJkyH5gJw7egIB3H4AgcgUOk4D4Ui6TVmo3GgDyap9X3SQ4hhIUB8EAyBQc1VNCghWIsWIQl5hBa9gF8IDzJu8cYOl2Ldi
c+TOF+hHeoLebMY17hszwQvHm+vif7lXPA9FzfIYsaJsjIQyv8TEVzzlHPsh40Z4va4EfeRmKfWb83tA8ZB13/wPUOdcL15L5gHu3Ag16Jh96DetzyO94MR4V32l3iDq14
WcedoLCQbgY8ezpwT/+iw0wrkUvxF/AjJfwuTtAL5nVGvcf8L/uItMfS5HucHu9RWt5hN3Q55n0QDjnXkz94e4XyL4Y7GcFe+Weqz0zdYa7qF2rOStWv1HySauTmper7X3
zs7pRTy6z11XrzuNnuK1WX5CtE0bF8bpFp+qep5ht7Fkb2
""")
FILE = unpacked("""
eNrtVL1Ow0AM9uWnjcoNN0QoA0PGrkgMHenWAYmqCx3TFqQifgcGuvEYfQRGRh6iA+/DUGzHl16tABIzjk72+fez7y7DyeT84hhgizQ2AA6IemChAylkKCGZBBJkU/Qhnr
AO4B3Zo+xLtKHS5igXokMXzkf8FleOPqPaL3KBHwi/frq6I/mFfcCUHF8gig50EZGDXPCZlOqc4DoKclCdBa4MP9JmYvsI8q1R3gQYdPw9x1tcXY4n9SnjyBsctPM4dB+U
44b39cxorq/Uu9gtSvVkLWeCKAE/M+DavQa7P4sCPROxnIk+gh3F8D1Z4U54GGfUvk3/vKo59TE1YR+H+33ECfewbLLs494IhhDrwQ+4neJyFs2cjPBS6Qcqz0DNYaTix6
pOpeIrVZ8obZl5rPL+Zm+bO/l0pNbscjZ/mC9WqYrz9LmtSdvCulGw/Jn6GNfcxYxflpVXSPerH7zfvgCtpMhS3ROvf1PnAP//iz/9L9aoGPI/+Qv2eXEX
""")
PACKED = unpacked("""
eNqFVDtOw0AQnV07jgEXBlwECZCRKOiQEAUldCkpKfOBAvFLQUE6KJByBI7ABZAocwAKjkCZOyC0zM5OkmEim4lWb+f/Zncd55w7NQA5eFmGDBJoQIo7FBNDjHCGMR5jsg
G8IwxYL9GHxqzAfYttGEL1PF7jKjCmHeJsLuKA8fL+4sbvHykGTEn5LWSRQBMZ5VAwP9PwfQ5xbYoavk8fV4o/b03Z9ynqveD+Q3DQ+beUn+FqUr43HxOPYsbDa1Meeg5f
44r0cGbYyo397OzPMDqcbEaVwMaUfwRzkfxzytlGjGc5HVy73NeClIR4J0wlgmrZYiwZ14XPLNSFwBVl723/p8y6C4FW+u0qwMOQdD//wNTMH8V0B6mRvf7O+yXmjWrmXa
mZd2fKj3GDsc24xthR8SNVZ6TO71Xlj1X+ROVPVH8vjYW55rpRepVf31cu7yN/micl9MDEWxNx6QlA97zbu+v1h6o++c1SIMt3MbO3ngHwz+PbBTFwMLb/vZuq+lENfytW
FX/1eF349uEXITBmLg==
""")

SOUND = {"ada": {"k": "ada", "n": 1, "c": "x", "l": [1, 2]}, "cy": {"k": "cy", "n": -5, "c": "x", "l": None}}
# What a word may be changed to: nothing, much, and less than nothing.
WORDS = [0, 1, 0x7FFFFFFF, -1, -0x80000000]


def cases() -> Iterator[Case]:
    for name, source in [("stream", STREAM), ("file", FILE), ("packed", PACKED)]:
        yield Case(f"a sound {name}", source, ACCEPTED, records=3, values=SOUND)
        for end in range(8, len(source), 31):
            yield Case(f"a {name} cut after {end}", source[:end], "bad_rows")
        for at in range(0, len(source) - 3, 16):
            word = WORDS[at // 16 % len(WORDS)]
            changed = source[:at] + struct.pack("<i", word) + source[at + 4:]
            # Many words do not matter; none may be more than a refusal.
            yield Case(f"a {name} with {word} at {at}", changed, ANY, memory=MOST_MEMORY)
    yield Case("a stream twice", STREAM + STREAM, "bad_rows")
    yield Case("a stream and more", STREAM + b"\0" * 8, "bad_rows")
    yield Case("a schema alone", STREAM[: 8 + struct.unpack("<i", STREAM[4:8])[0]], "bad_rows")
    for length in [-1, 0x7FFFFFFF, 0x7FFFFFF0]:
        yield Case(f"a message of {length}", b"\xff\xff\xff\xff" + struct.pack("<i", length) + STREAM[8:], "bad_rows", memory=MOST_MEMORY)
