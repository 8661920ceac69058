"""Requests over asyncio: a pool of connections that the tasks of one loop share.

What `transport.py` says of connections holds here too. A client that is used in another loop than before
(one `asyncio.run` after the other) begins there with new connections.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, Optional, cast

from .errors import BrokenConnection, ClientClosed, ConnectError, DeadlineExceeded, TidetableError
from .http1 import AnswerReader, Body, Request, Response
from .settings import Address, Settings, tls_context

# Of a body: pieces are written once less than this waits to be sent.
HIGH_WATER = 512 * 1024


class AsyncTransport:
    """Sends requests of the tasks of a loop, each over one of `pool_size` connections."""

    def __init__(self, address: Address, settings: Settings, common: bytes) -> None:
        self._address = address
        self._settings = settings
        self._common = common
        self._tls = tls_context(settings) if address.tls else None
        self._closed = False
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._begin_anew(None)

    def _begin_anew(self, loop: Optional[asyncio.AbstractEventLoop]) -> None:
        self._loop = loop
        self._idle: list[_Connection] = []
        self._free = self._settings.pool_size
        self._queue: deque[asyncio.Future[None]] = deque()

    async def send(self, request: Request) -> Response:
        if self._closed:
            raise ClientClosed("the client is closed")
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin_anew(loop)
        await self._take_place(loop, request.deadline)
        try:
            connection = self._idle_connection() or await self._connect(loop, request.deadline)
            try:
                response = await connection.exchange(request, self._address.prefix, self._common)
            except BaseException:
                connection.close()
                raise
            if connection.reader.keep and connection.usable and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()
            return response
        finally:
            self._give_place()

    def close(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        if self._loop is not None and not self._loop.is_closed():
            for connection in idle:
                connection.close()

    async def _take_place(self, loop: asyncio.AbstractEventLoop, deadline: Optional[float]) -> None:
        if self._free > 0:
            self._free -= 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._queue.append(place)
        timer = None
        if deadline is not None:
            timer = loop.call_later(max(deadline - time.monotonic(), 0.0), _fail, place, self._busy())
        try:
            await place
        except asyncio.CancelledError:
            # It may have been given in the same moment.
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give_place()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _busy(self) -> TidetableError:
        size = self._settings.pool_size
        return DeadlineExceeded(f"all {size} connections of the pool were busy until the total timeout")

    def _give_place(self) -> None:
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _idle_connection(self) -> Optional[_Connection]:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: Optional[float]) -> _Connection:
        seconds = self._settings.connect_timeout
        if deadline is not None:
            seconds = min(seconds, max(deadline - time.monotonic(), 0.0))
        address = self._address
        name = address.host if self._tls is not None else None
        making = loop.create_connection(
            lambda: _Connection(loop), address.host, address.port, ssl=self._tls, server_hostname=name
        )
        try:
            _, connection = await asyncio.wait_for(making, seconds)
        except asyncio.TimeoutError:
            if deadline is not None and time.monotonic() >= deadline - 0.001:
                raise DeadlineExceeded(f"no connection to {address.authority} until the total timeout") from None
            raise ConnectError(f"no connection to {address.authority} within {seconds:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectError(f"no connection to {address.authority}: {error}") from error
        return connection


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


class _Connection(asyncio.BufferedProtocol):
    """One connection, and the reader of its answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.reader = AnswerReader()
        self.usable = False
        self._transport: Optional[asyncio.Transport] = None
        self._answer: Optional[asyncio.Future[None]] = None
        self._room: Optional[asyncio.Future[None]] = None
        self._paused = False
        self._heard = 0.0

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER)
        self.usable = True

    def get_buffer(self, sizehint: int) -> memoryview:
        buffer = self.reader.buffer()
        if not len(buffer):
            # Only where more comes than an answer has: the next byte ends the connection.
            self.usable = False
            return memoryview(bytearray(1))
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        answer = self._answer
        if answer is None or answer.done():
            # Nobody asked for this.
            self.close()
            return
        self._heard = self._loop.time()
        try:
            if self.reader.received(nbytes):
                answer.set_result(None)
        except TidetableError as error:
            self.usable = False
            answer.set_exception(error)

    def eof_received(self) -> bool:
        self.usable = False
        if self._answer is not None:
            try:
                self.reader.ended()
            except TidetableError as error:
                _fail(self._answer, error)
        return False

    def connection_lost(self, error: Optional[Exception]) -> None:
        self.usable = False
        broken = BrokenConnection(f"the connection broke before the whole answer: {error or 'it was closed'}")
        if self._answer is not None:
            _fail(self._answer, broken)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._heard = self._loop.time()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # What the transport calls

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, request: Request, prefix: str, common: bytes) -> Response:
        self.reader.begin(request.method)
        answer = self._answer = self._loop.create_future()
        self._heard = self._loop.time()
        timer = self._watch(request, answer)
        try:
            await self._send(request, request.head(prefix, common), answer)
            await answer
        finally:
            if timer is not None:
                timer.cancel()
            self._answer = None
            if answer.done() and not answer.cancelled():
                # Looked at, though it may be another failure that is told.
                answer.exception()
        return self.reader.response()

    def _watch(self, request: Request, answer: asyncio.Future[None]) -> _Watch:
        return _Watch(self, request, answer)

    async def _send(self, request: Request, head: bytes, answer: asyncio.Future[None]) -> None:
        transport = self._transport
        assert transport is not None
        body = request.body
        if not isinstance(body, Body):
            transport.write(head if body is None else head + body)
            return
        transport.write(head)
        for piece in request.framed():
            while self._paused and not answer.done():
                self._room = self._loop.create_future()
                answer.add_done_callback(self._wake)
                await self._room
            if answer.done():
                # Answered, or broken, before all was sent: the rest is of no use.
                self.reader.keep = False
                return
            transport.write(piece)

    def _wake(self, _: Any) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


class _Watch:
    """Ends an exchange whose deadline is over, or whose other side was silent for too long."""

    def __init__(self, connection: _Connection, request: Request, answer: asyncio.Future[None]) -> None:
        self._connection = connection
        self._answer = answer
        self._patience = request.patience
        self._loop = connection._loop
        self._deadline = None
        if request.deadline is not None:
            self._deadline = self._loop.time() + max(request.deadline - time.monotonic(), 0.0)
        self._arm()

    def cancel(self) -> None:
        self._timer.cancel()

    def _arm(self) -> None:
        when = self._connection._heard + self._patience
        if self._deadline is not None and self._deadline < when:
            when = self._deadline
        self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if self._deadline is not None and now >= self._deadline:
            _fail(self._answer, DeadlineExceeded("the total timeout is over"))
        elif now >= self._connection._heard + self._patience:
            _fail(self._answer, BrokenConnection(f"the other side was silent for {self._patience:g} s"))
        else:
            self._arm()
