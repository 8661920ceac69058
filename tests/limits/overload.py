"""More batches than one thread can answer: what is taken on is answered in time, the rest is told to come
back, single lookups go on, and when it is over everything is answered again."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import time
from dataclasses import dataclass, field

from probe import Probe
from server import DATASET, RECORDS, Server

# One thread, so that a few clients are too many; late after a moment.
SETTINGS = ["--threads", "1", "--overload-after", "60ms"]
BATCH = json.dumps({"keys": [f"k{n % RECORDS}" for n in range(1000)]})
PROCESSES = 4


@dataclass
class Answers:
    """What the clients of one run got."""

    times: list[float] = field(default_factory=list)
    shed: int = 0
    told_when: int = 0
    other: list[str] = field(default_factory=list)

    def add(self, more: Answers) -> None:
        self.times += more.times
        self.shed += more.shed
        self.told_when += more.told_when
        self.other += more.other

    def percentile(self, share: float) -> float:
        times = sorted(self.times) or [float("nan")]
        return 1000 * times[min(len(times) - 1, int(share * len(times)))]

    def __str__(self) -> str:
        return f"{len(self.times)} answered, p99 {self.percentile(0.99):.0f} ms, {self.shed} refused"


def asked(port: int, connections: int, seconds: float, pause: float) -> Answers:
    """Asks on all connections at once, again and again. Whoever is refused waits a little."""
    answers = Answers()
    clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(connections)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = []
        for client in clients:
            began.append(time.monotonic())
            client.request("POST", f"/v1/datasets/{DATASET}/batch-get", BATCH)
        refused = False
        for client, at in zip(clients, began):
            answer = client.getresponse()
            answer.read()
            if answer.status == 200:
                answers.times.append(time.monotonic() - at)
            elif answer.status in (429, 503):
                refused = True
                answers.shed += 1
                answers.told_when += answer.headers["Retry-After"] is not None
            else:
                answers.other.append(f"{answer.status} {answer.reason}")
        time.sleep(pause if refused else 0.0)
    return answers


def load(server: Server, connections: int, seconds: float) -> Answers:
    """The same from several processes, since one of Python's is slower than the server."""
    each = max(1, connections // PROCESSES)
    with multiprocessing.Pool(PROCESSES) as pool:
        arguments = [(server.port, each, seconds, 0.05)] * PROCESSES
        answers = Answers()
        for part in pool.starmap(asked, arguments):
            answers.add(part)
    return answers


def check(server: Server, seconds: float) -> list[str]:
    """The lines of the report."""
    one = load(server, PROCESSES, seconds / 2)
    if one.other:
        raise AssertionError(f"a load that can be borne was answered with {one.other[:3]}")
    with Probe(server) as probe:
        many = load(server, 40 * PROCESSES, seconds)
    if many.other:
        raise AssertionError(f"an overload was answered with {many.other[:3]}")
    if many.shed == 0 or many.told_when != many.shed:
        raise AssertionError(f"nothing was refused, or not with Retry-After: {many}")
    if not many.times:
        raise AssertionError("nothing was answered in the overload: everything was refused")
    # Each waits its turn behind batches.
    probe.seen.check("overload", least=30)
    began = time.monotonic()
    while server.ask("POST", f"/v1/datasets/{DATASET}/batch-get", BATCH.encode())[0] != 200:
        if time.monotonic() - began > 10:
            raise AssertionError("it did not recover within 10 s")
        time.sleep(0.05)
    recovered = time.monotonic() - began
    return [
        f"{PROCESSES} clients: {one}",
        f"{40 * PROCESSES} clients: {many}",
        f"lookups meanwhile: {probe.seen}",
        f"recovered within {recovered:.1f} s",
    ]
