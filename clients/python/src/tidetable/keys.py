"""Keys as they go over HTTP: in a path, in a batch, and back."""

from __future__ import annotations

import base64
import operator
from collections.abc import Sequence
from typing import NamedTuple, Union
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
    elif hasattr(type(key), "__index__") and not isinstance(key, bool):
        # Also the whole numbers of numpy, as they come out of a DataFrame.
        raw = b"%d" % operator.index(key)
    else:
        raise InvalidArgument(f"a key is a str, bytes or int, not {type(key).__name__}")
    if not 1 <= len(raw) <= MAX_KEY_BYTES:
        raise InvalidArgument(f"a key has 1 to {MAX_KEY_BYTES} bytes, and this one {len(raw)}")
    return raw


def path_key(key: Key) -> tuple[str, str]:
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

    keys: Sequence[str]
    encoding: str

    @classmethod
    def of(cls, keys: Sequence[Key]) -> BatchKeys:
        """As text where all of them are, else all in base64url."""
        if _are_plain(keys):
            return cls(keys, "utf8")  # type: ignore[arg-type]
        if any(isinstance(key, bytes) for key in keys):
            return cls([base64url(key_bytes(key)) for key in keys], "base64url")
        return cls([key_bytes(key).decode("utf-8") for key in keys], "utf8")


def _are_plain(keys: Sequence[Key]) -> bool:
    """Whether all are ASCII texts of a good length, found out without looking at each in Python."""
    try:
        joined = "".join(keys)  # type: ignore[arg-type]
    except TypeError:
        return False
    lengths = list(map(len, keys))  # type: ignore[arg-type]
    return joined.isascii() and min(lengths) > 0 and max(lengths) <= MAX_KEY_BYTES
