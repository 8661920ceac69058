"""The proxy of the clients' suite ends all that it began before its loop is closed: asyncio has nothing to complain of."""

from __future__ import annotations

import contextlib
import gc
import socket
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients/conformance"))

from runner.proxy import Proxy  # noqa: E402

FAULTS = [{"path": "/stalls", "stall": "nothing"}, {"path": "/operates", "first": [{}]}]


class Ends(unittest.TestCase):
    def setUp(self) -> None:
        # Takes connections and answers nothing.
        self.server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.addCleanup(self.server.close)

    def test_without_a_complaint(self) -> None:
        # Threads change often, so that the end comes at all moments of what is begun.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        with self.assertNoLogs("asyncio"):
            for _ in range(60):
                proxy = Proxy(self.server.getsockname()[1], lambda step: None)
                proxy.open(FAULTS)
                clients = [socket.socket() for _ in range(21)]
                for client, path in zip(clients, ["/stalls", "/", "/operates"] * 7):
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", proxy.port))
                    with contextlib.suppress(OSError):
                        client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                proxy.close()
                self.assertTrue(proxy.loop.is_closed())
                self.assertEqual(proxy.trouble, [])
                del proxy
                gc.collect()
                for client in clients:
                    client.close()


if __name__ == "__main__":
    unittest.main()
