"""What a client does to a server while something goes wrong with it.

A Story sends requests and writes into its Book what it asked for and was told. The scenarios are those of
a data product's day: a first push, its replacement, a rollback, deletions, a start after a crash.
"""

from __future__ import annotations

import copy
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace as changed
from pathlib import Path
from typing import Any

from client import Connection, Reply, Unanswered, Unsent
from server import NotStarted, Server
from values import Contents

from crash.along import READS_ALONG, LongPush, logged, long_rows
from crash.book import Book, Push

# Keys of the universe of each dataset: enough for more than one block, few enough to read them all.
UNIVERSE = 300
# The label of a push whose rows are of no use.
BAD = "bad"
# A machine that is busy would let builds wait for ever. Of two at a time, one would go on reading along while the other
# builds what is sealed.
ARGUMENTS = ["--pushes-give-way=false", "--builds-at-once=1"]
# Codes with which a request may fail while the disk does: nothing was done, or a restart settles it.
CLEAN = {"disk_full", "io_failed", "outcome_unknown", "build_died", "too_many_files"}
# What a push that worked is answered with.
PUSHED = (200, 201, 202)
# How long a client that sends slowly waits for the builder; and if a fault may keep that from coming.
PATIENCE, WITH_FAULTS = 30.0, 5.0


class CutOff(Exception):
    """The server is gone."""


