"""Power cuts: the disk is left with what was synced, and with any of the rest.

A scenario runs behind a gate that follows every change of the data directory, says that each fsync is done,
and at one of them ends everything. From what was synced by then, and what was not, the states are made in which
the disk may be found; a server is started on each and judged.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server import Server

from crash.book import Book
from crash.disk import Cut, Directory, Disk, File
from crash.gate import DONE, LET, Call, Fate, Gate
from crash.judge import Witness, judge
from crash.ledger import Ledger
from crash.story import ARGUMENTS, SCENARIOS, Base, Scenario, Story, play

# Whatever changes names, cuts files or syncs; what is written is seen when it is synced.
CALLS = (
    "openat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat "
    "ftruncate fsync fdatasync"
).split()


class Follow:
    """What a gate decides: it follows the changes, and cuts the power at one of them."""

    def __init__(self, disk: Disk, cut_at: int | None, kill_after: int | None = None) -> None:
        self.disk = disk
        self.cut_at = cut_at
        # The process is killed before its next call after this change; the power stays.
        self.kill_after = kill_after
        self.seen = 0
        self._last = 0
        self.gate: Gate | None = None

    def __call__(self, call: Call) -> Fate:
        is_due = self.kill_after is not None and self.seen >= self.kill_after
        if is_due and call.task == self._last and self.gate is not None:
            # That thread has come back from the last change, so it was made.
            self.gate.close()
            return LET
        is_sync = call.name in ("fsync", "fdatasync")
        # What is about to be synced when the power goes is not.
        is_lost = is_sync and self.seen + 1 == self.cut_at and self.disk.knows(call.path)
        if not is_lost and not self._changes(call):
            return LET
        self._last = call.task
        self.seen += 1
        if self.seen == self.cut_at and self.gate is not None:
            self.gate.close()
        return DONE if is_sync else LET

    def _changes(self, call: Call) -> bool:
        disk, path = self.disk, call.path
        if self.cut_at is not None and self.seen >= self.cut_at:
            return False
        match call.name:
            case "openat":
                return self._opened(call)
            case "mkdir" | "mkdirat":
                return disk.made(path, Directory())
            case "rmdir" | "unlink" | "unlinkat":
                return disk.removed(path)
            case "rename" | "renameat" | "renameat2":
                return disk.renamed(path, call.other)
            case "link" | "linkat":
                return disk.linked(path, call.other)
            case "ftruncate":
                return disk.truncated(path, call.arguments[1], call.file)
            case "fsync" | "fdatasync":
                return disk.synced(path, call.file)
            case other:
                if disk.place(path) is not None:
                    raise RuntimeError(f"{other} of {path}: this check does not know what that means")
                return False

    def _opened(self, call: Call) -> bool:
        flags, path = call.flags(), call.path
        node = self.disk.node(path)
        if flags & os.O_CREAT and node is None:
            return self.disk.made(path, File())
        if flags & os.O_TRUNC and isinstance(node, File):
            return self.disk.truncated(path, 0, "")
        return False


class Power:
    def __init__(self, binary: Path, home: Path, ledger: Ledger, jobs: int) -> None:
        self.binary = binary
        self.home = home
        self.ledger = ledger
        self.jobs = jobs
        self.bases: list[Base] = []
        # How many changes each scenario makes.
        self.changes: list[int] = []

    def look_ahead(self, scenarios: tuple[Scenario, ...] = SCENARIOS) -> None:
        for place, scenario in enumerate(scenarios):
            base = Base(scenario, self.binary, self.home / f"power-{place}", self.ledger.seed)
            self.bases.append(base)
            _, follow, _ = self.play(base, self.home / "power-ahead", None)
            self.changes.append(follow.seen)

    def play(
        self, base: Base, home: Path, cut_at: int | None, stop: bool = True
    ) -> tuple[Server, Follow, Book]:
        """A run of a scenario that ends with a cut, or when it is over."""
        server, book = base.copy(home)
        disk = Disk(server.data, home / "kept")
        follow = Follow(disk, cut_at)
        gate = Gate(home, list(CALLS), follow)
        follow.gate = gate
        server.wrapper = gate.wrapper()
        ended = play(server, book, base.scenario, {}, stop=stop)
        server.kill()
        gate.join()
        server.wrapper = []
        if cut_at is None and not ended:
            raise RuntimeError(f"{base.scenario.name} does not come to its end: {server.last_words()}")
        return server, follow, book

    def killed_then_cut(self, place: int, kill_after: int) -> int:
        """A process is killed after a change; the next one goes on, is asked again for the same, and the power
        goes when it has answered: what the first had not synced must not be missing. One state."""
        base = self.bases[place]
        case = f"{base.scenario.name}: killed after {kill_after} of {self.changes[place]}, then a cut"
        if self.ledger.is_sound(case):
            return 0
        home = self.home / f"power-{threading.get_ident()}"
        server, book = base.copy(home)
        disk = Disk(server.data, home / "kept")
        first = Follow(disk, None, kill_after)
        self._behind(server, first, lambda: play(server, book, base.scenario, {}))
        disk.reconcile()
        again = Follow(disk, None)
        self._behind(server, again, lambda: self._again(server, book, base.scenario))
        disk.reconcile()
        cut = Cut(disk)
        state = cut.states(random.Random(1), 0)[0]
        self.ledger.enter("kill, then a power cut", case, self.judge(cut, state, book, home / "after"))
        return 1

    def _again(self, server: Server, book: Book, scenario: Scenario) -> None:
        """A client that was cut off asks what became of it, and goes by that."""
        server.start()
        witness = Witness(server, book)
        witness.look()
        if witness.wrong:
            book.wrong += witness.wrong
        if not book.datasets:
            # It had not come to ask for anything.
            scenario.act(Story(server, book))

    def _behind(self, server: Server, follow: Follow, run: Callable[[], object]) -> None:
        gate = Gate(server.home, list(CALLS), follow)
        follow.gate = gate
        server.wrapper = gate.wrapper()
        try:
            run()
        finally:
            server.kill()
            gate.join()
            server.wrapper = []

    def run(self, cuts: int | None, by_chance: int) -> int:
        """Cuts the power at so many places of each scenario, or at each; the number of states."""
        tasks = []
        for place, changes in enumerate(self.changes):
            at = range(1, changes + 1)
            if cuts is not None and changes > cuts:
                at = sorted({1 + n * (changes - 1) // (cuts - 1) for n in range(cuts)})
            tasks += [(place, n, by_chance) for n in at]
        killed = []
        for place, changes in enumerate(self.changes):
            every = 1 if cuts is None else max(1, changes // (2 * cuts))
            killed += [(place, n) for n in range(every, changes, every)]
        with ThreadPoolExecutor(self.jobs) as pool:
            states = sum(pool.map(lambda task: self.killed_then_cut(*task), killed))
            return states + sum(pool.map(lambda task: self.one(*task), tasks))

    def one(self, place: int, cut_at: int, by_chance: int) -> int:
        base = self.bases[place]
        case = f"{base.scenario.name}: cut at {cut_at} of {self.changes[place]}"
        if self.ledger.is_sound(f"{case}: all"):
            return 0
        home = self.home / f"power-{threading.get_ident()}"
        server, follow, book = self.play(base, home, cut_at)
        if " panicked at " in server.log.read_text(errors="replace"):
            book.wrong.append("it panicked before the cut")
        chance = random.Random(f"{self.ledger.seed} {case}")
        cut = Cut(follow.disk)
        states = cut.states(chance, by_chance)
        sound = True
        for state in states:
            wrong = self.judge(cut, state, book, home / "after")
            sound = sound and not wrong
            more = {"state": state.how, "rest": state.rest, "kept": sorted(state.kept), "choice": state.seed}
            self.ledger.enter("state after a power cut", f"{case}: {state.how}, {state.rest}", wrong, **more)
        if sound:
            self.ledger.enter("power cut", f"{case}: all", [])
        return len(states)

    def judge(self, cut: Cut, state, book: Book, home: Path) -> list[str]:
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        cut.build(state, home)
        environment = dict(SCENARIOS[0].environment)
        return judge(Server(self.binary, home, ARGUMENTS, environment), copy.deepcopy(book))


def lost_by_a_cut(binary: Path, home: Path, environment: dict[str, str]) -> list[str]:
    """What of a push is lost or wrong if the power goes right after it was acknowledged, and only what was
    synced survives. Nothing, unless the server has a bug such as a skipped fsync."""
    scenario = next(s for s in SCENARIOS if s.name == "replace")
    scenario = Scenario(scenario.name, scenario.prepare, scenario.act, environment=tuple(environment.items()))
    power = Power(binary, home, Ledger(None, "planted"), 1)
    power.look_ahead((scenario,))
    _, follow, book = power.play(power.bases[0], home / "cut", None, stop=False)
    cut = Cut(follow.disk)
    wrong = []
    for state in cut.states(random.Random(1), 0):
        wrong += power.judge(cut, state, book, home / "after")
    return wrong
