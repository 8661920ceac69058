"""Requests over sockets: a pool of connections that threads share.

A connection is used by one thread at a time. It goes back only after a whole answer; whatever went
wrong closes it. After a fork the child begins with a pool of its own: connections of the parent are never
written to.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
import weakref
from typing import Optional

from .errors import BrokenConnection, ClientClosed, ConnectError, DeadlineExceeded
from .http1 import AnswerReader, Body, Buffer, Request, Response
from .settings import Address, Settings, tls_context


class SocketTransport:
    """Sends requests of any thread, each over one of `pool_size` connections."""

    def __init__(self, address: Address, settings: Settings, common: bytes) -> None:
        self._address = address
        self._settings = settings
        self._common = common
        self._tls = tls_context(settings) if address.tls else None
        self._closed = False
        self._begin_anew()
        _transports.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._settings.pool_size)
        self._idle: list[_Connection] = []

    def send(self, request: Request) -> Response:
        """The whole answer, whatever its status. Raises what `errors.py` says of transport and deadline."""
        self._take_place(request.deadline)
        try:
            connection = self._idle_connection() or self._connect(request.deadline)
            try:
                response = connection.exchange(request, self._address.prefix, self._common)
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)
            return response
        finally:
            self._places.release()

    def close(self) -> None:
        """Closes what is idle; what is in use closes when its answer is there."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take_place(self, deadline: Optional[float]) -> None:
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._places.acquire(blocking=False):
            return
        left = None if deadline is None else deadline - time.monotonic()
        if not self._places.acquire(timeout=left if left is None else max(left, 0.0)):
            size = self._settings.pool_size
            raise DeadlineExceeded(f"all {size} connections of the pool were busy until the total timeout")

    def _idle_connection(self) -> Optional[_Connection]:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.close()

    def _give_back(self, connection: _Connection) -> None:
        if connection.reader.keep:
            with self._lock:
                if not self._closed:
                    self._idle.append(connection)
                    return
        connection.close()

    def _connect(self, deadline: Optional[float]) -> _Connection:
        ends = time.monotonic() + self._settings.connect_timeout
        if deadline is not None and deadline < ends:
            ends = deadline
        where = self._address.authority
        try:
            sock = _open(self._address, ends)
            if self._tls is not None:
                sock = _handshake(sock, self._tls, self._address.host, ends)
        except socket.timeout:
            if deadline is not None and time.monotonic() >= deadline:
                raise DeadlineExceeded(f"no connection to {where} until the total timeout") from None
            seconds = self._settings.connect_timeout
            raise ConnectError(f"no connection to {where} within {seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"no connection to {where}: {error}") from error
        return _Connection(sock)


def _open(address: Address, ends: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    failure: Optional[OSError] = None
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, where in found:
        left = ends - time.monotonic()
        if left <= 0:
            raise socket.timeout
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left)
            sock.connect(where)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError("the host has no address")


def _handshake(sock: socket.socket, context: ssl.SSLContext, host: str, ends: float) -> socket.socket:
    try:
        sock.settimeout(max(ends - time.monotonic(), 0.001))
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


class _Connection:
    """One socket, and the reader of its answers."""

    __slots__ = ("_sock", "reader", "_poll", "_deadline", "_patience")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reader = AnswerReader()
        self._poll = _poll_of(sock)
        self._deadline: Optional[float] = None
        self._patience = 0.0

    def close(self) -> None:
        # Not `shutdown`: after a fork the connection is the parent's, too.
        self._sock.close()

    def is_quiet(self) -> bool:
        """Whether nothing came while it was idle: an end, or what nobody asked for."""
        return not (self._has_come() or self._has_deciphered())

    def exchange(self, request: Request, prefix: str, common: bytes) -> Response:
        self._deadline = request.deadline
        self._patience = request.patience
        reader = self.reader
        reader.begin(request.method)
        answered_early = self._send(request, request.head(prefix, common))
        sock = self._sock
        try:
            while True:
                self._arm()
                count = sock.recv_into(reader.buffer())
                if not count:
                    reader.ended()
                if reader.received(count):
                    break
        except socket.timeout:
            raise self._late("the server did not answer in time") from None
        except OSError as error:
            raise BrokenConnection(f"the connection broke before the whole answer: {error}") from error
        if answered_early:
            reader.keep = False
        return reader.response()

    def _send(self, request: Request, head: bytes) -> bool:
        """Sends all of it, unless the server has answered before: then the rest is of no use to it."""
        body = request.body
        if not isinstance(body, Body):
            return not self._put(head if body is None else head + body)
        if not self._put(head):
            return True
        # What fails in here besides `_put` is the caller's data: a file that cannot be read, say.
        for piece in request.framed():
            if self._has_come() and not isinstance(self._sock, ssl.SSLSocket):
                return True
            if not self._put(piece):
                return True
        return False

    def _put(self, piece: Buffer) -> bool:
        """Sends a piece. False if the other side has closed: perhaps it said why before, which is read next."""
        self._arm()
        try:
            self._sock.sendall(piece)
            return True
        except socket.timeout:
            raise self._late("the server did not take the request in time") from None
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            raise BrokenConnection(f"the connection broke while the request was sent: {error}") from error

    def _arm(self) -> None:
        """How long the next step may take."""
        if self._deadline is None:
            self._sock.settimeout(self._patience)
            return
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the total timeout is over")
        self._sock.settimeout(min(left, self._patience))

    def _late(self, text: str) -> Exception:
        if self._deadline is not None and time.monotonic() >= self._deadline - 0.001:
            return DeadlineExceeded(f"{text}: the total timeout is over")
        return BrokenConnection(f"{text}: it was silent for {self._patience:g} s")

    def _has_deciphered(self) -> bool:
        """Whether TLS has taken bytes off the socket that nobody has read."""
        return isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0

    def _has_come(self) -> bool:
        if self._poll is not None:
            return bool(self._poll.poll(0))
        return bool(select.select([self._sock], [], [], 0)[0])


def _poll_of(sock: socket.socket) -> Optional[select.poll]:
    if not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll


_transports: weakref.WeakSet[SocketTransport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        idle = transport._idle
        transport._begin_anew()
        for connection in idle:
            connection.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
