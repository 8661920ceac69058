"""Those who change things: push, activate, roll back, hold, release, delete, on one dataset each.

Every request is written down with its outcome. One that got no answer may have happened or not; once the
server is up again its operator looks what became of it (`Operator.settle`), and that is written down too.
Nothing is judged here but by `rules.py`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from client import Address, Connection, Reply, Unanswered, Unsent
from history import Writer
from reading import Ask, answered
from values import TINY, Content, Contents, number_of_label

# Bytes that requests may take from an answer into the history.
KEPT = ("version", "state", "from", "to", "held", "marked_bad", "records", "activated", "changed", "label")


class Surroundings:
    """What an operator needs of the run."""

    def __init__(self, writer: Writer, contents: Contents, reads: Callable[[str | None], int]) -> None:
        self.writer = writer
        self.contents = contents
        # How many reads were answered so far, of a dataset or of all.
        self.reads = reads
        self.stop = threading.Event()
        self.up = threading.Event()
        # Changes that were acknowledged so far.
        self.changes = 0
        # Starts so far: connections of an earlier one are of no use.
        self.starts = 0
        # Makes readers turn to a dataset, and takes that back.
        self.burst: Callable[[str, bool], None] = lambda dataset, on: None


class Operator(threading.Thread):
    """One at a time of the steps that its repertoire has."""

    # How long a push that was cut off may take to be settled once the server is up, in seconds.
    settled_within = 30
    # Reads of the dataset that are to be answered before and after each swap.
    AROUND = 35

    def __init__(
        self,
        surroundings: Surroundings,
        address: Address,
        dataset: str,
        name: str,
        seed: str,
        repertoire: dict[str, int],
        pause: float = 0.0,
        interval: float = 0.0,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.around = surroundings
        self.dataset = dataset
        self.base = f"/v1/datasets/{dataset}"
        self.random = random.Random(f"{seed}-{name}")
        self.steps = list(repertoire)
        self.weights = list(repertoire.values())
        self.pause = pause
        self.interval = interval
        self.connection = Connection(address, timeout=60.0)
        self.other = Connection(address, timeout=60.0)
        self.starts = 0
        self.requests = 0
        self.pushed = 0
        # Pushes whose fate is not known: number, and the request to repeat.
        self.open_pushes: dict[int, dict[str, Any]] = {}
        self.last_seq = 0
        self.versions: list[dict[str, Any]] = []
        self.last_current: int | None = None
        self.listed: dict[int, list[Any]] = {}
        self.failure: str | None = None

    def run(self) -> None:
        try:
            while not self.around.stop.is_set():
                self.turn()
        except Exception as error:  # what is wrong with the checker itself must not pass for a clean run
            self.failure = f"{self.name}: {error!r}"
            raise

    def turn(self) -> None:
        try:
            if not self.around.up.wait(timeout=0.2):
                return
            self.connect_anew()
            if self.open_pushes or not self.versions or self.requests % 7 == 0:
                self.settle()
            step = self.random.choices(self.steps, self.weights)[0]
            began = time.monotonic()
            getattr(self, step)()
            pause = self.pause * self.random.random()
            self.around.stop.wait(max(pause, self.interval - (time.monotonic() - began)))
        except (Unsent, Unanswered):
            # Killed: wait for the next start.
            self.versions = []
            time.sleep(0.01)

    def connect_anew(self) -> None:
        """Lets go of the connections to a process that was killed."""
        if self.starts != self.around.starts:
            self.starts = self.around.starts
            self.connection.close()
            self.other.close()

    # Requests.

    def act(self, op: str, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        """One request that changes something, written down however it ends."""
        self.requests += 1
        request = f"{self.name}-{self.requests}"
        headers = [("X-Request-Id", request)]
        if key := more.pop("key", None):
            headers.append(("Idempotency-Key", key))
        connection = more.pop("connection", self.connection)
        line = {"id": request, "ds": self.dataset, "op": op, "start": time.monotonic(), **more}
        try:
            reply = connection.ask(method, path, body, headers)
        except (Unsent, Unanswered) as error:
            outcome = "unsent" if isinstance(error, Unsent) else "unknown"
            # What broke the connection may have come before the request.
            line["alive"] = connection.alive if outcome == "unknown" else line["start"]
            self.around.writer.add("op", **line, end=time.monotonic(), outcome=outcome, why=str(error))
            raise
        answer = reply.json()
        line["start"] = reply.start
        given = {k: answer[k] for k in KEPT if k in answer} if isinstance(answer, dict) else {}
        outcome = "ok" if reply.status < 300 else "refused" if reply.status < 500 else "error"
        code, detail = reply.code(), None
        if outcome != "ok" and isinstance(answer, dict):
            detail = str(answer.get("detail"))[:400]
        if outcome == "ok" and op in ("push", "activate", "rollback", "release", "drop"):
            self.around.changes += 1
        told = {"end": reply.end, "outcome": outcome, "status": reply.status, "code": code, "detail": detail}
        self.around.writer.add("op", **(given | line | told))
        return reply

    def swap(self, op: str, path: str, body: Any, **more: Any) -> Reply:
        """A change of the pointer, with readers at it before and after."""
        self.around.burst(self.dataset, True)
        try:
            self.wait_for_reads()
            reply = self.act(op, "POST", f"{self.base}/{path}", body, **more)
            self.wait_for_reads()
            return reply
        finally:
            self.around.burst(self.dataset, False)

    def wait_for_reads(self) -> None:
        """Until so many reads were answered, unless there is nobody to answer."""
        target = self.around.reads(self.dataset) + self.AROUND
        end = time.monotonic() + 0.24
        while self.around.reads(self.dataset) < target and time.monotonic() < end and self.around.up.is_set():
            time.sleep(0.001)

    # Pushes.

    def push(self, tiny: bool = False) -> None:
        self.pushed += 1
        number = (TINY if tiny else 0) + self.first_number() + self.pushed
        content = self.around.contents.of(self.dataset, number)
        self.push_content(content)

    def first_number(self) -> int:
        """Operators of one dataset number their contents apart."""
        return 100_000 if self.name.endswith("-2") else 0

    def is_mine(self, label: str | None) -> bool:
        number = number_of_label(label)
        first = self.first_number()
        return number is not None and first < number % TINY <= first + 99_999

    def push_content(self, content: Content) -> None:
        key = f"{self.dataset}-{content.number}"
        more = {"number": content.number, "expected": len(content.keys()), "key": key}
        self.open_pushes[content.number] = more
        path = f"{self.base}/push?key=k&value=v&format=ndjson&label={content.label()}"
        reply = self.act("push", "POST", path, content.rows(), **more)
        if not self.is_under_way(reply):
            del self.open_pushes[content.number]

    @staticmethod
    def is_under_way(reply: Reply) -> bool:
        answer = reply.json()
        return reply.code() == "in_progress" or (
            reply.status == 202 and answer.get("state") in ("building", "verifying")
        )

    def push_tiny(self) -> None:
        """One that its gate must refuse."""
        self.push(tiny=True)

    def push_parts(self) -> None:
        self.pushed += 1
        content = self.around.contents.of(self.dataset, self.first_number() + self.pushed)
        more = {"number": content.number, "expected": len(content.keys())}
        body = {"format": "ndjson", "key": ["k"], "value": "v", "label": content.label()}
        begun = self.act("begin", "POST", f"{self.base}/versions", body, number=content.number)
        if begun.status != 201:
            return
        version = f"{self.base}/versions/{begun.json()['version']}"
        rows = content.rows().splitlines(keepends=True)
        half = len(rows) // 2
        # Tasks that are tried twice, and one whose part is not wanted.
        for part, lines in (("1", rows[half:]), ("2", rows[half:]), ("1", rows[:half]), ("x", rows[:3])):
            self.act("part", "PUT", f"{version}/parts/{part}", b"".join(lines), number=content.number)
        self.open_pushes[content.number] = more
        commit = {"parts": ["1", "2"]}
        self.act("commit", "POST", f"{version}/commit", commit, **more)
        self.await_version(begun.json()["version"], content.number)

    def await_version(self, version: int, number: int) -> str:
        """Waits until a push has ended, and writes down how."""
        began = time.monotonic()
        reply = self.connection.ask("GET", f"{self.base}/versions/{version}?wait={self.settled_within}")
        found = reply.json() if reply.status == 200 else {}
        state = found.get("state", f"status {reply.status} {reply.code()}")
        self.around.writer.add(
            "fate", ds=self.dataset, number=number, version=version, state=state, start=began,
            end=reply.end, records=found.get("records"), code=found.get("code"), reason=found.get("reason"),
        )
        if state not in ("building", "verifying"):
            self.open_pushes.pop(number, None)
        return str(state)

    # The pointer.

    def of_state(self, *states: str) -> list[int]:
        return [v["version"] for v in self.versions if v["state"] in states]

    def current(self) -> int | None:
        return next(iter(self.of_state("active")), None)

    def activate(self) -> None:
        choice = self.of_state("retired", "ready")
        if choice:
            version = self.random.choice(choice)
            self.swap("activate", "activate", {"version": version}, asked=version)

    def activate_expecting(self) -> None:
        """With expect_current, which holds or does not."""
        choice = self.of_state("retired", "ready", "bad")
        if choice:
            version, expected = self.random.choice(choice), self.random.choice(self.of_state("active", "retired"))
            body = {"version": version, "expect_current": expected, "force": True, "reason": "a check"}
            self.swap("activate", "activate", body, asked=version, expect=expected)

    def roll_back(self) -> None:
        hold = self.random.random() < 0.3
        body: dict[str, Any] = {"hold": hold, "reason": "a check"}
        more: dict[str, Any] = {}
        if self.random.random() < 0.5 and (current := self.current()):
            body["expect_current"] = more["expect"] = current
        self.swap("rollback", "rollback", body, **more)
        if hold:
            if self.random.random() < 0.5:
                self.push()
            self.release()

    def hold(self) -> None:
        self.act("hold", "POST", f"{self.base}/hold", {"reason": "a check"})
        self.push()
        self.release()

    def release(self) -> None:
        self.swap("release", "release", {})

    # What goes.

    def delete_version(self) -> None:
        choice = self.of_state("retired", "bad", "rejected", "ready")
        if choice:
            version = self.random.choice(choice)
            self.act("delete", "DELETE", f"{self.base}/versions/{version}", version=version)

    def delete_while_read(self) -> None:
        """Long reads of a version are under way while it is deleted: each is whole, or is told that the
        version is gone."""
        choice = self.of_state("retired")
        if not choice:
            return
        version = self.random.choice(choice)
        universe = self.around.contents.universes[self.dataset]
        keys = [self.random.randrange(universe) for _ in range(900)]
        ask = Ask(self.dataset, "batch", keys, version)
        readers = [Connection(self.connection.address, 60.0) for _ in range(3)]
        self.other.ask("GET", f"{self.base}")
        began = time.monotonic()
        for reader in readers:
            # One behind the other on each connection, so that they last as long as a deletion takes.
            for _ in range(12):
                reader.send(ask.method, ask.path, ask.body)
        self.act("delete", "DELETE", f"{self.base}/versions/{version}", connection=self.other, version=version)
        for i, reader in enumerate(readers):
            for _ in range(12):
                read, _ = answered(ask, reader.receive(), f"{self.name}.{i}", self.around.contents)
                self.around.writer.read(read._replace(start=began))
            reader.close()

    def delete_dataset(self) -> None:
        """The dataset goes, and comes again with its next push."""
        self.settle()
        self.swap_dataset_away()
        self.around.writer.add("note", ds=self.dataset, at=time.monotonic(), text="made again")
        self.configure()
        self.push()

    def swap_dataset_away(self) -> None:
        self.around.burst(self.dataset, True)
        try:
            self.wait_for_reads()
            self.act("drop", "DELETE", self.base, after=self.last_seq)
            self.wait_for_reads()
        finally:
            self.around.burst(self.dataset, False)

    settings: dict[str, Any] = {}

    def configure(self) -> None:
        self.act("configure", "PUT", self.base, self.settings)

    # What became of it.

    def settle(self) -> None:
        """Looks what is there, and what became of pushes that got no answer; repeats some of them."""
        self.look()
        for number, more in list(self.open_pushes.items()):
            found = [v for v in self.versions if number_of_label(v["label"]) == number]
            if not found:
                self.around.writer.add(
                    "fate", ds=self.dataset, number=number, version=None, state="absent",
                    start=time.monotonic(), end=time.monotonic(), records=None, code=None, reason=None,
                )
                del self.open_pushes[number]
            for version in found:
                if version["state"] == "receiving":
                    self.open_pushes.pop(number, None)
                else:
                    self.await_version(version["version"], number)
            if number not in self.open_pushes and "key" in more and self.random.random() < 0.5:
                # With the key of the first: that makes one version, whatever became of it.
                content = self.around.contents.of(self.dataset, number)
                self.push_content(content)
        for version in self.versions:
            # Parts whose commit never arrived.
            if version["state"] == "receiving" and self.is_mine(version["label"]):
                number = version["version"]
                self.act("delete", "DELETE", f"{self.base}/versions/{number}", version=number)
        if self.open_pushes:
            self.look()

    def look(self) -> None:
        """Writes down what the server says has happened, and what there is."""
        began = time.monotonic()
        events = self.connection.ask("GET", f"{self.base}/history?limit=1000")
        listed = self.connection.ask("GET", f"{self.base}/versions?limit=1000")
        end = time.monotonic()
        if events.status == 404:
            self.around.writer.add("gone", ds=self.dataset, start=began, end=end, code=events.code())
            self.configure()
            return
        new = [
            [e["seq"], e["event"], e["from"], e["to"], e["version"], e["request_id"]]
            for e in events.json()["events"]
            # Some that were seen before too: they must not have changed.
            if e["seq"] > self.last_seq - 20
        ]
        self.around.writer.add("events", ds=self.dataset, start=began, end=events.end, list=new)
        self.last_seq = max((e[0] for e in new), default=self.last_seq)
        self.versions = [
            {"version": v["version"], "label": v["label"], "state": v["state"], "records": v["records"]}
            for v in listed.json()["versions"]
        ]
        self.last_current = self.current() or self.last_current
        brief = [[v["version"], v["label"], v["state"], v["records"]] for v in self.versions]
        # Only what is new: most of it was written down before.
        brief = [entry for entry in brief if self.listed.get(entry[0]) != entry]
        self.listed |= {entry[0]: entry for entry in brief}
        self.around.writer.add("versions", ds=self.dataset, start=began, end=end, list=brief)