class Story:
    """The requests of one client, and its book."""

    def __init__(self, server: Server, book: Book, tolerant: bool = False) -> None:
        self.server = server
        self.book = book
        self.contents = Contents(book.seed, {name: UNIVERSE for name in ("a", "b")})
        # Whether a request may fail, with a clear code: there is a fault.
        self.tolerant = tolerant
        # How many pushes the server must have read while they arrived.
        self.along = 0
        self.connection = Connection(server.address, timeout=60.0)

    def ask(
        self, what: str, path: str, body: Any = None, good: tuple[int, ...] = (200,), **more: Any
    ) -> Reply | None:
        """One request; its answer if it is one of the good ones, `None` if it failed as it may."""
        method = more.pop("method", "POST")
        try:
            reply = self.connection.ask(method, f"/v1/datasets{path}", body, more.pop("headers", ()))
        except (Unsent, Unanswered) as error:
            raise CutOff(f"{what}: {error}") from error
        return self._answered(what, reply, good)

    def _answered(self, what: str, reply: Reply, good: tuple[int, ...]) -> Reply | None:
        if reply.status in good:
            return reply
        code = reply.code() or "no problem document"
        if self.tolerant and reply.status >= 500 and code in CLEAN:
            self.book.failed.append((what, reply.status, code))
        elif not (self.tolerant and self.book.failed and reply.status in (404, 409, 410, 422)):
            # What follows on a request that failed may find less than it expects.
            self.book.wrong.append(f"{what}: answered {reply}")
        return None

    def push(self, name: str, number: int, key: str | None = None) -> bool:
        """A whole push in one request."""
        known = self._sends(name, number, key)
        path, headers = request(name, number, key)
        body = known.body or self.contents.of(name, number).rows()
        reply = self.ask(f"push {name} {number}", path, body, PUSHED, headers=headers)
        return reply is not None and self._done(name, number, reply.json())

    def _sends(self, name: str, number: int, key: str | None) -> Push:
        known = self.book.of(name).push(number)
        known.key = key
        if known.state != "done":
            known.state = "sent"
            self.book.of(name).current.add(number)
        return known

    def push_along(
        self, name: str, number: int, key: str | None = None, in_order: bool = False,
        meanwhile: Callable[[], object] | None = None,
    ) -> bool:
        """A whole push that is read while it arrives; what is done `meanwhile` is to end that."""
        known = self._sends(name, number, key)
        known.body = long_rows(self.contents.of(name, number), in_order)
        what = f"push {name} {number}"
        try:
            push = self._begin(what, name, number, key, known.body)
            if meanwhile is not None:
                meanwhile()
            reply = push.end()
        except (Unsent, Unanswered) as error:
            raise CutOff(f"{what}: {error}") from error
        shown = self._answered(what, reply, PUSHED)
        is_active = shown is not None and self._done(name, number, shown.json())
        self.along += meanwhile is None
        if not self.tolerant and (count := self.read_along()) != self.along:
            self.book.wrong.append(f"{what}: {count} were read while they arrived, not {self.along}")
        return is_active

    def break_off(self, name: str, number: int) -> None:
        """A push that is read while it arrives, and whose client goes away. The book knows nothing of it: it is
        to make no version."""
        what = f"break off {name} {number}"
        body = long_rows(self.contents.of(name, number), in_order=False)
        try:
            self._begin(what, name, number, None, body).break_off()
        except (Unsent, Unanswered) as error:
            raise CutOff(f"{what}: {error}") from error

    def _begin(self, what: str, name: str, number: int, key: str | None, body: bytes) -> LongPush:
        path, headers = request(name, number, key)
        push = LongPush(self.server, f"/v1/datasets{path}", headers, body)
        if not push.wait_until_read(WITH_FAULTS if self.tolerant else PATIENCE) and not self.tolerant:
            self.book.wrong.append(f"{what}: nobody reads it while it arrives")
        return push

    def read_along(self) -> int:
        """How many pushes this server has read while they arrived."""
        try:
            page = self.connection.ask("GET", "/metrics").body.decode()
        except (Unsent, Unanswered) as error:
            raise CutOff(f"metrics: {error}") from error
        name = "tidetable_pushes_read_along_total "
        return sum(int(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))

    def _done(self, name: str, number: int, shown: dict[str, Any]) -> bool:
        dataset = self.book.of(name)
        dataset.is_there = True
        known = dataset.push(number)
        was_done = known.state == "done"
        known.state, known.version = "done", shown["version"]
        if shown["state"] == "active":
            dataset.current = {number}
        elif shown["state"] == "ready" and shown.get("held"):
            dataset.current.discard(number)
        elif self.tolerant and shown["state"] == "ready" and shown.get("code"):
            # A restart activates it, or somebody.
            self.book.failed.append((f"activate {name} {number}", 200, shown["code"]))
        elif not self.book.failed and not (was_done and shown["state"] in ("retired", "bad")):
            self.book.wrong.append(f"push {name} {number}: {shown}")
        return shown["state"] == "active"

    def push_bad_rows(self, name: str) -> None:
        path = f"/{name}/push?key=k&value=v&label={BAD}"
        headers = [("Content-Type", "application/x-ndjson")]
        self.ask("push bad rows", path, b'{"k":1,"v":2}\n{"k":\n', (422,), headers=headers)

    def create(self, name: str, number: int) -> int | None:
        known = self.book.of(name).push(number)
        known.state, known.in_parts = "open", True
        body = {"format": "ndjson", "key": ["k"], "value": "v", "label": f"c{number}"}
        reply = self.ask(f"create {name} {number}", f"/{name}/versions", body, (201,))
        if reply is None:
            return None
        known.version = reply.json()["version"]
        return known.version

    def part(self, name: str, number: int, part: str, rows: bytes) -> bool:
        known = self.book.of(name).push(number)
        path = f"/{name}/versions/{known.version}/parts/{part}"
        reply = self.ask(f"part {part} of {name} {number}", path, rows, method="PUT")
        if reply is not None:
            known.parts[part] = rows
        return reply is not None

    def commit(self, name: str, number: int) -> bool:
        known = self.book.of(name).push(number)
        known.state = "sent"
        self.book.of(name).current.add(number)
        path = f"/{name}/versions/{known.version}"
        parts = {"parts": sorted(known.parts)}
        if self.ask(f"commit {name} {number}", f"{path}/commit", parts, (200, 202)) is None:
            return False
        reply = self.ask(f"wait for {name} {number}", f"{path}?wait=30", method="GET")
        if reply is None:
            return False
        shown = reply.json()
        if self.tolerant and shown["state"] not in ("active", "ready"):
            self.book.failed.append((f"push {name} {number}", 200, str(shown.get("reason"))))
            return False
        return self._done(name, number, shown)

    def push_in_parts(self, name: str, number: int) -> bool:
        rows = self.contents.of(name, number).rows().splitlines(keepends=True)
        half = len(rows) // 2
        if self.create(name, number) is None:
            return False
        parts = [("1", rows[half:]), ("2", rows[half:]), ("1", rows[:half])]
        # The first part is sent twice, as a task that is tried again does.
        sent = [self.part(name, number, part, b"".join(some)) for part, some in parts]
        return all(sent) and self.commit(name, number)

    def move(self, verb: str, name: str, number: int) -> bool:
        """Rolls back or activates."""
        dataset = self.book.of(name)
        if verb == "rollback":
            for left in dataset.current - {None, number}:
                dataset.push(left or 0).may_be_bad = True
        dataset.current.add(number)
        version = dataset.push(number).version
        body: dict[str, Any] = {"to": version, "reason": "a check"}
        if verb == "activate":
            body = {"version": version, "force": True, "reason": "a check"}
        if self.ask(f"{verb} {name} {number}", f"/{name}/{verb}", body) is None:
            return False
        dataset.current = {number}
        return True

    def delete(self, name: str, number: int) -> None:
        known = self.book.of(name).push(number)
        known.may_be_gone = True
        path = f"/{name}/versions/{known.version}"
        if self.ask(f"delete {name} {number}", path, method="DELETE", good=(200, 204)) is not None:
            known.is_gone = True

    def delete_dataset(self, name: str) -> None:
        dataset = self.book.of(name)
        dataset.may_be_gone = True
        if self.ask(f"delete {name}", f"/{name}", method="DELETE", good=(200, 204)) is not None:
            dataset.is_gone = True

    def keep_all(self, name: str) -> None:
        """Whatever a run takes, nothing is given up: only what a story asks for goes."""
        self.ask(f"configure {name}", f"/{name}", {"retire_grace_seconds": 604_800}, (200, 201), method="PUT")

    def keep_one(self, name: str) -> None:
        """From here on retention deletes what it may, at once."""
        for known in self.book.of(name).pushes.values():
            known.may_be_gone = True
        body = {"retain": 1, "retire_grace_seconds": 0}
        self.ask(f"configure {name}", f"/{name}", body, (200, 201), method="PUT")

    def grow_journal(self, name: str) -> None:
        """Events that a checkpoint folds away."""
        for n in range(20):
            self.ask("configure", f"/{name}", {"description": f"{n} " * 200}, (200, 201), method="PUT")


