"""A real server for the tests, and a server of ours that answers what a test says."""

from __future__ import annotations

import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import unittest
from typing import Callable, Optional

from tidetable import Client

BINARY = os.environ.get("TEST_SERVER_BINARY", "")


class Server:
    """One real server on a free port, with a directory of its own."""

    def __init__(self, scheme: str = "http", **settings: str) -> None:
        self.home = tempfile.mkdtemp(prefix="tidetable-python-")
        self.log = open(os.path.join(self.home, "log"), "wb")
        command = [BINARY, "serve", "--data", os.path.join(self.home, "data"), "--listen", "127.0.0.1:0"]
        named = {f"TIDETABLE_{name.upper()}": setting for name, setting in settings.items()}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env={**os.environ, **named})
        self.port = self._announced()
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def _announced(self) -> int:
        """The port that the server says it listens on: one that was chosen for it could be taken by then."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline().decode() if ready else ""
        if " listening on " not in line:
            self.process.kill()
            self.process.wait()
            with open(os.path.join(self.home, "log"), errors="replace") as log:
                raise RuntimeError(f"the server does not start: {line}{log.read()[-2000:]}")
        return int(line.rsplit(":", 1)[1])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


_server: Optional[Server] = None


def server() -> Server:
    """The server that all tests share: each takes datasets of its own name."""
    global _server
    if not BINARY:
        raise unittest.SkipTest("TEST_SERVER_BINARY does not name the server's binary")
    if _server is None:
        _server = Server()
    return _server


def stop_server() -> None:
    global _server
    if _server is not None:
        _server.stop()
        _server = None


Script = Callable[[socket.socket, int], None]


class Scripted:
    """Accepts connections; `script` gets each one with its number, from 0."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.accepted = 0
        self.requests: list[bytes] = []
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number = self.accepted
            self.accepted += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            self._script(connection, number)
        except OSError:
            pass
        finally:
            connection.close()

    def read_request(self, connection: socket.socket) -> bytes:
        """One request, with its body if it says its length; empty at the end of the connection."""
        text = b""
        while b"\r\n\r\n" not in text:
            piece = connection.recv(65536)
            if not piece:
                return b""
            text += piece
        head, _, body = text.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while len(body) < length:
            body += connection.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def close(self) -> None:
        self._listener.close()
        for connection in self._open:
            connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answer(status: int, body: bytes = b"", *headers: str, kind: str = "application/json") -> bytes:
    """A whole answer as bytes."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", f"content-type: {kind}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def problem(status: int, code: str, *headers: str) -> bytes:
    body = f'{{"code":"{code}","status":{status},"detail":"so it is","retryable":false,"request_id":"r-1"}}'
    return answer(status, body.encode(), *headers, kind="application/problem+json")


def value(body: bytes, version: int = 1, *headers: str) -> bytes:
    return answer(200, body, f"tidetable-version: {version}", 'etag: "e"', *headers)


def always(reply: bytes) -> Callable[[Scripted], Script]:
    """Answers every request of every connection alike."""

    def of(scripted: Scripted) -> Script:
        def script(connection: socket.socket, number: int) -> None:
            while scripted.read_request(connection):
                connection.sendall(reply)

        return script

    return of


def certificate(home: str) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, as files."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise unittest.SkipTest("there is no openssl to make a certificate with")
    made, key = f"{home}/certificate.pem", f"{home}/key.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, "req", *kind, *name, "-keyout", key, "-out", made], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return made, key


def client_of(url: str) -> Client:
    return Client(url, connect_timeout=2.0, total_timeout=10.0)
