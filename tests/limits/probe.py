"""An ordinary client beside the bad ones, in a process of its own: is it disturbed?"""

from __future__ import annotations

import http.client
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

from server import DATASET, RECORDS, Server

# Between two questions: enough of them to tell 99.9 %, and no load.
PAUSE = 0.002
# An answer after this time is none.
PATIENCE = 5.0
# Every so many questions on a new connection: whether new clients get in.
NEW_EVERY = 10


@dataclass
class Seen:
    """What a probe saw."""

    asked: int
    failed: int
    reasons: list[str]
    times: list[float]

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the questions was answered."""
        times = sorted(self.times) or [float("nan")]
        return 1000 * times[min(len(times) - 1, int(share * len(times)))]

    def __str__(self) -> str:
        return (
            f"{self.asked} asked, {self.failed} failed, p50 {self.percentile(0.5):.1f} ms, "
            f"p99 {self.percentile(0.99):.1f} ms, longest {self.percentile(1.0):.0f} ms"
        )

    def check(self, what: str, least: int = 200) -> None:
        """At most one in a thousand may have failed, and enough must have been asked."""
        if self.asked < least:
            raise AssertionError(f"{what}: only {self.asked} questions: too few to tell anything")
        if self.failed * 1000 > self.asked:
            raise AssertionError(f"{what}: an ordinary client was disturbed: {self}: {self.reasons[:3]}")


class Probe:
    """`with Probe(server) as probe:` asks all the while; then `probe.seen`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen = Seen(0, 0, [], [])

    def __enter__(self) -> Probe:
        self.stop = multiprocessing.Event()
        self.pipe, far = multiprocessing.Pipe()
        arguments = (self.server.port, self.server.tls, self.stop, far)
        self.process = multiprocessing.Process(target=ask_on, args=arguments, daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        if self.pipe.poll(30.0):
            self.seen = self.pipe.recv()
        self.process.join(10.0)


def ask_on(port: int, tls: bool, stop: Event, pipe: Connection) -> None:
    seen = Seen(0, 0, [], [])
    kept = connect(port, tls)
    while not stop.is_set():
        is_new = seen.asked % NEW_EVERY == 0
        connection = connect(port, tls) if is_new else kept
        began = time.monotonic()
        seen.asked += 1
        try:
            connection.request("GET", f"/v1/datasets/{DATASET}/keys/k{seen.asked % RECORDS}")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise OSError(f"status {answer.status}")
            seen.times.append(time.monotonic() - began)
        except (OSError, http.client.HTTPException) as error:
            seen.failed += 1
            seen.reasons.append(repr(error))
            kept.close()
            kept = connect(port, tls)
        if is_new:
            connection.close()
        time.sleep(PAUSE)
    pipe.send(seen)


def connect(port: int, tls: bool) -> http.client.HTTPConnection:
    from server import trusting_nobody

    if tls:
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=trusting_nobody())
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
