"""The servers of the check: Tidetable, two of S3, and one between that fails on purpose."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

# How long a condition may take to come about before the check gives up.
PATIENCE = 120
KEY_ID, SECRET = "AKIDEXAMPLE0000", "wJalrSECRETneverSHOWN/bPxRfiCY"


class Wrong(Exception):
    """What was to hold does not."""


class Process:
    """A server that is ended with the check."""

    def __init__(self, command: list[str | Path], log: Path, env: dict[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, env=env)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Tidetable(Process):
    """`tidetable serve` on a free port of loopback."""

    def __init__(self, binary: Path, home: Path, env: dict[str, str], config: Path | None = None) -> None:
        command: list[str | Path] = [binary, "serve", "--listen", "127.0.0.1:0", "--data", home / "data"]
        super().__init__([*command, *(["--config", config] if config else [])], home / "server.log", env)
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        found = re.search(r"http://(127\.0\.0\.1:\d+)", said)
        if found is None:
            raise Wrong(f"the server did not start: {said!r} {self.log.read_text()}")
        self.address = found.group(1)
        self.url = f"http://{self.address}"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE) != 0:
            raise Wrong(f"the server ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answering(process: Process, port: int) -> str:
    """Waits until somebody listens there; the address."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.05)
    raise Wrong(f"a server of S3 does not answer: {process.log.read_text()[-2000:]}")


def moto(binaries: Path, home: Path) -> tuple[Process, str]:
    port = free_port()
    process = Process([binaries / "moto_server", "-H", "127.0.0.1", "-p", str(port)], home / "moto.log")
    return process, answering(process, port)


def rclone(binaries: Path, home: Path) -> tuple[Process, str]:
    port = free_port()
    (home / "buckets").mkdir()
    env = {**os.environ, "RCLONE_CONFIG": str(home / "rclone.conf")}
    command: list[str | Path] = [binaries / "rclone", "serve", "s3", "--auth-key", f"{KEY_ID},{SECRET}",
                                 "--addr", f"127.0.0.1:{port}", home / "buckets"]
    process = Process(command, home / "rclone.log", env)
    return process, answering(process, port)


@dataclass
class Faults:
    """What the server between does, and what it saw."""

    # Of a GET of an object: so many bytes of the answer are let through, then the connection is reset.
    cut_after: list[int] = field(default_factory=list)
    # So many requests are answered 503 SlowDown.
    slow_down: int = 0
    # Objects whose names end so fail for ever.
    broken: str = ""
    # The next object stops in its middle until this is set.
    hang: threading.Event | None = None
    # Run once, in the middle of the next object that is cut.
    meanwhile: Callable[[], None] | None = None
    # Answers in the place of the store's: status and body.
    instead: tuple[int, bytes] | None = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Between(BaseHTTPRequestHandler):
    """Hands requests on to the store behind it, unless it is to fail."""

    protocol_version = "HTTP/1.1"
    store = ""
    faults = Faults()

    def log_message(self, *_: Any) -> None:
        pass

    def handle_any(self) -> None:
        faults = self.faults
        query = urllib.parse.urlsplit(self.path).query
        with faults.lock:
            faults.requests.append((self.command, self.path, self.headers.get("range", "")))
            slow, is_object = faults.slow_down > 0, self.command == "GET" and "list-type" not in query
            faults.slow_down -= slow
        if faults.instead is not None:
            return self.answer(*faults.instead)
        if slow:
            return self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
        if faults.broken and urllib.parse.urlsplit(self.path).path.endswith(faults.broken) and is_object:
            return self.answer(500, b"<Error><Code>InternalError</Code></Error>")
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.store).netloc, timeout=PATIENCE)
        connection.request(self.command, self.path, None, dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        with faults.lock:
            cut = faults.cut_after.pop(0) if is_object and answer.status < 300 and faults.cut_after else None
            meanwhile = faults.meanwhile if cut is not None else None
            faults.meanwhile = None if meanwhile else faults.meanwhile
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "server", "date"):
                self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command == "HEAD":
            return None
        if is_object and faults.hang is not None:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            faults.hang.wait(PATIENCE)
            self.close_connection = True
            return None
        self.wfile.write(body[:cut])
        if cut is not None:
            self.wfile.flush()
            if meanwhile:
                meanwhile()
            self.close_connection = True
            # A reset, not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
        return None

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = handle_any


class Quiet(ThreadingHTTPServer):
    """Whoever has enough of an answer goes away."""

    def handle_error(self, *_: Any) -> None:
        pass


def between(store: str) -> tuple[ThreadingHTTPServer, str, Faults]:
    """A server before `store` that fails as it is told."""
    faults = Faults()
    handler = type("BetweenStore", (Between,), {"store": store, "faults": faults})
    server = Quiet(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}", faults
