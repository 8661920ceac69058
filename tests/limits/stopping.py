"""SIGTERM while clients ask without a pause: what was sent is answered, and the last answer on a connection
says that it was the last. Only new connections may be refused."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from server import DATASET, RECORDS, Server, eventually

CLIENTS = 16
BATCH = json.dumps({"keys": [f"k{n}" for n in range(100)]})


@dataclass
class Counted:
    answered: int = 0
    closed_as_told: int = 0
    lost: list[str] = field(default_factory=list)


def client(server: Server, number: int, stop: threading.Event, counted: Counted) -> None:
    """Asks on one connection until the server says that it ends."""
    connection = server.connection()
    connection.connect()
    asked = number
    while not stop.is_set():
        asked += 1
        try:
            if number % 4 == 0:
                connection.request("POST", f"/v1/datasets/{DATASET}/batch-get", BATCH)
            else:
                connection.request("GET", f"/v1/datasets/{DATASET}/keys/k{asked % RECORDS}")
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            counted.lost.append(repr(error))
            return
        if answer.status != 200:
            counted.lost.append(f"status {answer.status}")
            return
        counted.answered += 1
        if (answer.headers["Connection"] or "").lower() == "close":
            counted.closed_as_told += 1
            return


def once(binary: Path, home: Path, tls: bool) -> int:
    """One server, stopped under load; how many requests it answered."""
    server = Server(binary, home, "--drain-timeout", "20s", tls=tls)
    stop = threading.Event()
    counted = [Counted() for _ in range(CLIENTS)]
    try:
        server.push()
        threads = [
            threading.Thread(target=client, args=(server, number, stop, counted[number]), daemon=True)
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        eventually("all clients are answered", lambda: all(of.answered > 2 for of in counted))
        server.terminate()
        code = server.ended()
    finally:
        stop.set()
        server.kill()
    for thread in threads:
        thread.join(10.0)
    lost = [reason for of in counted for reason in of.lost]
    if lost:
        raise AssertionError(f"{len(lost)} requests were lost when the server stopped: {lost[:3]}")
    if sum(of.closed_as_told for of in counted) != CLIENTS:
        raise AssertionError(f"not every client was told that its connection ends: {counted}")
    if code != 0:
        raise AssertionError(f"the server ended with {code}: {server.last_words()}")
    return sum(of.answered for of in counted)


def twice(binary: Path, home: Path) -> float:
    """A second SIGTERM does not wait for what runs; how long that took."""
    # By themselves neither the body nor the draining ends while this waits: only a second signal ends it.
    patient = ("--body-timeout", "600s", "--min-body-rate", "0", "--drain-timeout", "600s")
    server = Server(binary, home, *patient)
    try:
        server.push()
        # A body that never ends.
        hanging = server.connection()
        hanging.putrequest("POST", f"/v1/datasets/{DATASET}/push?key=k&format=ndjson")
        hanging.putheader("Content-Length", "1000000")
        hanging.endheaders(b'{"k":"a"')
        running = lambda: b'"receiving"' in server.ask("GET", f"/v1/datasets/{DATASET}/versions")[1]
        eventually("the push has begun", running)
        server.terminate()
        eventually("it drains", lambda: "may end" in server.log.read_text())
        if server.process.poll() is not None:
            raise AssertionError("it did not wait for the push that runs")
        began = time.monotonic()
        server.terminate()
        eventually("a second signal ends it", lambda: server.process.poll() is not None)
        took = time.monotonic() - began
        log = server.log.read_text()
        if server.ended() != 0 or "again: stopping at once" not in log or "requests were cut off" not in log:
            raise AssertionError(f"it did not stop at once, and say so: {server.last_words()}")
        return took
    finally:
        server.kill()
