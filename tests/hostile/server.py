"""A real server on a directory of its own, and what its processes take."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Iterable

# How long a condition may take to come about before the test gives up.
PATIENCE = 120


class Wrong(Exception):
    """What was to hold does not."""


class Server:
    """`tidetable serve` on a free port of loopback."""

    def __init__(self, binary: Path, home: Path, *settings: str) -> None:
        self.data, self.log = home / "data", home / "server.log"
        command = [str(binary), "serve", "--listen", "127.0.0.1:0", "--data", str(self.data), "--log-format", "json"]
        self.process = subprocess.Popen([*command, *settings], stdout=subprocess.PIPE, stderr=open(self.log, "w"))
        assert self.process.stdout is not None
        said = self.process.stdout.readline().decode()
        found = re.search(r"http://(127\.0\.0\.1:\d+)", said)
        if found is None:
            raise Wrong(f"the server did not start: {said!r} {self.log.read_text()}")
        self.address = found.group(1)
        self.builders = Builders(self.process.pid)

    def ask(self, method: str, path: str, body: bytes | Iterable[bytes] | None = None,
            headers: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        """One request on a connection of its own: its status, and its JSON."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            try:
                connection.request(method, path, body, headers or {})
            except (BrokenPipeError, ConnectionResetError):
                pass  # It has answered before it had read all of it.
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text and text[:1] in b"{[" else {}
        finally:
            connection.close()

    def staging(self) -> set[str]:
        """What lies in staging."""
        try:
            return set(os.listdir(self.data / "staging"))
        except FileNotFoundError:
            return set()

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> int:
        """Ends it; the most memory that it or any of its builders had resident, in bytes."""
        self.builders.stop()
        if self.process.poll() is not None:
            raise Wrong(f"the server ended by itself ({self.process.returncode}): {self.log.read_text()[-3000:]}")
        self.process.send_signal(signal.SIGTERM)
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.returncode != 0:
            raise Wrong(f"the server ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")
        return used.ru_maxrss * 1024

    def kill(self) -> None:
        self.builders.stop()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Builders:
    """Looks at the child processes of a server, many times a second: the peak of each."""

    EVERY = 0.005

    def __init__(self, server: int) -> None:
        self.peaks: dict[int, int] = {}
        self._server, self._stopping = server, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def take(self) -> int:
        """The highest peak since this was last called, in bytes."""
        peaks, self.peaks = self.peaks, {}
        return max(peaks.values(), default=0)

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(self.EVERY):
            for child in children(self._server):
                try:
                    with open(f"/proc/{child}/cmdline", "rb") as command:
                        # Before it is the builder, it is a copy of the server, and has the server's peak.
                        if b"build-worker" not in command.read():
                            continue
                    with open(f"/proc/{child}/status") as status:
                        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read())
                except OSError:
                    continue
                if peak is not None:
                    self.peaks[child] = max(self.peaks.get(child, 0), int(peak.group(1)) * 1024)


def children(parent: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{thread}/children") as listed:
                found.extend(int(child) for child in listed.read().split())
    except OSError:
        pass
    return found


class Prober:
    """Reads another dataset all the while, over one connection, and compares every value."""

    DATASET = "probe"
    KEYS = 1000

    def __init__(self, server: Server) -> None:
        rows = "".join(f'{{"k":"key-{n}","n":{n * 7919}}}\n' for n in range(self.KEYS))
        status, answer = server.ask("POST", f"/v1/datasets/{self.DATASET}/push?key=k&format=ndjson", rows.encode())
        if status != 201:
            raise Wrong(f"the prober's own dataset was refused: {status} {answer}")
        self.reads, self.errors, self.slowest = 0, [], 0.0
        self._address, self._stopping = server.address, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _read(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        number = 0
        while not self._stopping.wait(0.002):
            number = (number + 7919) % self.KEYS
            began = time.monotonic()
            try:
                connection.request("GET", f"/v1/datasets/{self.DATASET}/keys/key-{number}")
                answer = connection.getresponse()
                found = answer.read()
                if answer.status != 200 or json.loads(found) != {"k": f"key-{number}", "n": number * 7919}:
                    self.errors.append(f"key-{number}: {answer.status} {found[:200]!r}")
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.errors.append(f"key-{number}: {error!r}")
                connection.close()
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.reads += 1
        connection.close()
