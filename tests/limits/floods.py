"""HTTP/2 clients that send what costs them little and the server much. What each flood may do: end its own
connection, or come to nothing. What it may not: take memory, or disturb others.

Some are against bounds of the protocol: the server ends them with GOAWAY, before all is sent, whatever its time
limits are. Others are outwaited: it takes no more, and ends them because nothing goes on."""

from __future__ import annotations

from collections.abc import Callable

from frames import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PING, RST_STREAM, SETTINGS,
    Http2, frame, get, literal, post,
)
from server import DATASET
from slow import BODY, GRACE, IDLE

# Limits in time that end nothing here.
PATIENT = ["--header-timeout", "10m", "--idle-timeout", "10m", "--body-timeout", "10m"]

KEY = f"/v1/datasets/{DATASET}/keys/k1"
# Frames that are sent at once.
AT_ONCE = 100
# How long an ended connection may take to be seen as such.
SOON = 5.0
# Bytes of control frames that are offered at the least: more than sockets keep on both ways.
CONTROL_BYTES = 64 << 20
CONTROL_AT_ONCE = 1000
# Requests at the same time on one connection: the default of the server.
STREAMS = 100


def rapid_reset(port: int, count: int) -> str:
    """Requests that are given up as soon as they are sent (CVE-2023-44487), on as many connections as that
    takes."""
    said, sent = "", 0
    while sent < count:
        client = Http2(port)
        for stream in range(1, 2 * min(count - sent, 100_000), 2 * AT_ONCE):
            burst = b"".join(
                frame(HEADERS, END_HEADERS | END_STREAM, number, get(KEY)) + frame(RST_STREAM, 0, number, b"\0\0\0\x08")
                for number in range(stream, stream + 2 * AT_ONCE, 2)
            )
            sent += AT_ONCE
            if not client.send(burst):
                break
        ended = must_end("rapid reset", client, SOON)
        # What is still on its way when a connection is cut may take the GOAWAY with it, now and then.
        said = ended if ended.startswith("goaway") else said or ended
    return must_be_told("rapid reset", said)


def continuation(port: int, count: int) -> str:
    """A head that never ends (CVE-2024-27316 and others)."""
    client = Http2(port)
    client.send(frame(HEADERS, END_STREAM, 1, get(KEY)))
    piece = frame(CONTINUATION, 0, 1, literal(b"x-a", b"b" * 100) * 100)
    for _ in range(count // 100 + 1):
        if not client.send(piece):
            break
    return must_be_told("CONTINUATION", must_end("CONTINUATION", client, SOON))


def empty_data(port: int, count: int) -> str:
    """A body that is always about to begin."""
    client = Http2(port)
    client.send(frame(HEADERS, END_HEADERS, 1, post(f"/v1/datasets/{DATASET}/batch-get")))
    for _ in range(count // AT_ONCE):
        if not client.send(frame(DATA, 0, 1) * AT_ONCE):
            break
    return must_be_told("empty DATA", must_end("empty DATA", client, SOON))


def pings(port: int, count: int) -> str:
    return control(port, count, frame(PING, 0, 0, b"12345678"))


def settings(port: int, count: int) -> str:
    return control(port, count, frame(SETTINGS, 0, 0, b"\0\x04\0\x01\0\0"))


def control(port: int, count: int, one: bytes) -> str:
    """Frames that each want an answer, which is never read: when there is no more room for answers, no more is taken."""
    client = Http2(port, room=1 << 16)
    client.socket.settimeout(BODY)
    many = one * CONTROL_AT_ONCE
    for _ in range(max(count // CONTROL_AT_ONCE, CONTROL_BYTES // len(many)) + 1):
        if not client.send(many):
            break
    else:
        raise AssertionError(f"control frames: {CONTROL_BYTES >> 20} MiB or more were taken, though no answer was read")
    return must_end("control frames", client, IDLE + GRACE)


def no_window(port: int, _count: int) -> str:
    """An answer that the client never has room for."""
    client = Http2(port, {INITIAL_WINDOW_SIZE: 0})
    client.send(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, get(KEY)) for n in range(AT_ONCE)))
    client.send(frame(SETTINGS, ACK, 0))
    return must_end("window 0", client, BODY + GRACE)


def too_many_streams(port: int, _count: int) -> str:
    """More requests at once than were allowed: those too many are refused, no other is."""
    client = Http2(port, {INITIAL_WINDOW_SIZE: 0})
    for n in range(10 * STREAMS):
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, get(KEY)))
    said = must_end("too many streams", client, BODY + GRACE)
    if client.refused != [2 * n + 1 for n in range(STREAMS, 10 * STREAMS)]:
        raise AssertionError(f"too many streams: those beyond {STREAMS} are to be refused, and {len(client.refused)} were: {client.refused[:5]}…")
    return f"{said}, {len(client.refused)} refused"


def must_end(what: str, client: Http2, patience: float) -> str:
    said = client.end(patience)
    if said == "open":
        raise AssertionError(f"{what}: the connection is still open after {patience} s")
    return said


def must_be_told(what: str, said: str) -> str:
    if not said.startswith("goaway"):
        raise AssertionError(f"{what}: the connection was to end with a GOAWAY, and was {said}")
    return said


ENDED: dict[str, Callable[[int, int], str]] = {
    "rapid reset": rapid_reset,
    "CONTINUATION": continuation,
    "empty DATA": empty_data,
}
OUTWAITED: dict[str, Callable[[int, int], str]] = {
    "ping": pings,
    "settings": settings,
    "window 0": no_window,
    "too many streams": too_many_streams,
}
