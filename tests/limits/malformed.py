"""Requests that are too long, or say of themselves what is not so: the right status, and the connection ends
where nobody could tell what follows."""

from __future__ import annotations

import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor

from server import DATASET, Server

PUSH = f"POST /v1/datasets/{DATASET}/batch-get HTTP/1.1\r\nHost: x\r\n"
BODY = '{"keys":["k1"]}'
CHUNK = f"{len(BODY):x}\r\n{BODY}\r\n"
# A connection that is to end has ended by then: before any limit of the server would end it, and after it has waited for
# what may still come (2 s), so that its answer can be read.
SOON = 8.0
# The one request whose client ends it; all other connections are the server's to end.
EARLY = "a body that ends early"
# What may not be taken for a request where a body's end could be understood in two ways.
HIDDEN = "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"

# What it is, what is sent, the status, and whether the connection ends with it.
CASES: list[tuple[str, str, int, bool]] = [
    ("sound", f"{PUSH}Content-Length: {len(BODY)}\r\n\r\n{BODY}", 200, False),
    ("sound, in chunks", f"{PUSH}Transfer-Encoding: chunked\r\n\r\n{CHUNK}0\r\n\r\n", 200, False),
    ("both lengths", f"{PUSH}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNK}{HIDDEN}", 400, True),
    ("both, the other way", f"{PUSH}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n{CHUNK}{HIDDEN}", 400, True),
    ("two lengths", f"{PUSH}Content-Length: 3\r\nContent-Length: 15\r\n\r\n{BODY}", 400, True),
    ("a length that is none", f"{PUSH}Content-Length: -1\r\n\r\n{BODY}", 400, True),
    ("a length with a sign", f"{PUSH}Content-Length: +15\r\n\r\n{BODY}", 400, True),
    ("chunked is not last", f"{PUSH}Transfer-Encoding: chunked, gzip\r\n\r\n{CHUNK}0\r\n\r\n", 400, True),
    ("another encoding", f"{PUSH}Transfer-Encoding: gzip\r\n\r\n{CHUNK}0\r\n\r\n", 400, True),
    ("another encoding in chunks", f"{PUSH}Transfer-Encoding: gzip, chunked\r\n\r\n{CHUNK}0\r\n\r\n", 400, True),
    ("HTTP/1.0 in chunks", f"{PUSH.replace('1.1', '1.0')}Transfer-Encoding: chunked\r\n\r\n{CHUNK}0\r\n\r\n", 400, True),
    ("a chunk without a size", f"{PUSH}Transfer-Encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n0\r\n\r\n", 400, True),
    ("a chunk of 2⁶⁴ bytes", f"{PUSH}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{BODY}", 400, True),
    ("a chunk longer than said", f"{PUSH}Transfer-Encoding: chunked\r\n\r\n3\r\n{BODY}\r\n0\r\n\r\n", 400, True),
    ("no host", "GET /livez HTTP/1.1\r\n\r\n", 400, False),
    ("two hosts", "GET /livez HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, False),
    ("a host that is none", "GET /livez HTTP/1.1\r\nHost: x y\r\n\r\n", 400, False),
    ("a fragment", f"GET /v1/datasets/{DATASET}/keys/k1# HTTP/1.1\r\nHost: x\r\n\r\n", 400, True),
    ("a folded header", "GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n", 400, True),
    ("a space before the colon", "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400, True),
    ("a NUL", "GET /livez HTTP/1.1\r\nX: a\0b\r\n\r\n", 400, True),
    ("no HTTP", "SSH-2.0-x\r\n\r\n", 400, True),
    ("another HTTP", "GET / HTTP/3.7\r\n\r\n", 400, True),
    ("101 headers", "GET /livez HTTP/1.1\r\n" + "".join(f"X-{n}: y\r\n" for n in range(101)) + "\r\n", 431, True),
    ("97 KiB of headers", f"GET /livez HTTP/1.1\r\nX: {'y' * 97 * 1024}\r\n\r\n", 431, True),
    ("a path of 66,000 bytes", f"GET /{'y' * 66_000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, True),
    ("a key of 65,537 bytes", f"GET /v1/datasets/{DATASET}/keys/{'y' * 65_537} HTTP/1.1\r\nHost: x\r\n\r\n", 400, True),
    ("a batch of 4 MiB and a byte", f"{PUSH}Content-Length: {(4 << 20) + 1}\r\n\r\n", 413, True),
    (
        "an operation of 1 MiB and a byte",
        f"POST /v1/datasets/{DATASET}/hold HTTP/1.1\r\nHost: x\r\nContent-Length: {(1 << 20) + 1}\r\n\r\n", 413, True,
    ),
    ("more than 64 GiB", f"PUT /v1/datasets/{DATASET}/versions/1/parts/a HTTP/1.1\r\nHost: x\r\n"
        f"Content-Length: {(64 << 30) + 1}\r\n\r\n", 413, True),
    (EARLY, f"{PUSH}Content-Length: 100\r\n\r\n{BODY}", 400, True),
]


def check(server: Server) -> int:
    """Sends them all; how many there were."""
    with ThreadPoolExecutor(len(CASES)) as pool:
        found = list(pool.map(lambda case: what_is_wrong(server.port, *case), CASES))
    if wrong := [why for why in found if why]:
        raise AssertionError("; ".join(wrong))
    return len(CASES)


def what_is_wrong(port: int, what: str, request: str, status: int, ends: bool) -> str | None:
    answer, is_closed = exchanged(port, request.encode(), ends, shut=what == EARLY)
    head = answer.split(b"\r\n\r\n", 1)[0].decode(errors="replace")
    if not head.startswith(f"HTTP/1.1 {status} "):
        return f"{what}: expected {status}, and got {head[:300]!r}"
    if status >= 400 and "application/problem+json" not in head.lower():
        return f"{what}: no problem document: {head!r}"
    if (answers := answer.count(b"HTTP/1.1 ")) != 1:
        return f"{what}: one request, and {answers} answers: {answer[:600]!r}"
    if ends and not is_closed:
        return f"{what}: the connection is still open {SOON} s after the answer"
    return None


def exchanged(port: int, request: bytes, ends: bool, shut: bool) -> tuple[bytes, bool]:
    """All that is answered to a request; if the connection is to end with it, up to that end, and whether it came."""
    with socket.create_connection(("127.0.0.1", port), timeout=SOON) as stream:
        with contextlib.suppress(ConnectionError):
            # It may be refused before all of it is sent.
            stream.sendall(request)
        if shut:
            with contextlib.suppress(OSError):
                # Of a body that is waited for, this is its end.
                stream.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := stream.recv(1 << 16):
                answer += piece
                if not ends and b"}" in answer:
                    return answer, False
        except TimeoutError:
            return answer, False
        except ConnectionError:
            pass
        return answer, True
