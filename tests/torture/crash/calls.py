"""The N-th system call on the data directory fails: once, or from then on.

A server is started, pushed to in one request and in parts, rolled back and read, while one call of one kind
fails in it or in a process that it starts. A request must succeed or fail with a clear code; what is served goes
on being served; the server lives; an fsync that failed is never tried again on that file; after one failure the
next push works, unless the server said that only a restart settles what happened; and a restart is sound.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from client import Connection, Unanswered, Unsent
from server import NotStarted, Server

from crash.along import READS_ALONG, logged, steps_passed
from crash.book import Book
from crash.gate import LET, Call, Fate, Gate
from crash.judge import judge
from crash.ledger import Ledger
from crash.story import Base, CutOff, Scenario, Story, three_versions

# What is made to fail, by the name it is told under.
KINDS = {
    "write": ("write", "writev"),
    "pwrite": ("pwrite64", "pwritev"),
    "fsync": ("fsync",),
    "fdatasync": ("fdatasync",),
    "rename": ("rename", "renameat", "renameat2"),
    "open": ("openat",),
    "mkdir": ("mkdir", "mkdirat"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "mmap": ("mmap",),
    "ftruncate": ("ftruncate",),
    "fallocate": ("fallocate",),
    "link": ("link", "linkat"),
}
# Some are counted a second time, by themselves, while a push is made whose rows are read while they arrive: their
# kind, and what their path has in it.
ALONG = {
    "write of a part read along": ("write", "/parts/data-"),
    "fsync of a part read along": ("fsync", "/parts/data-"),
    "open for a push read along": ("open", "/staging/"),
    "fsync of a build read along": ("fsync", "/build-"),
}
ERRORS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EMFILE": errno.EMFILE}
# A RocksDB without direct I/O makes none. It is watched all the same: another version may.
NOT_MADE = {"pwrite"}
# How often a case is tried whose call does not come.
TRIES = 3
KIND_OF = {call: kind for kind, calls in KINDS.items() for call in calls}


@dataclass(frozen=True)
class Case:
    kind: str
    error: str
    n: int
    sticky: bool

    def __str__(self) -> str:
        return f"{self.kind} {self.n} {'and on ' if self.sticky else ''}{self.error}"


class Fail:
    """What a gate decides: it counts, and lets a call fail."""

    def __init__(self, data: Path, case: Case | None) -> None:
        self.inside = f"{data}/"
        self.data = str(data)
        self.case = case
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []
        self.wrong: list[str] = []
        self.is_over = False
        # A push is made whose rows are read while they arrive.
        self.is_along = False
        # A builder has begun to read them.
        self.was_read_along = False
        self._suspect: set[tuple[int, int]] = set()

    def __call__(self, call: Call) -> Fate:
        if not (call.path.startswith(self.inside) or call.path == self.data) or self.is_over:
            return LET
        kind = KIND_OF[call.name]
        kinds = [kind, *self._along(kind, call.path)]
        self.counts.update(kinds)
        if kind in ("fsync", "fdatasync"):
            self._look(call)
        elif kind == "unlink":
            # Another file may get its number. Two may be removing it at the same time: one who builds along, and one
            # who ends the push.
            with suppress(FileNotFoundError):
                self._suspect.discard(identity(call.path))
        case = self.case
        if case is None or case.kind not in kinds:
            return LET
        count = self.counts[case.kind]
        if count != case.n and not (case.sticky and count > case.n):
            return LET
        self.failed.append(f"{call.name} {call.path}")
        if kind in ("fsync", "fdatasync"):
            self._suspect.add(identity(call.file))
        return ERRORS[case.error]

    def _along(self, kind: str, path: str) -> list[str]:
        if not self.is_along:
            return []
        return [name for name, (of_kind, place) in ALONG.items() if kind == of_kind and place in path]

    def _look(self, call: Call) -> None:
        told = os.stat(call.file)
        # Of a directory a later fsync is about later names.
        if stat.S_ISREG(told.st_mode) and identity(call.file) in self._suspect:
            self.wrong.append(f"an fsync that failed was tried again: {call.path}")


def identity(path: str) -> tuple[int, int]:
    told = os.stat(path)
    return told.st_dev, told.st_ino


def read(story: Story, name: str, may_fail: bool) -> None:
    """What is served is one of what is allowed, bit for bit."""
    dataset = story.book.of(name)
    key = "k000001"
    reply = story.connection.ask("GET", f"/v1/datasets/{name}/keys/{quote(key, safe='')}")
    expected = {story.contents.of(name, n).expected(key) for n in dataset.current if n is not None}
    if reply.status == 404 and reply.code() == "key_not_found":
        good = None in expected
    elif reply.status == 200:
        good = reply.body in expected
    else:
        good = may_fail and reply.status >= 500 and reply.code() is not None
    if not good:
        story.book.wrong.append(f"{name} is not served as before: {reply}")


def push_along(story: Story, fail: Fail) -> None:
    fail.is_along = True
    story.push_along("a", 7, key="along")
    fail.is_along = False


def act(story: Story, fail: Fail, was_ready: bool) -> None:
    """Every kind of change, with reads between."""
    steps = [
        lambda: story.push("a", 4, key="once"),
        lambda: story.push_in_parts("a", 5),
        lambda: push_along(story, fail),
        lambda: story.move("rollback", "a", 3),
        lambda: story.push("b", 2),
    ]
    for step in steps:
        read(story, "a", not was_ready)
        step()
        read(story, "a", not was_ready)
        read(story, "b", not was_ready)


SCENARIO = Scenario("calls", three_versions, lambda story: None)


class Calls:
    def __init__(self, binary: Path, home: Path, ledger: Ledger, jobs: int) -> None:
        self.base = Base(SCENARIO, binary, home / "calls-base", ledger.seed)
        self.home = home
        self.ledger = ledger
        self.jobs = jobs
        self.counts: Counter[str] = Counter()
        # Of each case of a push that is read along that was tried: whether it was.
        self.along: list[bool] = []

    def look_ahead(self) -> None:
        """Counts the calls of a run in which none fails."""
        fail, wrong = self.play(None, self.home / "calls-ahead")
        self.counts = fail.counts
        wrong += [f"no {kind} was made: the cases of it would be none" for kind in (*KINDS, *ALONG) if not (kind in NOT_MADE or fail.counts[kind])]
        self.ledger.enter("calls counted", "all", wrong, counts=dict(fail.counts))

    def cases(self, every: int, chance: random.Random) -> Iterator[Case]:
        """Every so-many-th call of each kind, beginning by chance."""
        for kind, count in sorted(self.counts.items()):
            for error in ERRORS:
                for sticky in (False, True):
                    start = chance.randrange(every) if count > every else chance.randrange(count)
                    for n in range(start, count, every):
                        yield Case(kind, error, n + 1, sticky)

    def run(self, cases: list[Case]) -> None:
        with ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(self.one, cases))
        self.judge_along(sum(case.kind in ALONG for case in cases))

    def judge_along(self, count: int) -> None:
        """Some faults keep a push from being read while it arrives. If those of all cases did, these show nothing of it.
        Nothing is said if some of them are not tried again."""
        if 0 < count == len(self.along):
            wrong = [] if any(self.along) else [f"in none of {count} cases a push was read while it arrived"]
            self.ledger.enter("calls read along", "calls read along", wrong, read_along=sum(self.along))

    def one(self, case: Case) -> None:
        if self.ledger.is_sound(str(case)):
            return
        home = self.home / f"calls-{threading.get_ident()}"
        fail, wrong = self.play_until_it_fails(case, home)
        if case.kind in ALONG:
            self.along.append(fail.was_read_along)
        self.ledger.enter("call failing", str(case), wrong, failed=fail.failed[:3], times=len(fail.failed))

    def play_until_it_fails(self, case: Case, home: Path) -> tuple[Fail, list[str]]:
        """Two runs do not make exactly as many calls. If this one made too few, the last that it made fails instead: a case
        in which none does shows nothing."""
        fail, wrong = self.play(case, home)
        for _ in range(TRIES):
            if fail.failed or wrong or not fail.counts[case.kind]:
                break
            case = replace(case, n=fail.counts[case.kind])
            fail, wrong = self.play(case, home)
        if not fail.failed:
            wrong = [*wrong, f"no call failed: there were {fail.counts[case.kind]} of {case.kind}"]
        return fail, wrong

    def play(self, case: Case | None, home: Path) -> tuple[Fail, list[str]]:
        server, book = self.base.copy(home)
        fail = Fail(server.data, case)
        gate = Gate(home, sorted(KIND_OF), fail)
        server.wrapper = gate.wrapper()
        try:
            self.live(server, book, fail)
        finally:
            server.kill()
            gate.join()
        server.wrapper = []
        fail.was_read_along = steps_passed(server)["along.begun"] > 0
        where = f" [{'; '.join(fail.failed[:2])}]"
        return fail, [text + where for text in fail.wrong + judge(server, book)]

    def live(self, server: Server, book: Book, fail: Fail) -> None:
        try:
            server.start(ready=False, extra=dict(READS_ALONG) | logged(server))
        except NotStarted as error:
            if not fail.failed or "panicked" in str(error) or "error: " not in str(error):
                book.wrong.append(f"it does not start, and does not say why: {error}")
            return
        story = Story(server, book, tolerant=True)
        try:
            was_ready = is_ready(server) and not fail.failed
            act(story, fail, was_ready)
            if fail.case is None and (count := story.read_along()) != 1:
                book.wrong.append(f"{count} pushes were read while they arrived, not 1")
            fail.is_over = fail.case is not None and not fail.case.sticky
            codes = {code for _, _, code in book.failed}
            if fail.is_over and "outcome_unknown" not in codes:
                story.tolerant = False
                story.push("b", 6)
        except (CutOff, Unsent, Unanswered) as error:
            book.wrong.append(f"it went away: {error}: {server.last_words()}")


def is_ready(server: Server) -> bool:
    connection = Connection(server.address, timeout=30)
    for _ in range(1000):
        reply = connection.ask("GET", "/readyz")
        if reply.status == 200:
            return True
        threading.Event().wait(0.005)
    return False
