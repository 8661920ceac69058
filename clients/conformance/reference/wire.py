"""HTTP/1.1 over plain sockets, as much of it as the reference client needs, and a pool of connections.

The total timeout is of everything: every read waits no longer than is left of it.
"""

from __future__ import annotations

import socket
import time

from errors import Broken, TimedOut
from wrongs import wrong


class Deadline:
    """When a call has to be over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        if wrong("timeout_ignored"):
            return 3600.0
        if wrong("timeout_of_each_read"):
            return self.seconds
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimedOut("the total timeout is over")
        return left


class Connection:
    """One connection, and what came over it that was not read yet."""

    def __init__(self, address: tuple[str, int], connect_timeout: float, deadline: Deadline) -> None:
        left = deadline.left()
        try:
            self.socket = socket.create_connection(address, left if wrong("connect_timeout_ignored") else min(connect_timeout, left))
        except socket.timeout:
            deadline.left()
            if left < connect_timeout or wrong("connect_timeout_ignored"):
                raise TimedOut("no connection within the total timeout") from None
            raise Broken("no connection within the connect timeout") from None
        except OSError as fault:
            raise Broken(f"no connection: {fault}") from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.keep = True

    def read(self, deadline: Deadline) -> bytes:
        """What comes next; empty at the end."""
        self.socket.settimeout(deadline.left())
        try:
            return self.socket.recv(65536)
        except socket.timeout:
            raise TimedOut("the total timeout is over") from None
        except OSError as fault:
            raise Broken(f"the connection broke: {fault}") from None

    def line(self, deadline: Deadline) -> bytes:
        while b"\r\n" not in self.buffer:
            more = self.read(deadline)
            if not more:
                raise Broken("the connection ended in the middle of an answer")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def exactly(self, length: int, deadline: Deadline) -> bytes:
        while len(self.buffer) < length:
            more = self.read(deadline)
            if not more and wrong("short_body_is_a_value"):
                self.keep, length = False, len(self.buffer)
                break
            if not more:
                raise Broken("the body is shorter than its length")
            self.buffer += more
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return body

    def chunks(self, deadline: Deadline) -> bytes:
        body = b""
        while True:
            try:
                size = int(self.line(deadline).split(b";")[0], 16)
            except Broken:
                if wrong("short_body_is_a_value"):
                    self.keep = False
                    return body
                raise
            body += self.exactly(size, deadline)
            if wrong("short_body_is_a_value") and not self.keep:
                return body
            self.line(deadline)
            if size == 0:
                return body

    def exchange(self, request: bytes, deadline: Deadline) -> tuple[int, dict[str, str], bytes]:
        """Sends a request and reads the whole of its answer."""
        self.socket.settimeout(deadline.left())
        try:
            self.socket.sendall(request)
        except socket.timeout:
            raise TimedOut("the total timeout is over") from None
        except OSError as fault:
            raise Broken(f"the connection broke: {fault}") from None
        status = int(self.line(deadline).split(b" ")[1])
        headers = {}
        while line := self.line(deadline).decode("latin-1"):
            name, value = line.split(":", 1)
            headers[name if wrong("headers_by_case") else name.lower()] = value.strip()
        named = {name.lower(): value for name, value in headers.items()}
        if status in (204, 304):
            body = b""
        elif named.get("transfer-encoding", "").lower() == "chunked":
            body = self.chunks(deadline)
        else:
            body = self.exactly(int(named.get("content-length", "0")), deadline)
        self.keep = self.keep and named.get("connection", "").lower() != "close"
        return status, headers, body


class Pool:
    """Connections that wait for their next request."""

    def __init__(self, address: tuple[str, int], connect_timeout: float) -> None:
        self.address, self.connect_timeout = address, connect_timeout
        self.idle: list[Connection] = []

    def exchange(self, request: bytes, deadline: Deadline) -> tuple[int, dict[str, str], bytes]:
        connection = self.idle.pop() if self.idle else Connection(self.address, self.connect_timeout, deadline)
        try:
            answer = connection.exchange(request, deadline)
        except BaseException as fault:
            if wrong("late_answer_is_read") and isinstance(fault, TimedOut):
                self.idle.append(connection)
            else:
                connection.socket.close()
            raise
        if connection.keep and not wrong("a_connection_for_each"):
            self.idle.append(connection)
        else:
            connection.socket.close()
        return answer

    def close(self) -> None:
        for connection in self.idle:
            connection.socket.close()
        self.idle.clear()
