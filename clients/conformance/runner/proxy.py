"""Stands between a client and the server, writes down what comes, and makes go wrong what a case says.

One proxy, on a port of its own, for each case: what a client of the case before still sends goes nowhere.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable

# RST instead of FIN when the socket is closed.
AT_ONCE = struct.pack("ii", 1, 0)
LONGEST_HEAD = 1 << 20
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "upgrade", "http2-settings", "te"}


@dataclass
class Seen:
    """A request as it came, and what became of it."""

    number: int
    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    arrived: float
    arrived_wall: float
    status: int | None = None
    answered: dict[str, str] = field(default_factory=dict)
    ended: float | None = None
    not_before: float | None = None

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Proxy:
    """Listens from `open` to `close`; all in a thread with a loop of its own."""

    def __init__(self, server_port: int, operate: Callable[[dict[str, Any]], None]) -> None:
        self.server_port, self.operate = server_port, operate
        self.faults: list[dict[str, Any]] = []
        self.token: str | None = None
        self.seen: list[Seen] = []
        self.trouble: list[str] = []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.idle: dict[int, asyncio.StreamWriter] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    def open(self, faults: list[dict[str, Any]]) -> None:
        self.faults = faults
        self.thread.start()
        listening = asyncio.start_server(self.accepted, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self.listener = asyncio.run_coroutine_threadsafe(listening, self.loop).result(10)
        self.port = self.listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Ends every connection, stalled ones too."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def run(self) -> None:
        """Serves until `close`, and lets nothing outlive the loop."""
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self.end_all())
            # A step that was begun ends in its thread, and tells the loop of it.
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()

    async def end_all(self) -> None:
        self.listener.close()
        quiet = 0
        # One that was accepted a moment ago has its task, and one that ended is closed, only in the next turns of the loop.
        while quiet < 5:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)
            quiet = 0 if others else quiet + 1

    def close_idle(self) -> None:
        """Closes all connections that carry no request, as servers do after a while."""

        async def end() -> None:
            for writer in list(self.idle.values()):
                writer.close()
            self.idle.clear()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)

    def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begins a task, which asyncio would complain of if it is cancelled before its first step."""
        task = self.loop.create_task(self.connected(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # `drain` waits until all is sent: a reset after it takes nothing back.
        writer.transport.set_write_buffer_limits(high=0)
        self.connections += 1
        number = self.connections
        try:
            while await self.one_request(number, reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client went away, or the case is over.
        except Exception as fault:  # The suite's own fault: the case must not pass.
            self.trouble.append(f"the proxy failed: {fault!r}")
        finally:
            self.idle.pop(number, None)

    async def one_request(self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Reads a request and answers it; whether the connection goes on."""
        self.idle[connection] = writer
        head = await reader.readuntil(b"\r\n\r\n")
        self.idle.pop(connection, None)
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:] if line)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await read_chunks(reader)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        seen = Seen(len(self.seen) + 1, connection, method, target, headers, body, time.monotonic(), time.time())
        self.seen.append(seen)
        fault = next((fault for fault in self.faults if fits(fault, seen)), {})
        for step in fault.get("first", []):
            await self.loop.run_in_executor(None, self.operate, step)
        try:
            return await self.answer(seen, fault, writer)
        finally:
            seen.ended = time.monotonic()

    async def answer(self, seen: Seen, fault: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        cut = fault.get("cut", {})
        if "delay" in fault:
            await asyncio.sleep(fault["delay"])
        if cut.get("after") == "nothing":
            return await end(writer, cut["how"])
        if fault.get("stall") == "nothing":
            await asyncio.Event().wait()
        answer = self.made_up(seen, fault) if "status" in fault else await self.forwarded(seen)
        if "status" not in fault and "body" in fault:
            answer.body = self.filled_in(fault["body"]).encode()
        seen.status, seen.answered = answer.status, {name.lower(): value for name, value in answer.headers}
        await self.send(answer, seen.method, fault, writer)
        if cut:
            return await end(writer, cut["how"])
        if fault.get("close_after"):
            return await end(writer, "close")
        return True

    def made_up(self, seen: Seen, fault: dict[str, Any]) -> Answer:
        """The answer that the case has instead of the server's."""
        headers = []
        for name, value in fault.get("headers", {}).items():
            if value.startswith("$date+"):
                # A date has no fractions: the next whole second after the one that is meant.
                seen.not_before = math.ceil(time.time() + int(value[len("$date+"):]))
                value = email.utils.formatdate(seen.not_before, usegmt=True)
            headers.append((name, self.filled_in(value)))
        body = fault.get("body", "")
        if "problem" in fault:
            request_id = f"made-up-{seen.number}"
            headers += [("Content-Type", "application/problem+json"), ("X-Request-Id", request_id)]
            body = json.dumps({"type": f"urn:tidetable:problem:{fault['problem']}", "title": "Made up", "status": fault["status"], "code": fault["problem"],
                               "detail": "made up by the proxy", "retryable": False, "request_id": request_id})
        return Answer(fault["status"], headers, self.filled_in(body).encode())

    def filled_in(self, text: str) -> str:
        return text.replace("$token", self.token or "").replace("$proxy", f"http://127.0.0.1:{self.port}")

    async def forwarded(self, seen: Seen) -> Answer:
        """What the server answers, whole."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port, limit=LONGEST_HEAD)
        try:
            target = seen.target.removeprefix("/gateway")
            lines = [f"{seen.method} {target} HTTP/1.1", "Connection: close", f"Content-Length: {len(seen.body)}"]
            lines += [f"{name}: {value}" for name, value in seen.headers.items() if name not in HOP_BY_HOP]
            writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + seen.body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = [(name, value.strip()) for name, value in (line.split(":", 1) for line in head[1:] if line)]
            named = {name.lower(): value for name, value in headers}
            status = int(head[0].split(" ")[1])
            if seen.method == "HEAD" or status in (204, 304):
                body = b""
            elif named.get("transfer-encoding", "").lower() == "chunked":
                body = await read_chunks(reader)
            else:
                body = await reader.readexactly(int(named.get("content-length", "0")))
            return Answer(status, [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP], body)
        finally:
            writer.close()

    async def send(self, answer: Answer, method: str, fault: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        """Writes the answer, or as much of it as the case lets through."""
        cut = fault.get("cut", {})
        chunked = fault.get("chunked") or cut.get("chunked")
        headers = list(answer.headers)
        if answer.status not in (204, 304):
            headers.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(answer.body))))
        change = {"upper": str.upper, "lower": str.lower}.get(fault.get("head", ""), str)
        lines = [f"HTTP/1.1 {answer.status} Said", *(f"{change(name)}: {value}" for name, value in headers)]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        stop = fault.get("stall") or cut.get("after")
        shown = {"head": 0, "half": len(answer.body) // 2, "all_but_one": len(answer.body) - 1}.get(stop or "all", len(answer.body))
        pieces = [answer.body[at:at + 1] for at in range(shown)] if "drip" in fault else [answer.body[:shown]]
        for piece in pieces:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked and piece else piece)
            await writer.drain()
            if "drip" in fault:
                await asyncio.sleep(fault["drip"])
        if fault.get("stall"):
            await asyncio.Event().wait()
        if chunked and not stop and answer.status not in (204, 304):
            writer.write(b"0\r\n\r\n")
        await writer.drain()


def fits(fault: dict[str, Any], seen: Seen) -> bool:
    """Whether a fault is meant for this request."""
    wanted = fault.get("request", [1, None])
    first, last = wanted if isinstance(wanted, list) else (wanted, wanted)
    return first <= seen.number and (last is None or seen.number <= last) and fault.get("path", "") in seen.target


async def end(writer: asyncio.StreamWriter, how: str) -> bool:
    """Closes the connection, by RST or by FIN; what was written before is sent."""
    if how == "reset":
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        writer.transport.abort()
    else:
        writer.close()
        await writer.wait_closed()
    return False


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return body


def refused_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Silent:
    """A port whose queue is full: connections to it are neither accepted nor refused."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = int(self.listener.getsockname()[1])
        self.fill = []
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self.port))
            self.fill.append(waiting)

    def close(self) -> None:
        for one in [*self.fill, self.listener]:
            one.close()
