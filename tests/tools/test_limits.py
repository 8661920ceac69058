"""A server that bears with bad clients for ever must be seen as such: here is one, which keeps all and ends nothing."""

from __future__ import annotations

import socket
import sys
import threading
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/limits"))

import floods  # noqa: E402
import malformed  # noqa: E402
from frames import Http2, frame  # noqa: E402

REFUSED = b"HTTP/1.1 400 x\r\nContent-Type: application/problem+json\r\n\r\n{}"


class Bearing:
    """Takes all that is sent on every connection, answers with `answer` once, and ends a connection when its client does."""

    def __init__(self, answer: bytes = b"") -> None:
        self.answer = answer
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                threading.Thread(target=self.serve, args=(self.listening.accept()[0],), daemon=True).start()
            except OSError:
                return

    def serve(self, stream: socket.socket) -> None:
        with stream:
            try:
                if stream.recv(1 << 16):
                    stream.sendall(self.answer)
                while stream.recv(1 << 20):
                    pass
            except OSError:
                pass


class Limits(unittest.TestCase):
    def setUp(self) -> None:
        for module, name, value in (floods, "SOON", 0.1), (floods, "CONTROL_BYTES", 1 << 20), (malformed, "SOON", 0.1), (floods, "IDLE", 0.1), (floods, "GRACE", 0.1), (floods, "BODY", 0.5):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def bearing(self, answer: bytes = b"") -> int:
        server = Bearing(answer)
        self.addCleanup(server.listening.close)
        return server.port

    def test_a_flood_that_is_borne_is_a_fault(self) -> None:
        port = self.bearing()
        for name, flood in (floods.ENDED | floods.OUTWAITED).items():
            with self.subTest(name), self.assertRaises(AssertionError):
                flood(port, 1000)

    def test_a_goaway_is_asked_for(self) -> None:
        self.assertEqual(floods.must_be_told("x", "goaway 11"), "goaway 11")
        with self.assertRaises(AssertionError):
            floods.must_be_told("x", "closed")

    def test_refused_streams_are_seen(self) -> None:
        port = self.bearing(frame(3, 0, 201, b"\0\0\0\x07") + frame(3, 0, 203, b"\0\0\0\x08"))
        client = Http2(port)
        client.end(0.2)
        self.assertEqual(client.refused, [201])

    def test_a_connection_that_a_refusal_leaves_open_is_a_fault(self) -> None:
        case = next(case for case in malformed.CASES if case[0] == "no HTTP")
        self.assertIn("still open", str(malformed.what_is_wrong(self.bearing(REFUSED), *case)))
        early = next(case for case in malformed.CASES if case[0] == malformed.EARLY)
        self.assertIsNone(malformed.what_is_wrong(self.bearing(REFUSED), *early))


if __name__ == "__main__":
    unittest.main()
