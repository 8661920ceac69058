"""A server on a directory, and what is asked of it."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 60.0


class Wrong(Exception):
    """What was to hold does not."""


class Reply(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def code(self) -> str:
        return str(self.json().get("code"))

    def __str__(self) -> str:
        return f"{self.status} {self.body[:400]!r}"


def rows(dataset: str, number: int, count: int, pad: int = 40) -> bytes:
    """Rows whose values say whose they are."""
    line = '{{"k":"{i}","v":"{d}:{n}:{i}:{p}"}}\n'
    padding = "x" * pad
    return "".join(line.format(i=i, d=dataset, n=number, p=padding) for i in range(count)).encode()


class Node:
    def __init__(self, binary: Path, data: Path, log: Path, arguments: Iterable[str] = ()) -> None:
        self.binary, self.data, self.log = binary, data, log
        self.arguments = list(arguments)
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, files: int | None = None) -> float:
        """Starts it, with so many files at most; how long it took until it listened, in seconds."""
        def limit() -> None:
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        command = [str(self.binary), "serve", "--listen", "127.0.0.1:0", "--data", str(self.data), *self.arguments]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDETABLE_")}
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, preexec_fn=limit,
                env=clean | {"TIDETABLE_PUSHES_GIVE_WAY": "false"},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if "http://" not in line:
            raise Wrong(f"it did not start: {self.said()}")
        self.port = int(line.rsplit(":", 1)[1])
        return time.monotonic() - began

    def ready(self) -> float:
        """Waits until it is ready; how long, in seconds."""
        began = time.monotonic()
        self.eventually("it is ready", lambda: self.get("/readyz").status == 200)
        return time.monotonic() - began

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def ask(self, method: str, path: str, body: Any = None, chunked: bool = False) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        if isinstance(body, bytes) and chunked:
            pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
            body = iter(pieces)
        elif body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {} if method == "GET" else {"content-type": "application/json"}
        try:
            connection.request(method, path, body=body, headers=headers, encode_chunked=chunked)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read())
        except OSError as error:
            # A refusal may come before the body was sent.
            try:
                answer = connection.getresponse()
                return Reply(answer.status, answer.read())
            except (OSError, http.client.HTTPException):
                raise Wrong(f"{method} {path}: {error}; it said: {self.said()}") from error
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.ask("GET", path)

    def push(self, dataset: str, body: bytes, query: str = "", chunked: bool = False) -> Reply:
        return self.ask("POST", f"/v1/datasets/{dataset}/push?key=k&format=ndjson{query}", body, chunked)

    def without_gates(self, dataset: str) -> None:
        """Versions of any size are let in, and given up soon."""
        ratios = ["max_shrink_percent", "max_growth_percent", "max_keys_removed_percent"]
        gates = dict.fromkeys(ratios) | {"variety_kept": False}
        body = {"gates": gates, "retire_grace_seconds": 0, "watch": "off"}
        reply = self.ask("PUT", f"/v1/datasets/{dataset}", body)
        if reply.status not in (200, 201):
            raise Wrong(f"its settings: {reply}")

    def operate(self, dataset: str, what: str, body: Any) -> Reply:
        return self.ask("POST", f"/v1/datasets/{dataset}/{what}", body)

    def current(self, dataset: str) -> int:
        return int(self.get(f"/v1/datasets/{dataset}").json()["current"])

    def check_reads(self, dataset: str, number: int, count: int, step: int = 1) -> None:
        """Every key has the value of that push."""
        for i in range(0, count, step):
            reply = self.get(f"/v1/datasets/{dataset}/keys/{i}")
            if reply.status != 200 or not reply.json()["v"].startswith(f"{dataset}:{number}:{i}:"):
                raise Wrong(f"{dataset} {i}, expected of push {number}: {reply}")

    def eventually(self, what: str, so: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not so():
            if time.monotonic() > end:
                raise Wrong(f"not within {PATIENCE} s: {what}; it said: {self.said()}")
            time.sleep(0.02)

    def staging_is_free(self) -> bool:
        return not any((self.data / "staging").iterdir())

    def resident(self) -> int:
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        return 0

    def open_files(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def said(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def expect(reply: Reply, status: int, code: str | None = None) -> Reply:
    if reply.status != status or (code is not None and reply.code() != code):
        raise Wrong(f"expected {status} {code or ''}, got {reply}")
    return reply
