"""What a client was told: where the server is, who asks, how long, how often."""

from __future__ import annotations

import math
import os
import ssl
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from urllib.parse import urlsplit

from .arguments import one_of, positive_seconds, seconds, text, whole
from .errors import InvalidArgument

USER_AGENT = "tidetable-client-python/0.1.0"
DEFAULT_SERVER = "http://127.0.0.1:7070"

Loads = Callable[[bytes], Any]


@dataclass(frozen=True)
class CachePolicy:
    """How values are kept on this side.

    For `ttl` seconds a value is given without asking; after that it is asked for with its ETag, and
    an unchanged one is not sent again. With the mode `version`, as soon as any answer of the dataset
    comes from another version than before, nothing of the dataset is given unasked any more. The values of a
    pinned version cannot change, and never expire. Absent keys are not kept.
    """

    ttl: float = 1.0
    mode: str = "ttl"
    max_entries: int = 10_000
    max_bytes: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.ttl != math.inf:
            seconds("ttl", self.ttl, 0.0)
        one_of("mode", self.mode, ("ttl", "version"))
        whole("max_entries", self.max_entries, 0)
        whole("max_bytes", self.max_bytes, 0)


@dataclass(frozen=True)
class Settings:
    """All that a client needs. Can be pickled, with the token, unless it has an `ssl_context`."""

    base_url: str = ""
    # None: that of the environment, if there is one; "": none at all.
    token: Optional[str] = field(default=None, repr=False)
    connect_timeout: float = 1.0
    total_timeout: float = 5.0
    pool_size: int = 10
    max_tries: int = 3
    unit: Optional[str] = None
    cache: Optional[CachePolicy] = None
    loads: Optional[Loads] = None
    ca_file: Optional[str] = None
    ssl_context: Optional[ssl.SSLContext] = field(default=None, repr=False)

    def resolved(self) -> Settings:
        """With what the environment says, and checked."""
        url = text("base_url", self.base_url) or os.environ.get("TIDETABLE_SERVER") or DEFAULT_SERVER
        token = self.token if self.token is not None else os.environ.get("TIDETABLE_TOKEN") or None
        for name in ("connect_timeout", "total_timeout"):
            positive_seconds(name, getattr(self, name))
        for name in ("pool_size", "max_tries"):
            whole(name, getattr(self, name), 1)
        if self.cache is not None and not isinstance(self.cache, CachePolicy):
            raise InvalidArgument(f"cache is a CachePolicy, not a {type(self.cache).__name__}")
        if self.loads is not None and not callable(self.loads):
            raise InvalidArgument(f"loads is a function that decodes JSON, not a {type(self.loads).__name__}")
        if self.token is not None and not isinstance(self.token, str):
            raise InvalidArgument(f"token is a text, not a {type(self.token).__name__}")
        if self.unit is not None:
            header_value("unit", self.unit)
        # An empty token stays one: where this is unpickled it says that the environment's is not to be sent.
        changed = dict(self.__dict__, base_url=url, token=token)
        return Settings(**changed)


@dataclass(frozen=True)
class Address:
    """Where connections go, and what stands before every path."""

    host: str
    port: int
    tls: bool
    prefix: str
    authority: str

    @classmethod
    def parse(cls, base_url: str) -> Address:
        try:
            url = urlsplit(base_url)
            port = url.port
        except ValueError as error:
            raise InvalidArgument(f"the server's URL cannot be read: {error}") from None
        if url.scheme not in ("http", "https") or not url.hostname:
            raise InvalidArgument("the server's URL is to be http://HOST:PORT or https://HOST:PORT")
        if url.username is not None or url.query or url.fragment:
            raise InvalidArgument("the server's URL has a user, query or fragment: none belongs there")
        if any(c <= " " or c > "~" for c in url.path + url.hostname):
            raise InvalidArgument("the server's URL has spaces, or characters that are to be percent-encoded")
        tls = url.scheme == "https"
        usual = 443 if tls else 80
        host = url.hostname
        shown = f"[{host}]" if ":" in host else host
        authority = shown if port in (None, usual) else f"{shown}:{port}"
        return cls(host, port or usual, tls, url.path.rstrip("/"), authority)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Certificates are always checked, unless the caller's own context does not."""
    if settings.ssl_context is not None:
        return settings.ssl_context
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, TypeError) as error:
        raise InvalidArgument(f"ca_file {settings.ca_file!r} cannot be read: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def header_value(name: str, given: str) -> bytes:
    """A value of a header as bytes, refused if it would end the header."""
    # Never shown: it may be a token.
    if not isinstance(given, str):
        raise InvalidArgument(f"{name} is a text, not a {type(given).__name__}")
    try:
        value = given.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidArgument(f"the value of {name} has half of a surrogate pair") from None
    if any(byte < 0x20 or byte == 0x7F for byte in value) or value != value.strip():
        raise InvalidArgument(f"the value of {name} has control characters, or spaces around it")
    return value
