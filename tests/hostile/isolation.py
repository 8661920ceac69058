"""The process that builds: what it may take, and what happens when it is ended from outside."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from typing import Any

from server import PATIENCE, Server, Wrong, children

ROWS = b"".join(b'{"k":"key-%d","n":"%s"}\n' % (n * 7919 % 100_000, b"x" * 100) for n in range(100_000))
PUSH = "/v1/datasets/hostile-isolation/push?key=k&format=ndjson"


def check(server: Server) -> list[str]:
    """Ends a builder by each of some signals: the push fails and says so, the next one does not."""
    faults: list[str] = []
    for number in (signal.SIGKILL, signal.SIGILL, signal.SIGABRT, signal.SIGXCPU):
        wanted = (422, "build_limit") if number == signal.SIGXCPU else (500, "build_died")
        answer, limits = pushed(server, number)
        if (answer[0], answer[1].get("code")) != wanted:
            faults.append(f"a builder that ends by {number.name}: {answer[0]} {answer[1]}, not {wanted}")
        faults += limits
    status, answer = server.ask("POST", PUSH, ROWS)
    if (status, answer.get("records")) != (201, 100_000):
        faults.append(f"a push after builders were ended: {status} {answer}")
    return faults


def pushed(server: Server, number: signal.Signals) -> tuple[tuple[int, dict[str, Any]], list[str]]:
    """A push whose builder is looked at and then gets this signal: its answer, and what is wrong with its limits."""
    answers: list[tuple[int, dict[str, Any]]] = []
    pushing = threading.Thread(target=lambda: answers.append(server.ask("POST", PUSH, ROWS)))
    pushing.start()
    end, wrong = time.monotonic() + PATIENCE, None
    while wrong is None:
        if answers or time.monotonic() > end:
            raise Wrong(f"no builder was met: {answers}")
        for child in children(server.process.pid):
            try:
                os.kill(child, signal.SIGSTOP)
                wrong = limits_of(child)
                if wrong is None:
                    # It was met before it had limited itself.
                    os.kill(child, signal.SIGCONT)
                    continue
                os.kill(child, number)
                os.kill(child, signal.SIGCONT)
            except (ProcessLookupError, FileNotFoundError):
                continue
    pushing.join(PATIENCE)
    return answers[0], wrong


def limits_of(child: int) -> list[str] | None:
    """What is wrong with the limits of a builder; None: it has none yet."""
    with open(f"/proc/{child}/limits") as file:
        limits = dict(re.findall(r"^(Max [a-z ]+?) {2,}(\S+)", file.read(), flags=re.M))
    with open(f"/proc/{child}/oom_score_adj") as file:
        adjusted = int(file.read())
    if adjusted != 1000:
        return None
    most = {"Max data size": 4 << 30, "Max cpu time": 24 * 3600, "Max file size": 1 << 40, "Max core file size": 0}
    wrong = [f"{name} of a builder is {limits[name]}" for name, bound in most.items()
             if limits[name] == "unlimited" or int(limits[name]) > bound]
    sockets = [link for link in links(child) if link.startswith("socket:")]
    return wrong + [f"a builder holds {len(sockets)} sockets"] * bool(sockets)


def links(child: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{child}/fd"):
        try:
            found.append(os.readlink(f"/proc/{child}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found