def request(name: str, number: int, key: str | None) -> tuple[str, list[tuple[str, str]]]:
    """Path and headers of a push in one request."""
    headers = [("Content-Type", "application/x-ndjson")]
    if key:
        headers.append(("Idempotency-Key", key))
    return f"/{name}/push?key=k&value=v&label=c{number}", headers


@dataclass(frozen=True)
class Scenario:
    """What there is before, and what is done then."""

    name: str
    prepare: Callable[[Story], None]
    act: Callable[[Story], None]
    # Steps at which the server is killed one after the other in `prepare`.
    kills: tuple[str, ...] = ()
    # Bytes that a torn append leaves behind the journal.
    torn: bytes = b""
    environment: tuple[tuple[str, str], ...] = ()
    # A pattern of the steps that are its own: unless a run is long, nobody dies in it at those of any push.
    own: str = ""

    def after(self) -> Scenario:
        """The start after it, and what the server then does by itself."""
        return changed(self, act=settle)


def settle(story: Story) -> None:
    end = time.monotonic() + 10
    for name in ("a", "b"):
        while time.monotonic() < end:
            reply = story.ask("look", f"/{name}/versions?limit=100", good=(200, 404), method="GET")
            shown = (reply.json() if reply else {}).get("versions", [])
            if not any(v["state"] in ("building", "verifying") or v["progress"] for v in shown):
                break
            time.sleep(0.005)


def nothing(_: Story) -> None:
    pass


def one_version(story: Story) -> None:
    story.keep_all("a")
    story.push("a", 1)


def three_versions(story: Story) -> None:
    story.keep_all("a")
    story.keep_all("b")
    story.push("b", 1)
    for number in (1, 2, 3):
        story.push("a", number)


def long_journal(story: Story) -> None:
    three_versions(story)
    story.grow_journal("a")


def first_push(story: Story) -> None:
    story.push("a", 1, key="first")


def replace(story: Story) -> None:
    story.push_in_parts("a", 2)
    story.push("a", 3)


