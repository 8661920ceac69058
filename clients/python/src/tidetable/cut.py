"""The values of a batch as the bytes they were stored as, without parsing them.

The server writes `{"version":7,"results":[{"key":"a","found":true,"value":…},{"key":"b","found":false}]}`, in the
order asked, without spaces. Between two results stands `},{"key":` and there are as many such places as there are
results, less one. If the whole answer has exactly so many, each is a border, for a value that held that text would make
one more; if it has more, nothing is cut here and the answer is parsed. Each piece has to begin with the key it answers.
"""

from __future__ import annotations

import json
from typing import List, Optional, Sequence, Tuple, Union

BORDER = b'},{"key":'
_HEAD = b'{"version":'
_RESULTS = b',"results":[{"key":'
_FOUND = b',"found":true,"value":'
_ABSENT = b',"found":false'
# Stands after a value that is no JSON. No JSON text ends like this: in a text its quotes are escaped.
_ENCODED = b',"encoding":"base64"'


def cut_values(body: Union[bytes, bytearray], keys: Sequence[str]) -> Optional[Tuple[int, List[Optional[bytes]]]]:
    """The version, and the bytes of each value or None if its key is absent. None if the borders are not certain."""
    begin = body.find(_RESULTS, 0, 64)
    if begin < 0 or not body.startswith(_HEAD) or not body.endswith(b"}]}"):
        return None
    version = bytes(body[len(_HEAD) : begin])
    if not version.isdigit():
        return None
    pieces = bytes(body[begin + len(_RESULTS) : -3]).split(BORDER)
    if len(pieces) != len(keys):
        return None
    values: List[Optional[bytes]] = []
    for piece, key in zip(pieces, keys):
        name = json.dumps(key, ensure_ascii=False).encode("utf-8")
        if piece.startswith(name + _FOUND) and not piece.endswith(_ENCODED):
            values.append(piece[len(name) + len(_FOUND) :])
        elif piece == name + _ABSENT:
            values.append(None)
        else:
            return None
    return int(version), values
