"""The values of a batch as the bytes they were stored as, without parsing them.

The server writes `{"version":7,"results":[{"key":"a","found":true,"value":…},{"key":"b","found":false}]}`, in the
order asked, without spaces. Between two results stands `},{"key":` and there are as many such places as there are
results, less one. If the whole answer has exactly so many, each is a border, for a value that held that text would make
one more. If it has more, the answer is gone through value by value to find where each ends, which takes as long as parsing it.
Each piece has to begin with the key it answers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Optional, Union

BORDER = b'},{"key":'
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_DECODER = json.JSONDecoder()
_HEAD = b'{"version":'
_RESULTS = b',"results":[{"key":'
_FOUND = b',"found":true,"value":'
_ABSENT = b',"found":false'
# Stands after a value that is no JSON. No JSON text ends like this: in a text its quotes are escaped.
_ENCODED = b',"encoding":"base64"'


def cut_values(body: Union[bytes, bytearray], keys: Sequence[str]) -> Optional[tuple[int, list[Optional[bytes]]]]:
    """The version, and the bytes of each value or None if its key is absent. None if it is not written as above, or values are no JSON."""
    begin = body.find(_RESULTS, 0, 64)
    if begin < 0 or not body.startswith(_HEAD) or not body.endswith(b"}]}"):
        return None
    version = bytes(body[len(_HEAD) : begin])
    if not version.isdigit():
        return None
    results = bytes(body[begin + len(_RESULTS) : -3])
    pieces = results.split(BORDER)
    if len(pieces) != len(keys):
        walked = _walk(results)
        if walked is None or len(walked) != len(keys):
            return None
        pieces = walked
    begins = _beginnings(keys)
    some_encoded = _ENCODED in body
    values: list[Optional[bytes]] = []
    for piece, begin_of_it in zip(pieces, begins):
        if piece.startswith(begin_of_it) and not (some_encoded and piece.endswith(_ENCODED)):
            values.append(piece[len(begin_of_it) :])
        elif piece == begin_of_it[: -len(_FOUND)] + _ABSENT:
            values.append(None)
        else:
            return None
    return int(version), values


def _beginnings(keys: Sequence[str]) -> list[bytes]:
    """What stands before the value of each key, if it was found."""
    joined = "".join(keys)
    if joined.isascii() and joined.isprintable() and '"' not in joined and "\\" not in joined:
        # Written as they are, and without a line break: all at once.
        rest = '"' + _FOUND.decode()
        return f'"{(rest + chr(10) + chr(34)).join(keys)}{rest}'.encode("ascii").split(b"\n")
    return [_ENCODER.encode(key).encode("utf-8") + _FOUND for key in keys]


def _walk(results: bytes) -> Optional[list[bytes]]:
    """The pieces between borders, by where each key and value ends."""
    try:
        text = results.decode("utf-8")
        found, absent, border = _FOUND.decode(), _ABSENT.decode(), BORDER.decode()
        pieces: list[bytes] = []
        begin = 0
        while True:
            _, end = _DECODER.raw_decode(text, begin)
            if text.startswith(found, end):
                _, end = _DECODER.raw_decode(text, end + len(found))
            elif text.startswith(absent, end):
                end += len(absent)
            else:
                return None
            pieces.append(text[begin:end].encode("utf-8"))
            if end == len(text):
                return pieces
            if not text.startswith(border, end):
                return None
            begin = end + len(border)
    except ValueError:
        return None
