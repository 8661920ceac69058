"""HTTP/1.1, without a socket: requests as bytes, and bytes as answers.

`AnswerReader` gives out a buffer, is told how many bytes came into it, and says when the answer
is whole. So the two transports differ in nothing but where the bytes come from. What is not
certainly a whole answer is none: a length that does not come true, an answer without a length, two lengths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Callable, Optional, Union

from .errors import BrokenConnection

BUFFER_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 1024 * 1024 * 1024

Buffer = Union[bytes, bytearray, memoryview]


class Body:
    """What a request carries that is not simply bytes: it is made while it is sent.

    `again` makes its bytes anew for another try; without a length it goes in chunks.
    """

    __slots__ = ("_chunks", "length", "again")

    def __init__(self, chunks: Callable[[], Iterable[Buffer]], length: Optional[int], again: bool) -> None:
        self._chunks = chunks
        self.length = length
        self.again = again

    def chunks(self) -> Iterator[Buffer]:
        return iter(self._chunks())


class Request:
    """One request: what is asked, and how long an answer may take.

    `deadline` is an instant of the monotonic clock or None; `patience` is how long the other side
    may be silent. `idempotent`: asking twice is as good as once.
    """

    __slots__ = ("method", "path", "headers", "body", "idempotent", "deadline", "patience")

    def __init__(
        self,
        method: str,
        path: str,
        body: Union[None, bytes, Body] = None,
        headers: tuple[tuple[str, bytes], ...] = (),
        idempotent: bool = True,
        deadline: Optional[float] = None,
        patience: float = 60.0,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.idempotent = idempotent
        self.deadline = deadline
        self.patience = patience

    def head(self, prefix: str, common: bytes) -> bytes:
        """The request line and headers; `common` are those of every request."""
        parts = [f"{self.method} {prefix}{self.path} HTTP/1.1\r\n".encode("ascii"), common]
        for name, value in self.headers:
            parts.append(b"%s: %s\r\n" % (name.encode("ascii"), value))
        body = self.body
        if isinstance(body, Body) and body.length is None:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif isinstance(body, Body):
            parts.append(b"Content-Length: %d\r\n" % (body.length or 0))
        elif body is not None:
            parts.append(b"Content-Length: %d\r\n" % len(body))
        elif self.method in ("POST", "PUT"):
            parts.append(b"Content-Length: 0\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def framed(self) -> Iterator[Buffer]:
        """The pieces of a `Body` as they go over the connection."""
        body = self.body
        if not isinstance(body, Body):
            return
        if body.length is None:
            for chunk in body.chunks():
                if len(chunk):
                    yield b"%x\r\n" % len(chunk)
                    yield chunk
                    yield b"\r\n"
            yield b"0\r\n\r\n"
            return
        left = body.length
        for chunk in body.chunks():
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
        if left:
            # The connection is not usable any more: the other side waits for what was announced.
            raise BrokenConnection("the data to send changed its length while it was sent")


class Response:
    """A whole answer. Names of headers are in lower case."""

    __slots__ = ("status", "headers", "body")

    def __init__(self, status: int, headers: dict[str, str], body: Union[bytes, bytearray]) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class AnswerReader:
    """Reads the answers of one connection, one after the other."""

    __slots__ = ("_buffer", "_view", "_filled", "_method", "_response", "_length", "_large", "_got", "_chunked", "keep")

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self.keep = True
        self.begin("GET")

    def begin(self, method: str) -> None:
        """Forgets the answer before; what comes now answers a request with `method`."""
        self._filled = 0
        self._method = method
        self._response: Optional[Response] = None
        self._length = 0
        self._large: Optional[bytearray] = None
        self._got = 0
        self._chunked: Optional[_Chunked] = None

    @property
    def begun(self) -> bool:
        """Whether anything of the answer has come."""
        return self._filled > 0 or self._response is not None

    def buffer(self) -> memoryview:
        """Where the next bytes belong. Never empty while the answer is not whole."""
        if self._large is not None:
            return memoryview(self._large)[self._got :]
        if self._chunked is not None:
            return self._view
        return self._view[self._filled :]

    def received(self, count: int) -> bool:
        """`count` bytes have come; whether the answer is whole."""
        if self._large is not None:
            self._got += count
            return self._got == self._length
        if self._chunked is not None:
            return self._chunked.feed(self._view[:count])
        self._filled += count
        while self._response is None:
            if not self._read_head():
                return False
        return self._after_head()

    def ended(self) -> None:
        """The connection was closed by the other side."""
        if not self.begun:
            raise BrokenConnection("the connection was closed before an answer came")
        raise BrokenConnection("the connection was closed in the middle of an answer")

    def response(self) -> Response:
        """The answer, once it is whole."""
        response = self._response
        if response is None:
            raise BrokenConnection("the answer is not whole")
        if self._large is not None:
            response.body = self._large
        elif self._chunked is not None:
            response.body = self._chunked.body
        else:
            response.body = bytes(self._view[: self._length])
        return response

    def _read_head(self) -> bool:
        """Takes the head out of the buffer, if it is there; 1xx answers are passed over."""
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            if self._filled >= MAX_HEAD_BYTES:
                raise BrokenConnection(f"the head of the answer has more than {MAX_HEAD_BYTES} bytes")
            return False
        status, headers, keep = _parse_head(bytes(self._view[:end]))
        rest = bytes(self._view[end + 4 : self._filled])
        self._view[: len(rest)] = rest
        self._filled = len(rest)
        if status < 200:
            if status == 101:
                raise BrokenConnection("the other side changed the protocol unasked")
            return self._filled > 0
        self.keep = keep
        self._response = Response(status, headers, b"")
        return True

    def _after_head(self) -> bool:
        """The first bytes of the body are in the buffer: where does it end?"""
        response = self._response
        assert response is not None
        if self._method == "HEAD" or response.status in (204, 304):
            return self._whole(0)
        coding = response.headers.get("transfer-encoding")
        if coding is not None:
            if coding.strip().lower() != "chunked" or "content-length" in response.headers:
                raise BrokenConnection(f"the length of the answer is not certain: Transfer-Encoding {coding!r}")
            self._chunked = _Chunked()
            return self._chunked.feed(self._view[: self._filled])
        length = _length(response.headers)
        if length <= BUFFER_BYTES:
            return self._whole(length)
        self._length = length
        self._large = bytearray(length)
        self._large[: self._filled] = self._view[: self._filled]
        self._got = self._filled
        return False

    def _whole(self, length: int) -> bool:
        if self._filled > length:
            raise BrokenConnection("more came than the answer announced")
        self._length = length
        return self._filled == length


class _Chunked:
    """A body in chunks. Trailers are read and forgotten."""

    __slots__ = ("body", "_raw", "_left", "_state")

    def __init__(self) -> None:
        self.body = bytearray()
        self._raw = bytearray()
        self._left = 0
        self._state = "size"

    def feed(self, piece: memoryview) -> bool:
        self._raw += piece
        at = 0
        while True:
            if self._state == "data":
                take = min(self._left, len(self._raw) - at)
                self.body += memoryview(self._raw)[at : at + take]
                at += take
                self._left -= take
                if self._left or len(self._raw) - at < 2:
                    break
                if self._raw[at : at + 2] != b"\r\n":
                    raise BrokenConnection("a chunk of the answer is longer than it said")
                at += 2
                self._state = "size"
            end = self._raw.find(b"\r\n", at)
            if end < 0:
                if len(self._raw) - at > MAX_HEAD_BYTES:
                    raise BrokenConnection("a chunk of the answer does not say its size")
                break
            line = bytes(self._raw[at:end])
            at = end + 2
            if self._state == "trailer":
                if line:
                    continue
                if at != len(self._raw):
                    raise BrokenConnection("more came than the answer announced")
                return True
            self._left = _chunk_size(line)
            self._state = "data" if self._left else "trailer"
            if len(self.body) + self._left > MAX_BODY_BYTES:
                raise BrokenConnection(f"the answer has more than {MAX_BODY_BYTES} bytes")
        del self._raw[:at]
        return False


def _chunk_size(line: bytes) -> int:
    digits = line.split(b";", 1)[0].strip()
    if not digits or len(digits) > 8 or not all(c in b"0123456789abcdefABCDEF" for c in digits):
        raise BrokenConnection("a chunk of the answer does not say its size")
    return int(digits, 16)


def _parse_head(head: bytes) -> tuple[int, dict[str, str], bool]:
    """Status, headers, and whether the connection may be used again."""
    lines = head.decode("latin-1").split("\r\n")
    status_line = lines[0]
    if not (status_line.startswith(("HTTP/1.1 ", "HTTP/1.0 ")) and status_line[9:12].isdigit()):
        raise BrokenConnection("what came is no answer of HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BrokenConnection("a header of the answer cannot be read")
        name = name.lower()
        value = value.strip()
        before = headers.get(name)
        headers[name] = value if before is None else f"{before}, {value}"
    connection = headers.get("connection")
    keep = status_line[7] == "1"
    if connection is not None:
        words: list[str] = [word.strip() for word in connection.lower().split(",")]
        keep = "close" not in words and (keep or "keep-alive" in words)
    return int(status_line[9:12]), headers, keep


def _length(headers: dict[str, str]) -> int:
    text = headers.get("content-length")
    if text is None:
        raise BrokenConnection("the answer does not say its length")
    if "," in text and len({one.strip() for one in text.split(",")}) == 1:
        text = text.split(",")[0].strip()
    if not (text.isascii() and text.isdigit()):
        raise BrokenConnection(f"the length of the answer cannot be read: {text[:40]!r}")
    length = int(text)
    if length > MAX_BODY_BYTES:
        raise BrokenConnection(f"the answer has more than {MAX_BODY_BYTES} bytes")
    return length
