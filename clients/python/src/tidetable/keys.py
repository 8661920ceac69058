"""Keys as they go over HTTP: in a path, in a batch, and back."""

from __future__ import annotations

import base64
from typing import List, NamedTuple, Sequence, Tuple, Union
from urllib.parse import quote

from .errors import InvalidArgument

Key = Union[str, bytes, int]

MAX_KEY_BYTES = 65_536
# Proxies take less than the 65,534 bytes of the server; what is longer goes in a batch.
MAX_PATH_KEY = 6_000

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~:")


def key_bytes(key: Key) -> bytes:
    """The bytes that a key is in the server. Whole numbers are their decimal text."""
    if isinstance(key, str):
        try:
            raw = key.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidArgument(f"the key {key[:40]!r} is no text: it has half of a surrogate pair") from None
    elif isinstance(key, bytes):
        raw = key
    elif isinstance(key, int) and not isinstance(key, bool):
        raw = b"%d" % key
    else:
        raise InvalidArgument(f"a key is a str, bytes or int, not {type(key).__name__}")
    if not 1 <= len(raw) <= MAX_KEY_BYTES:
        raise InvalidArgument(f"a key has 1 to {MAX_KEY_BYTES} bytes, and this one {len(raw)}")
    return raw


def path_key(key: Key) -> Tuple[str, str]:
    """The segment of a path, and the value of `key_encoding`, empty if none is needed."""
    raw = key_bytes(key)
    if isinstance(key, bytes) or raw in (b".", b".."):
        return base64url(raw), "base64url"
    if all(byte in _SAFE for byte in raw):
        return raw.decode("ascii"), ""
    return quote(raw, safe="~:"), ""


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class BatchKeys(NamedTuple):
    """The keys of one batch, as they are sent."""

    keys: List[str]
    encoding: str

    @classmethod
    def of(cls, keys: Sequence[Key]) -> BatchKeys:
        """As text where all of them are, else all in base64url."""
        texts: List[str] = []
        for key in keys:
            if type(key) is str:
                if not key or len(key) * 4 > MAX_KEY_BYTES or not key.isascii():
                    key_bytes(key)
                texts.append(key)
            elif isinstance(key, bytes):
                return cls([base64url(key_bytes(one)) for one in keys], "base64url")
            else:
                texts.append(key_bytes(key).decode("utf-8"))
        return cls(texts, "utf8")
