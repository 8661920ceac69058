"""Whether a server that something has happened to is sound: started again, it is asked for everything.

Every violation is a sentence; none means that what was acknowledged is there bit for bit, what was not is
wholly there or wholly not, every push has come to its end, nothing was left behind, and the next push works.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from client import Connection, Unanswered, Unsent
from server import NotStarted, Server
from values import number_of_label

from crash.book import Book, Dataset, Push
from crash.story import BAD, CutOff, Story

# States in which a push has not come to its end.
RUNNING = {"building", "verifying"}
WITH_FILES = {"ready", "active", "retired", "rejected", "bad"}
# How long pushes may take to come to their end after a start.
SETTLED_WITHIN = 30.0
# And what nobody reads any more until its files are gone.
GONE_WITHIN = 8.0
NEXT = 900


class Judge:
    """Looks at one server, once."""

    def __init__(self, server: Server, book: Book) -> None:
        self.server = server
        self.book = book
        self.wrong: list[str] = []

    def look(self) -> list[str]:
        """Starts the server and asks it; it is killed at the end."""
        try:
            self.server.start()
        except NotStarted as error:
            return [*self.book.wrong, f"it does not start: {error}"]
        self.story = Story(self.server, self.book)
        self.connection = Connection(self.server.address, timeout=30.0)
        try:
            for dataset in self.book.datasets.values():
                self.dataset(dataset)
            self.leftovers()
            self.next_push()
            if not self.wrong:
                self.leftovers()
        except (CutOff, Unanswered, Unsent) as error:
            self.wrong.append(f"it went away after its restart: {error}: {self.server.last_words()}")
        self.server.kill()
        if " panicked at " in self.server.log.read_text(errors="replace"):
            self.wrong.append("it panicked")
        return self.book.wrong + self.wrong

    def dataset(self, dataset: Dataset) -> None:
        shown = self.settled(dataset)
        if shown is None:
            if dataset.is_there and not dataset.may_be_gone:
                self.wrong.append(f"{dataset.name} is gone")
            return
        if dataset.is_gone:
            self.wrong.append(f"{dataset.name} was deleted and is there again")
        visible: dict[int, dict[str, Any]] = {}
        for version in shown:
            self.version(dataset, version, visible)
        self.current(dataset, shown)
        for number, known in dataset.pushes.items():
            self.push(dataset, known, visible.get(number))

    def settled(self, dataset: Dataset) -> list[dict[str, Any]] | None:
        """The versions, once every push has come to its end; `None` if there is no such dataset."""
        in_parts = [known for known in dataset.pushes.values() if known.in_parts and known.state != "done"]
        open_versions = {known.version for known in in_parts}
        unanswered = None in open_versions
        end = time.monotonic() + SETTLED_WITHIN
        while True:
            reply = self.connection.ask("GET", f"/v1/datasets/{dataset.name}/versions?limit=100")
            if reply.status == 404:
                return None
            shown: list[dict[str, Any]] = reply.json()["versions"]
            receiving = {v["version"] for v in shown if v["state"] == "receiving"} - open_versions
            # What is ready and about to be activated has progress still.
            running = any(v["state"] in RUNNING or v["progress"] for v in shown)
            if not running and (unanswered or not receiving):
                return shown
            if time.monotonic() > end:
                self.wrong.append(f"{dataset.name}: not at their end within {SETTLED_WITHIN} s: {shown}")
                return shown
            time.sleep(0.005)

    def version(self, dataset: Dataset, shown: dict[str, Any], visible: dict[int, dict[str, Any]]) -> None:
        if shown["state"] not in WITH_FILES:
            return
        label = shown.get("label")
        number = number_of_label(label)
        if label == BAD or number is None or number not in dataset.pushes:
            self.wrong.append(f"{dataset.name} has a version that it must not have: {shown}")
            return
        if number in visible:
            self.wrong.append(f"{dataset.name} has {number} twice: {shown}, {visible[number]}")
        if self.whole(dataset, number, shown["version"]):
            visible[number] = shown

    def whole(self, dataset: Dataset, number: int, version: int) -> bool:
        """Every record of the content is there, bit for bit, and no other: by key and in order; `False` if
        retention has deleted it meanwhile."""
        content = self.story.contents.of(dataset.name, number)
        expected = [(key, json.loads(content.value(key))) for key in content.keys()]
        where = f"{dataset.name} version {version} (content {number})"
        path = f"/v1/datasets/{dataset.name}"
        reply = self.connection.ask("GET", f"{path}/scan?limit=1000&version={version}")
        may_go = dataset.push(number).may_be_gone
        if may_go and reply.status == 410:
            return False
        records = [(r["key"], r["value"]) for r in (reply.json() or {}).get("records", [])]
        if reply.status != 200 or records != expected:
            self.wrong.append(f"{where}: a scan gave {str(reply)[:300]}")
        lacking = [f"k{i:06}" for i in range(10, 40) if not content.has(f"k{i:06}")]
        keys = [key for key, _ in expected] + lacking
        reply = self.connection.ask("POST", f"{path}/batch-get", {"keys": keys, "version": version})
        if may_go and reply.status == 410:
            return False
        found = (reply.json() or {}).get("results", [])
        given = [(r["key"], r.get("value")) for r in found if r["found"]]
        if reply.status != 200 or given != expected:
            self.wrong.append(f"{where}: a batch gave {str(reply)[:300]}")
        return True

    def push(self, dataset: Dataset, known: Push, visible: dict[str, Any] | None) -> None:
        where = f"{dataset.name} content {known.number}"
        if known.state == "done" and visible is None and not known.may_be_gone and not dataset.may_be_gone:
            self.wrong.append(f"{where} was acknowledged and is not there")
        if known.is_gone and visible is not None:
            self.wrong.append(f"{where} was deleted and is there: {visible}")
        if known.version is not None and visible is not None and visible["version"] != known.version:
            self.wrong.append(f"{where} was version {known.version} and is {visible}")
        if self.receives(dataset, known):
            self.parts(dataset, known)
        if known.key is not None and not known.may_be_bad:
            self.once(dataset, known)

    def receives(self, dataset: Dataset, known: Push) -> bool:
        """Whether it waits for parts, as it must if its commit was never sent."""
        if not known.in_parts or known.version is None or known.may_be_gone:
            return False
        path = f"/v1/datasets/{dataset.name}/versions/{known.version}"
        state = (self.connection.ask("GET", path).json() or {}).get("state")
        if known.state == "open" and state != "receiving":
            self.wrong.append(f"{dataset.name} {known.number} waits for parts no more: {state}")
        return state == "receiving"

    def parts(self, dataset: Dataset, known: Push) -> None:
        """The parts that were acknowledged are there, and can be committed."""
        path = f"/v1/datasets/{dataset.name}/versions/{known.version}/parts"
        reply = self.connection.ask("GET", path)
        there = {part["name"]: part["bytes"] for part in (reply.json() or {}).get("parts", [])}
        for name, rows in known.parts.items():
            # A repetition that was not acknowledged may have taken its place.
            if name not in there:
                self.wrong.append(f"part {name} of {dataset.name} {known.number} is gone: {reply}")
        staged = self.server.data / "staging" / f"{dataset.name}.{known.version}" / "parts"
        owned = len(list(staged.glob("*.part"))) * 2
        files = sorted(path.name for path in staged.iterdir()) if staged.exists() else []
        if len(files) != owned:
            self.wrong.append(f"parts that nobody owns: {files}")
        if known.state == "sent" and self.story.commit(dataset.name, known.number):
            self.whole(dataset, known.number, known.version or 0)

    def once(self, dataset: Dataset, known: Push) -> None:
        """A push that is repeated under its key makes exactly one version."""
        was_done = known.state == "done"
        before = known.version
        self.story.push(dataset.name, known.number, known.key)
        if known.state != "done":
            self.wrong.append(f"{dataset.name} {known.number} cannot be pushed again under its key")
        elif was_done and known.version != before:
            self.wrong.append(f"{dataset.name} {known.number} was {before} and is {known.version} as well")
        reply = self.connection.ask("GET", f"/v1/datasets/{dataset.name}/versions?limit=100")
        label = f"c{known.number}"
        with_files = [v for v in reply.json()["versions"] if v["state"] in WITH_FILES]
        if sum(v["label"] == label for v in with_files) != 1:
            self.wrong.append(f"{dataset.name} {known.number} is not there exactly once: {reply}")

    def current(self, dataset: Dataset, shown: list[dict[str, Any]]) -> None:
        reply = self.connection.ask("GET", f"/v1/datasets/{dataset.name}")
        current = reply.json().get("current")
        number = None
        for version in shown:
            if version["version"] == current:
                number = number_of_label(version["label"])
        if number not in dataset.current:
            self.wrong.append(f"{dataset.name} serves {number}, allowed are {dataset.current}: {shown}")
        if number is None:
            return
        content = self.story.contents.of(dataset.name, number)
        for key in (content.keys()[0], content.keys()[-1]):
            reply = self.connection.ask("GET", f"/v1/datasets/{dataset.name}/keys/{quote(key, safe='')}")
            if reply.status != 200 or reply.body != content.value(key) or reply.version() != current:
                self.wrong.append(f"{dataset.name} {key!r}: {reply}")

    def leftovers(self) -> None:
        """Nothing is on the disk that no version or running push owns."""
        end = time.monotonic() + GONE_WITHIN
        while left := self._left():
            if time.monotonic() > end:
                self.wrong.append(f"left behind: {left}")
                return
            # A reaper gives way to all others.
            time.sleep(0.01)

    def _left(self) -> list[str]:
        data = self.server.data
        owned, receiving = set(), set()
        for name in [d["dataset"] for d in self.connection.ask("GET", "/v1/datasets").json()["datasets"]]:
            reply = self.connection.ask("GET", f"/v1/datasets/{name}/versions?limit=100")
            for version in reply.json()["versions"]:
                if version["state"] in WITH_FILES:
                    owned.add((name, str(version["version"])))
                if version["state"] == "receiving":
                    receiving.add(f"{name}.{version['version']}")
        left = [str(path) for path in (data / "staging").iterdir() if path.name not in receiving]
        there = {(p.parent.name, p.name) for p in (data / "datasets").glob("*/*")}
        left += [f"datasets/{name}/{version}" for name, version in there ^ owned]
        left += [str(path) for path in data.rglob("*") if re.search(r"\.tmp$|^link-", path.name)]
        return left

    def next_push(self) -> None:
        """The next push of every dataset works and can be made current."""
        for name in sorted(set(self.book.datasets) | {"a"}):
            dataset = self.book.of(name)
            dataset.is_gone = dataset.may_be_gone = False
            is_active = self.story.push(name, NEXT)
            if not is_active and dataset.push(NEXT).state == "done":
                # A rollback, or the server, holds the dataset.
                self.story.move("activate", name, NEXT)
            if dataset.current != {NEXT}:
                self.wrong.append(f"{name}: the next push is not current")
                continue
            self.whole(dataset, NEXT, dataset.push(NEXT).version or 0)


class Witness(Judge):
    """Looks at a running server, and holds it to what it shows from then on."""

    def look(self) -> list[str]:
        self.story = Story(self.server, self.book)
        self.connection = Connection(self.server.address, timeout=30.0)
        for dataset in list(self.book.datasets.values()):
            shown = self.settled(dataset)
            if shown is None:
                dataset.is_gone = dataset.is_there
            else:
                dataset.is_there = True
                self.seen(dataset, shown)
            for known in dataset.pushes.values():
                if known.key is not None and known.state != "done":
                    # A job tries again.
                    self.story.push(dataset.name, known.number, known.key)
        return self.wrong

    def seen(self, dataset: Dataset, shown: list[dict[str, Any]]) -> None:
        current = self.connection.ask("GET", f"/v1/datasets/{dataset.name}").json().get("current")
        visible = {number_of_label(v["label"]): v for v in shown if v["state"] in WITH_FILES}
        for number, known in dataset.pushes.items():
            if number in visible:
                known.state, known.version = "done", visible[number]["version"]
            elif known.state == "done":
                known.is_gone = known.may_be_gone
        numbers = [number for number, v in visible.items() if v["version"] == current]
        dataset.current = set(numbers) or {None}


def judge(server: Server, book: Book) -> list[str]:
    return Judge(server, book).look()


def log_of(home: Path, lines: int = 30) -> str:
    text = (home / "server.log").read_text(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
