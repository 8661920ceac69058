"""A push whose rows the server reads while they arrive: its client sends the end when a builder has looked at the rest.

How far server and builder are is said by the log of the steps that they pass.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from client import Connection, Headers, Reply
from server import Server
from values import Content

# A body of so many bytes is long enough, and a builder looks at it when half of them are there. (The shipped
# server has 16 MiB, which would make each case take longer and show no more.)
LONG = 256 << 10
# Variables of a server that reads bodies along.
READS_ALONG = (("TIDETABLE_READ_ALONG_FROM", str(LONG)),)
# A field of every row that is no part of its value: it makes bodies long, and versions not.
PAD = b"." * 1024
# One of so many parts of a body is sent at the end.
KEPT_BACK = 10


def long_rows(content: Content, in_order: bool) -> bytes:
    """The rows of a content, long enough to be read along. Those that are in order are looked at while they
    arrive, and read afterwards; others are sorted at once."""
    rows = [row[:-1] + b',"pad":"' + PAD + b'"}' for row in content.rows().splitlines()]
    if not in_order:
        rows.reverse()
    return b"\n".join(rows) + b"\n"


def steps_log(server: Server) -> Path:
    return server.home / "steps.log"


def logged(server: Server) -> dict[str, str]:
    """Variables of a server whose steps are to be known."""
    return {"TIDETABLE_STEPS_LOG": str(steps_log(server))}


def steps_passed(server: Server) -> Counter[str]:
    """How often the server and its builders have passed each step."""
    log = steps_log(server)
    return Counter(log.read_text().split() if log.exists() else ())


class LongPush:
    """A push of whose body all but the end is sent."""

    def __init__(self, server: Server, path: str, headers: Headers, body: bytes) -> None:
        self.server = server
        self.connection = Connection(server.address, timeout=60.0)
        self._before = self._turns()
        kept_back = len(body) // KEPT_BACK
        self._rest = body[-kept_back:]
        lines = [f"POST {path} HTTP/1.1", f"Host: {server.address[0]}:{server.address[1]}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append(f"Content-Length: {len(body)}")
        self.connection.send_raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body[:-kept_back])

    def wait_until_read(self, patience: float) -> bool:
        """Waits until a builder has looked at what was sent, or that is given up, or there is an answer; `False`
        if none of it comes."""
        end = time.monotonic() + patience
        while self._turns() == self._before and not self.connection.is_answered():
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def end(self) -> Reply:
        """Sends the rest, unless the server has answered without it."""
        try:
            if not self.connection.is_answered():
                self.connection.send_raw(self._rest)
            return self.connection.receive()
        finally:
            self.connection.close()

    def break_off(self) -> None:
        self.connection.close()

    def _turns(self) -> int:
        passed = steps_passed(self.server)
        return passed["along.looked"] + passed["along.given_up"]
