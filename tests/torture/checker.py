"""One run: a server, readers, operators, kills; then what the history says of it."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import endings
import faults
from history import Writer
from operators import Operator, Surroundings
from reader import Settings, Traffic, read_until_told
from record import Record, Violation
from rules import judge
from server import NotStarted, Server
from validity import refusals, swaps
from values import Contents

# What operators do, and how often each.
SMALL = {"push": 14, "push_parts": 6, "hold": 3, "delete_version": 3, "delete_while_read": 6, "push_tiny": 3}
MOVES = {"activate": 8, "roll_back": 6, "activate_expecting": 4}
RACE = {"push": 3, "push_parts": 2, "activate": 4, "activate_expecting": 6, "roll_back": 3, "delete_version": 1}
BIG = {"push": 6, "activate": 2, "roll_back": 1}
BRIEF = {"push": 4, "activate": 1, "delete_dataset": 2}
HURT = {"push": 4, "activate": 2, "roll_back": 1}
REPERTOIRES = {"small": [SMALL, MOVES], "race": [RACE, RACE], "big": [BIG], "brief": [BRIEF], "hurt": [HURT]}


@dataclass
class Plan:
    """What a run is to be."""

    binary: Path
    home: Path
    seed: str
    kills: int
    # Without kills: how long it goes on.
    seconds: float = 10.0
    # Bugs and faults of storage/src/planted.rs, in a build that has them.
    planted: str = ""
    # After every second kill what was not synced is lost too. Takes a build with faults.
    power_cuts: bool = False
    # After some kills bytes of a version's files are changed.
    damage: bool = False
    damage_every: int = 5
    # How many bits of each of its tables.
    damage_places: int = 12
    universes: dict[str, int] = field(
        default_factory=lambda: {"small": 300, "race": 60, "big": 12_500, "brief": 40, "hurt": 1500}
    )
    shares: dict[str, int] = field(
        default_factory=lambda: {"small": 40, "race": 22, "big": 20, "brief": 10, "hurt": 8}
    )
    reads_per_second: int = 1600
    readers: int = 2
    connections: int = 6
    grace: int = 2
    # The longest that the server runs between two kills, mostly.
    longest: float = 1.3
    # Dataset: what its operators do, one for each of these.
    repertoires: dict[str, list[dict[str, int]]] = field(default_factory=lambda: dict(REPERTOIRES))
    # The longest pause between two steps of its operators.
    pauses: dict[str, float] = field(default_factory=lambda: {"big": 5.0, "brief": 0.6, "hurt": 0.8})
    # The most acknowledged changes that a kill waits for, where the machine is slow.
    changes: int = 5
    # How long leftovers have to go; the server sweeps every 30 s by itself.
    patience: float = 45.0
    # And a push that was cut off to be settled.
    settled_within: int = 30
    # Steps come at this interval instead, if it is not 0.
    interval: float = 0.0


@dataclass
class Verdict:
    violations: list[Violation]
    refusals: list[str]
    counts: dict[str, Any]
    record: Record

    def is_clean(self) -> bool:
        return not self.violations and not self.refusals


class Run:
    def __init__(self, plan: Plan, say: Callable[[str], None] = print, fresh: bool = True) -> None:
        self.plan = plan
        self.say = say
        self.history = plan.home / "history"
        shutil.rmtree(plan.home if fresh else self.history, ignore_errors=True)
        self.history.mkdir(parents=True)
        self.writer = Writer(self.history / "operators.jsonl")
        self.random = random.Random(plan.seed)
        self.names = list(plan.universes)
        self.power = faults.PowerCut(plan.home) if plan.power_cuts else None
        planted = [plan.planted, self.power.variable() if self.power else ""]
        bug = {"TIDETABLE_BUG": ",".join(filter(None, planted))} if any(planted) else {}
        # Builds that only get what others leave would never end on a machine that is busy reading.
        self.server = Server(plan.binary, plan.home, ["--pushes-give-way=false", "--builds-at-once=2", "--threads=2"], bug)
        self.contents = Contents(plan.seed, plan.universes)
        self.around = Surroundings(self.writer, self.contents, self.reads)
        self.around.burst = self.favour
        self.favoured: list[str] = []
        self.lock = threading.Lock()
        self.operators: list[Operator] = []
        self.processes: list[Any] = []
        fork = multiprocessing.get_context("fork")
        stop, burst = fork.Value("i", 0), fork.Value("i", 0)
        done = (fork.Array("Q", len(plan.universes), lock=False) for _ in range(plan.readers))
        self.traffic = [Traffic(stop, burst, each) for each in done]

    def run(self) -> Verdict:
        began = time.monotonic()
        try:
            self.begin()
            self.writer.add("run", **self.settings(began))
            self.kill_and_kill()
            self.end()
        except NotStarted as error:
            self.died(f"it does not start: {error}")
        finally:
            self.stop_readers()
            self.around.stop.set()
            self.server.kill()
            self.writer.close()
        return verdict(self.history)

    def settings(self, began: float) -> dict[str, Any]:
        plan = self.plan
        return {
            "seed": plan.seed, "at": began, "reading_from": time.monotonic(), "universes": plan.universes,
            "grace": plan.grace, "planted": plan.planted, "power_cuts": plan.power_cuts,
            "hurt": ["hurt"] if plan.damage or "damaged-tables" in plan.planted else [],
            "file_system": hex(self.server.file_system), "binary": str(plan.binary),
        }

    def begin(self) -> None:
        """A first version of everything, then readers, then operators."""
        self.server.start()
        self.note("ready")
        self.around.starts += 1
        self.around.up.set()
        self.operators = list(self.who())
        for operator in self.operators:
            operator.configure()
            operator.push()
            operator.push()
        self.begin_reading()
        for operator in self.operators:
            operator.start()

    def begin_reading(self) -> None:
        fork = multiprocessing.get_context("fork")
        plan = self.plan
        each = plan.reads_per_second // plan.readers
        settings = Settings(plan.seed, plan.universes, plan.shares, plan.connections, each)
        for number, traffic in enumerate(self.traffic):
            path = self.history / f"reader-{number}.jsonl"
            arguments = (number, self.server.address, settings, path, traffic)
            process = fork.Process(target=read_until_told, args=arguments, daemon=True)
            process.start()
            self.processes.append(process)

    def who(self) -> Any:
        plan = self.plan
        for dataset in plan.universes:
            for number, repertoire in enumerate(plan.repertoires[dataset], 1):
                operator = Operator(
                    self.around, self.server.address, dataset, f"{dataset}-{number}", plan.seed,
                    repertoire, plan.pauses.get(dataset, 0.0), plan.interval,
                )
                operator.settled_within = plan.settled_within
                operator.settings = {
                    "retain": 3, "retire_grace_seconds": plan.grace, "watch": "off",
                    "gates": {"min_records": 10},
                }
                yield operator

    def kill_and_kill(self) -> None:
        plan = self.plan
        if plan.kills == 0:
            self.live(plan.seconds)
        for number in range(plan.kills):
            # Now and then long enough for builds that are begun anew at each start.
            longest = plan.longest if self.random.random() < 0.85 else 3 * plan.longest
            self.live(self.random.uniform(0.1, longest), self.random.randint(0, plan.changes))
            self.kill(number)
            if (number + 1) % 20 == 0:
                self.say(f"  {number + 1} kills, {self.reads()} reads")
        self.live(0.5)

    def live(self, seconds: float, changes: int = 0) -> None:
        """Lets it be, until the moment has come and enough was read and changed since it was ready."""
        end, reads = time.monotonic() + seconds, self.reads() + 150
        changes += self.around.changes
        most = end + 5.0
        while time.monotonic() < end or (
            (self.reads() < reads or self.around.changes < changes) and time.monotonic() < most
        ):
            if (code := self.server.ended()) is not None:
                raise NotStarted(f"it ended by itself with {code}: {self.server.last_words()}")
            if failure := next((o.failure for o in self.operators if o.failure), None):
                raise RuntimeError(failure)
            time.sleep(0.005)

    def kill(self, number: int) -> None:
        self.around.up.clear()
        self.note("kill")
        self.server.kill()
        if self.power and number % 2 == 0:
            self.note("cut", bytes=self.power.strike(self.server.data, self.random))
        if self.plan.damage and (number + 1) % self.plan.damage_every == 0:
            self.damage()
        if self.random.random() < 0.15:
            # Once more, while it starts.
            self.note("second kill")
            self.server.start_and_kill(self.random.uniform(0.0, 0.03))
            if self.power:
                self.note("cut", bytes=self.power.strike(self.server.data, self.random))
        began = time.monotonic()
        self.server.start()
        self.note("ready", took=time.monotonic() - began)
        self.around.starts += 1
        self.around.up.set()

    def damage(self) -> None:
        operator = next((o for o in self.operators if o.dataset == "hurt"), None)
        version = operator.last_current if operator else None
        if version is None:
            return
        stored = self.server.data / "datasets" / "hurt" / str(version)
        if faults.damage(stored, self.random, self.plan.damage_places):
            self.writer.add("damage", ds="hurt", version=version, at=time.monotonic())

    def end(self) -> None:
        """Everybody comes to an end; then what is there is looked at."""
        self.stop_operators()
        self.stop_readers()
        endings.look(self)

    def stop_operators(self) -> None:
        self.around.stop.set()
        for operator in self.operators:
            operator.join(timeout=60)
            if operator.is_alive() or operator.failure:
                raise RuntimeError(operator.failure or f"{operator.name} does not come to an end")

    def stop_readers(self) -> None:
        for traffic in self.traffic:
            traffic.stop.value = 1
        for process in self.processes:
            process.join(timeout=60)
        if self.processes:
            self.writer.add("until", at=time.monotonic())
        self.processes = []

    def died(self, how: str) -> None:
        self.note("died", how=how)
        self.say(f"  {how}")

    def note(self, what: str, **more: Any) -> None:
        self.writer.add("server", what=what, at=time.monotonic(), **more)

    def reads(self, dataset: str | None = None) -> int:
        names = [dataset] if dataset else self.names
        return sum(traffic.done[self.names.index(name)] for traffic in self.traffic for name in names)

    def favour(self, dataset: str, on: bool) -> None:
        """Readers turn to that dataset, until as many have said that it is over."""
        with self.lock:
            if on:
                self.favoured.append(dataset)
            else:
                self.favoured.remove(dataset)
            bits = (1 << self.names.index(name) for name in set(self.favoured))
            self.traffic[0].burst.value = sum(bits)


def verdict(history: Path) -> Verdict:
    """What the history of a run says, whoever reads it and when."""
    record = Record.load(history)
    counts = record.counts() | {"swaps": swaps(record)}
    starts = [line["took"] for line in record.by_kind["server"] if "took" in line]
    counts["slowest start"] = round(max(starts, default=0.0), 2)
    counts["second kills"] = sum(line["what"] == "second kill" for line in record.by_kind["server"])
    counts["power cuts"] = sum(line["what"] == "cut" for line in record.by_kind["server"])
    counts["bytes cut"] = sum(line.get("bytes", 0) for line in record.by_kind["server"])
    violations = judge(record)
    return Verdict(violations, refusals(record), counts, record)
