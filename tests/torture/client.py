"""HTTP/1.1 over a plain socket that is kept open.

Sending and receiving are two calls, so that one reader has requests under way on several connections. What
was sent and got no answer is Unanswered, which is not the same as Unsent: the one may have happened.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]
Headers = Iterable[tuple[str, str]]

# After this long a request counts as unanswered.
TIMEOUT = 20.0
LONGEST_HEAD = 1 << 17


class Unsent(Exception):
    """There was no connection: the server has not seen the request."""


class Unanswered(Exception):
    """The request was sent, in part at least, and no whole answer came: its outcome is unknown."""


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    start: float
    end: float

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def code(self) -> str | None:
        """The code of a problem document."""
        if self.headers.get("content-type", "").startswith("application/problem+json"):
            problem = self.json()
            return problem.get("code") if isinstance(problem, dict) else None
        return None

    def version(self) -> int | None:
        text = self.headers.get("tidetable-version", "")
        return int(text) if text.isdigit() else None

    def __str__(self) -> str:
        return f"{self.status} {self.headers} {self.body[:600]!r}"


class Connection:
    """One connection, made when it is needed and made anew when it was lost."""

    def __init__(self, address: Address, timeout: float = TIMEOUT) -> None:
        self.address = address
        self.timeout = timeout
        self._socket: socket.socket | None = None
        self._rest = b""
        self._started = 0.0
        self._alive = 0.0
        self._head_only = False

    def ask(self, method: str, path: str, body: Any = None, headers: Headers = ()) -> Reply:
        """One request and its answer. A body that is not bytes is sent as JSON."""
        self.send(method, path, body, headers)
        return self.receive()

    def send(self, method: str, path: str, body: Any = None, headers: Headers = ()) -> None:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.address[0]}:{self.address[1]}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if data is not None:
            lines.append(f"Content-Length: {len(data)}")
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        self.send_raw(head + (data or b""), head_only=method == "HEAD")

    def send_raw(self, request: bytes, head_only: bool = False) -> None:
        """Sends bytes as they are; the answer has no body if `head_only`."""
        self._head_only = head_only
        connected = self._connect()
        self._started = time.monotonic()
        try:
            connected.sendall(request)
        except OSError as error:
            # An answer may have come before the whole request was sent; `receive` finds out.
            if not isinstance(error, BrokenPipeError | ConnectionResetError):
                self.close()
                raise Unanswered(f"while sending: {error!r}") from error

    @property
    def started(self) -> float:
        """When the last request was begun to be sent."""
        return self._started

    @property
    def alive(self) -> float:
        """When this connection was last known to be whole: it was made, or brought an answer. What broke
        it happened after that, and maybe before the request was sent."""
        return self._alive

    def receive(self) -> Reply:
        try:
            return self._receive()
        except (OSError, ValueError) as error:
            self.close()
            raise Unanswered(repr(error)) from error

    def is_answered(self) -> bool:
        """Whether something came back: an answer, or the end of the connection."""
        return self._socket is not None and bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._rest = b""

    def _connect(self) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = socket.create_connection(self.address, timeout=self.timeout)
            except OSError as error:
                raise Unsent(repr(error)) from error
            self._alive = time.monotonic()
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket

    def _receive(self) -> Reply:
        head = self._until(b"\r\n\r\n", LONGEST_HEAD)
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ", 2)[1])
        if status == 100:
            return self._receive()
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self._body(status, headers)
        self._alive = end = time.monotonic()
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(status, headers, body, self._started, end)

    def _body(self, status: int, headers: dict[str, str]) -> bytes:
        if self._head_only or status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        return self._exactly(int(headers.get("content-length", "0")))

    def _chunks(self) -> bytes:
        parts = []
        while True:
            size = int(self._until(b"\r\n", 64).split(b";")[0], 16)
            part = self._exactly(size + 2)
            if part[-2:] != b"\r\n":
                raise ValueError("a chunk does not end as it should")
            if size == 0:
                return b"".join(parts)
            parts.append(part[:-2])

    def _until(self, end: bytes, longest: int) -> bytes:
        while (at := self._rest.find(end)) < 0:
            if len(self._rest) > longest:
                raise ValueError("an endless head")
            self._more()
        found, self._rest = self._rest[:at], self._rest[at + len(end) :]
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._rest) < count:
            self._more()
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def _more(self) -> None:
        if self._socket is None:
            raise ConnectionResetError("the connection is gone")
        more = self._socket.recv(1 << 18)
        if not more:
            raise ConnectionResetError("the server closed the connection")
        self._rest += more
