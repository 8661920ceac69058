"""Clients that take their time: each must be closed within its limit and five seconds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Awaitable, Callable

from server import DATASET, RECORDS

HEADER, IDLE, BODY = 2.0, 4.0, 3.0
LIMITS = [
    "--header-timeout", f"{HEADER:.0f}s", "--idle-timeout", f"{IDLE:.0f}s", "--body-timeout", f"{BODY:.0f}s",
    "--max-answers-in-memory", "128MiB", "--max-bodies-per-dataset", "5000", "--max-bodies", "5000",
]
# A connection that is over its limit has to be gone within this time more.
GRACE = 5.0
# After a refusal the server goes on reading for a moment, so that it can be read.
LINGER = 2.0
TRICKLE = 0.25
# Bytes of a value: a batch of a thousand is more than sockets hold.
VALUES = 8000
# What is sent begins within this time, so that thousands do not knock at once.
SPREAD = 1.0

Open = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(port: int) -> Open:
    return await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)


async def until_closed(reader: asyncio.StreamReader) -> None:
    """Reads to the end, however the server ends it."""
    with contextlib.suppress(OSError):
        while await reader.read(1 << 16):
            pass


async def trickled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Sends a piece now and then until the server has ended the connection."""
    closed = asyncio.ensure_future(until_closed(reader))
    with contextlib.suppress(OSError):
        while not closed.done():
            writer.write(piece)
            await writer.drain()
            await asyncio.wait([closed], timeout=TRICKLE)
    await closed


async def silent(port: int) -> None:
    reader, _ = await opened(port)
    await until_closed(reader)


async def slow_head(port: int) -> None:
    reader, writer = await opened(port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
    await trickled(reader, writer, b"X-A: b\r\n")


async def half_a_handshake(port: int) -> None:
    reader, writer = await opened(port)
    writer.write(b"\x16\x03\x01\x02\x00\x01")
    await until_closed(reader)


PUSH = (
    "POST /v1/datasets/slow/push?key=k&format=ndjson HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
)


async def silent_body(port: int) -> None:
    reader, writer = await opened(port)
    writer.write(PUSH.encode() + b'{"k":1')
    await until_closed(reader)


async def slow_body(port: int) -> None:
    reader, writer = await opened(port)
    writer.write(PUSH.encode() + b'{"k":1')
    await trickled(reader, writer, b" ")


async def idle(port: int) -> None:
    reader, writer = await opened(port)
    writer.write(f"GET /v1/datasets/{DATASET}/keys/k1 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await until_closed(reader)


async def slow_reader(port: int) -> None:
    """Asks for megabytes and takes a few bytes now and then. Only who reads on can see that the answer was
    cut: what is on its way stands before the end."""
    with socket.socket() as small:
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(small, ("127.0.0.1", port))
        body = json.dumps({"keys": [f"k{n % RECORDS}" for n in range(1000)]})
        head = f"POST /v1/datasets/{DATASET}/batch-get HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        await loop.sock_sendall(small, (head + body).encode())
        end = time.monotonic() + BODY + 3.0
        read = first = await loop.sock_recv(small, 64)
        while time.monotonic() < end:
            await asyncio.sleep(TRICKLE)
            read += await loop.sock_recv(small, 16)
        length = len(read)
        with contextlib.suppress(OSError):
            while piece := await loop.sock_recv(small, 1 << 20):
                length += len(piece)
        # One that was refused for the memory that the others' answers take is well served too.
        if length >= VALUES * 1000 and not first.startswith(b"HTTP/1.1 503"):
            raise AssertionError(f"a slow reader got its whole answer, {length} bytes")


Client = Callable[[int], Awaitable[None]]
# Kind: how it behaves, its limit, and whether it is for the server with TLS.
KINDS: dict[str, tuple[Client, float, bool]] = {
    "zero bytes": (silent, HEADER, False),
    "slow head": (slow_head, HEADER, False),
    "silent body": (silent_body, BODY + LINGER, False),
    "slow body": (slow_body, BODY + LINGER, False),
    "idle": (idle, IDLE, False),
    "slow reader": (slow_reader, BODY + 3.0, False),
    "half a TLS handshake": (half_a_handshake, HEADER, True),
    "TLS, zero bytes": (silent, HEADER, True),
}


async def lifetime(client: Client, port: int, delay: float, limit: float) -> float:
    await asyncio.sleep(delay)
    began = time.monotonic()
    await asyncio.wait_for(client(port), limit + GRACE)
    return time.monotonic() - began


async def attack(plain: int, tls: int, connections: int) -> dict[str, list[float]]:
    """So many connections of all kinds at once; how long each lived, by kind. Those that were not closed
    in time raise."""
    each = max(1, connections // len(KINDS))
    waves = {
        kind: [
            lifetime(client, tls if is_tls else plain, SPREAD * n / each, limit) for n in range(each)
        ]
        for kind, (client, limit, is_tls) in KINDS.items()
    }
    results: dict[str, list[float]] = {}
    outcomes = await asyncio.gather(
        *(asyncio.gather(*wave, return_exceptions=True) for wave in waves.values())
    )
    for kind, lived in zip(waves, outcomes):
        late = [error for error in lived if isinstance(error, BaseException)]
        if late:
            raise AssertionError(f"{kind}: {len(late)} of {each} were not closed in time: {late[0]!r}")
        results[kind] = [seconds for seconds in lived if isinstance(seconds, float)]
    return results