def roll_back(story: Story) -> None:
    story.move("rollback", "a", 2)
    story.move("activate", "a", 3)


def give_up(story: Story) -> None:
    story.delete("a", 1)
    story.push_bad_rows("a")
    if story.create("a", 8) is not None:
        story.part("a", 8, "1", b"{}\n")
        story.delete("a", 8)
    story.keep_one("a")
    story.push("a", 4)
    story.delete_dataset("b")


def read_along(story: Story) -> None:
    story.push_along("a", 2, key="along")
    story.push_along("a", 3, in_order=True)


def read_along_in_vain(story: Story) -> None:
    # Who is sealed goes first.
    story.push_along("a", 2, meanwhile=lambda: story.push("b", 1))
    story.break_off("a", 3)
    story.push("a", 4)


# A record's head that was begun: physically short, as a torn append is.
TORN = b"\x40\x00\x00\x00\x09"
# A journal of this size is replaced by a checkpoint.
SMALL = (("TIDETABLE_CHECKPOINT_BYTES", "4096"),)
READ_ALONG = Scenario(
    "read along", one_version, read_along, environment=READS_ALONG,
    own=r"(admit|along|build|part|publish|seal|worker)\.",
)
IN_VAIN = Scenario(
    "read along in vain", one_version, read_along_in_vain, environment=READS_ALONG,
    own=r"(along|fail|part|seal)\.",
)

SCENARIOS = (
    Scenario("first push", nothing, first_push),
    Scenario("replace", one_version, replace),
    Scenario("rollback", three_versions, roll_back),
    Scenario("delete", three_versions, give_up),
    Scenario("restart after a push", three_versions, settle, kills=("part.written",), torn=TORN),
    Scenario("restart while publishing", long_journal, settle, kills=("publish.placed",), environment=SMALL),
    Scenario("restart after a deletion", three_versions, settle, kills=("delete.recorded",), torn=bytes(9)),
    READ_ALONG,
    IN_VAIN,
)


class Base:
    """The directory that a scenario begins with, made once and copied for each of its cases."""

    def __init__(self, scenario: Scenario, binary: Path, home: Path, seed: str) -> None:
        self.scenario = scenario
        self.binary = binary
        self.home = home
        self.book = Book(seed)
        server = Server(binary, home, ARGUMENTS)
        if scenario.prepare is not nothing:
            server.start()
            scenario.prepare(Story(server, self.book))
            server.stop()
        for place, step in enumerate(scenario.kills):
            self._kill_at(step, place)
        if scenario.torn:
            with (server.data / "journal").open("ab") as journal:
                journal.write(scenario.torn)
        if self.book.wrong:
            raise RuntimeError(f"{scenario.name} cannot begin: {self.book.wrong}")

    def _kill_at(self, step: str, place: int) -> None:
        """Leaves behind what a server leaves that dies at that step."""
        server = Server(self.binary, self.home, ARGUMENTS)
        server.start(extra={"TIDETABLE_CRASH_AT": step})
        story = Story(server, self.book)
        try:
            if step.startswith("delete."):
                story.delete("a", 1)
            else:
                story.push("b" if place == 0 else "a", 20 + place)
        except CutOff:
            return
        finally:
            server.kill()
        raise RuntimeError(f"{self.scenario.name} cannot begin: nobody died at {step}")

    def copy(self, home: Path, environment: dict[str, str] | None = None) -> tuple[Server, Book]:
        """A server on a copy, not started, and a copy of the book."""
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        if (self.home / "data").exists():
            # Hard links stay hard links: a snapshot has some.
            subprocess.run(["cp", "-a", str(self.home / "data"), str(home / "data")], check=True)
        return Server(self.binary, home, ARGUMENTS, environment), copy.deepcopy(self.book)


def play(server: Server, book: Book, scenario: Scenario, extra: dict[str, str], stop: bool = True) -> bool:
    """Starts the server and does what the scenario does; whether it came to its end alive."""
    try:
        server.start(extra=dict(scenario.environment) | logged(server) | extra)
        scenario.act(Story(server, book))
    except (CutOff, NotStarted):
        return False
    if stop:
        # What a reaper still has to do is done before it ends, and has steps to die at.
        return server.stop() != -signal.SIGKILL
    return True
