"""What is looked at when all is over: whole scans, leftovers, hostile names, refusals before the body."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import Connection, Reply, Unanswered, Unsent
from reading import Ask, answered

if TYPE_CHECKING:
    from checker import Run

# States of versions that have files.
WITH_FILES = {"active", "retired", "ready", "rejected", "bad"}
# What a data directory holds.
KNOWN = {"LOCK", "journal", "watches", "scrubs", "erasure-key", "audit", "staging", "datasets"}

HOSTILE = [
    "..", ".", "%2e%2e", "%2E.", "..%2f..%2fescaped", "..%5c", "%00", "a%00b", "A", "a.b", "-a", "_a", "a%2fb",
    "%c0%ae%c0%ae", "caf%C3%A9", "a" * 64, "a" * 5000, "con%20", "%252e%252e", "a%0d%0ab",
]


def look(run: Run) -> None:
    for operator in run.operators:
        operator.connect_anew()
        operator.settle()
    names(run)
    body_before_refusal(run)
    for dataset in run.plan.universes:
        whole_scans(run, dataset)
    leftovers(run)
    for line in run.server.log.read_text(errors="replace").splitlines():
        if "panicked at" in line:
            run.note("panic", how=line)
    if (code := run.server.stop()) != 0:
        run.note("died", how=f"it answered SIGTERM with {code}: {run.server.last_words()}")


def whole_scans(run: Run, dataset: str) -> None:
    """R8: every key of every version that is kept, in order."""
    connection = Connection(run.server.address)
    listed = connection.ask("GET", f"/v1/datasets/{dataset}/versions?limit=1000").json()
    kept = [v["version"] for v in listed["versions"] if v["state"] in WITH_FILES]
    for version in [None, *kept]:
        after, cursor, count, of = None, None, 0, version
        while True:
            ask = Ask(dataset, "scan", ["", after, 1000], of, cursor)
            read, answer = answered(ask, connection.ask("GET", ask.path), "end", run.contents)
            run.writer.read(read)
            if read.outcome != "ok":
                break
            of, count = read.version, count + len(answer["records"])
            cursor = answer["next"]
            if cursor is None:
                run.writer.add("whole", ds=dataset, version=of, records=count)
                break
            after = answer["records"][-1]["key"]


def leftovers(run: Run) -> None:
    """R9 and R10: waits for the sweep that is due, and says what is left."""
    time.sleep(run.plan.grace)
    end = time.monotonic() + run.plan.patience
    connection = Connection(run.server.address)
    while True:
        wrong: list[tuple[str, str, str]] = []
        for dataset in run.plan.universes:
            # Changing a setting asks for a sweep.
            connection.ask("PUT", f"/v1/datasets/{dataset}", {"description": str(time.monotonic())})
        time.sleep(0.1)
        for dataset in run.plan.universes:
            wrong += kept_too_long(run, connection, dataset)
        wrong += strangers(run)
        if not wrong or time.monotonic() > end:
            break
    run.writer.add("left", where=f"{run.server.data}, {run.plan.patience:.0f} s after the last change", wrong=wrong)


def kept_too_long(run: Run, connection: Connection, dataset: str) -> list[tuple[str, str, str]]:
    listed = connection.ask("GET", f"/v1/datasets/{dataset}/versions?limit=1000").json()["versions"]
    there = {v["version"] for v in listed if v["state"] in WITH_FILES}
    place = run.server.data / "datasets" / dataset
    on_disk = {int(name) for name in os.listdir(place) if name.isdigit()} if place.is_dir() else set()
    wrong = []
    if on_disk != there:
        wrong.append(("R9", f"the files of versions {sorted(there)} of {dataset}", f"those of {sorted(on_disk)}"))
    # What a rollback or a release would go to is kept besides.
    for states, most in ({"active", "retired"}, 4), ({"ready"}, 4), ({"rejected"}, 2), ({"bad"}, 2):
        several = [v["version"] for v in listed if v["state"] in states]
        if len(several) > most:
            wrong.append(("R10", f"at most {most} versions of {dataset} that are {sorted(states)}", str(several)))
    return wrong


def strangers(run: Run) -> list[tuple[str, str, str]]:
    """Files that nobody should have left, in the directory and beside it."""
    data, wrong = run.server.data, []
    if staged := sorted(os.listdir(data / "staging")):
        wrong.append(("R9", "nothing in staging", str(staged[:5])))
    if unknown := sorted(set(os.listdir(data)) - KNOWN):
        wrong.append(("R9", f"only {sorted(KNOWN)} in the data directory", str(unknown[:5])))
    beside = set(os.listdir(run.plan.home)) - {"data", "server.log", "history", "synced"}
    if beside:
        wrong.append(("R9", "nothing beside the data directory", str(sorted(beside)[:5])))
    if nobody := sorted(set(os.listdir(data / "datasets")) - set(run.plan.universes)):
        wrong.append(("R9", "only datasets that were made", str(nobody[:5])))
    return wrong


def names(run: Run) -> None:
    """I9: each hostile name, wherever a name stands; nothing may come of it on the disk."""
    before = tree(run.server.home)
    for name in HOSTILE:
        probe(run, "PUT", f"/v1/datasets/{name}", {"retain": 2})
        rows = b"".join(b'{"k":"k%d","v":1}\n' % i for i in range(20))
        probe(run, "POST", f"/v1/datasets/{name}/push?key=k&value=v&format=ndjson", rows)
        probe(run, "GET", f"/v1/datasets/{name}/keys/k1", None)
    appeared = sorted(tree(run.server.home) - before)
    run.writer.add(
        "probe", rule="I9", expected="no new file or directory", seen=str(appeared[:5]), held=not appeared,
        request="hostile names",
    )


def probe(run: Run, method: str, path: str, body: Any) -> None:
    try:
        reply: Reply | None = Connection(run.server.address).ask(method, path, body)
    except (Unsent, Unanswered) as error:
        reply, why = None, error
    # Each of these is HTTP, so to hang up is no answer.
    held = reply is not None and 400 <= reply.status < 500
    seen = str(reply) if reply else f"no answer: {why}"
    run.writer.add("probe", rule="I9", expected="a 4xx", seen=seen[:300], held=held, request=f"{method} {path[:200]}")


def tree(home: Path) -> set[str]:
    """All directories there are, and what stands beside the data."""
    found = set(os.listdir(home))
    for directory, _, _ in os.walk(home / "data"):
        if "/staging/" not in directory:
            found.add(directory)
    return found


def body_before_refusal(run: Run) -> None:
    """N8: a push that a page of another site makes a browser send. Its body is announced and never sent."""
    connection = Connection(run.server.address, timeout=2.0)
    head = (
        "POST /v1/datasets/small/push?key=k&format=ndjson HTTP/1.1\r\nHost: localhost\r\n"
        "Sec-Fetch-Site: cross-site\r\nContent-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n"
    )
    try:
        connection.send_raw(head.encode())
        reply = connection.receive()
        seen, held = str(reply), reply.status == 403
    except Unanswered as error:
        seen, held = f"no answer: {error}", False
    run.writer.add(
        "probe", rule="N8", expected="403 before any byte of the body was sent", seen=seen[:300], held=held,
        request="POST push with Sec-Fetch-Site: cross-site",
    )
