"""A run, as its history tells it: read once, for the rules."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from history import Line, Read, lines
from values import Contents, number_of_label


@dataclass
class Violation:
    rule: str
    expected: str
    seen: str
    request: str

    def __str__(self) -> str:
        return f"{self.rule}: expected {self.expected}\n    seen: {self.seen}\n    in: {self.request}"


def told(read: Read, zero: float = 0.0) -> str:
    """A read, for people."""
    asked = str(read.asked if read.kind != "batch" or len(read.asked) < 6 else [*read.asked[:5], "…"])
    pinned = f" version={read.pinned}" if read.pinned else ""
    return (
        f"{read.kind} {read.dataset}{pinned} {asked} on connection {read.connection}, "
        f"{read.start - zero:.4f} to {read.end - zero:.4f} s, answered {read.status} {read.code or ''} "
        f"version {read.version}, values of {read.claimed}"
    )


def told_op(op: Line, zero: float = 0.0) -> str:
    kept = {k: v for k, v in op.items() if k not in ("t", "start", "end") and v is not None}
    return f"{kept}, {op['start'] - zero:.4f} to {op['end'] - zero:.4f} s"


@dataclass
class Record:
    """Everything that was written down."""

    settings: Line = field(default_factory=dict)
    reads: list[Read] = field(default_factory=list)
    ops: list[Line] = field(default_factory=list)
    by_kind: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def load(cls, directory: Path) -> Record:
        record = cls()
        for line in lines(directory):
            if isinstance(line, Read):
                record.reads.append(line)
            elif line["t"] == "run":
                record.settings = line
            elif line["t"] == "op":
                record.ops.append(line)
            else:
                record.by_kind[line["t"]].append(line)
        if not record.settings:
            raise ValueError(f"{directory} has no line that says what was run")
        record.ops.sort(key=lambda op: op["start"])
        record.reads.sort(key=lambda read: read.start)
        record.prepare()
        return record

    def prepare(self) -> None:
        settings = self.settings
        self.contents = Contents(settings["seed"], settings["universes"])
        self.zero: float = settings["at"]
        untils = [line["at"] for line in self.by_kind["until"]]
        settings["until"] = min(untils, default=settings["reading_from"])
        server = sorted(self.by_kind["server"], key=lambda line: line["at"])
        self.kills = [line["at"] for line in server if line["what"] == "kill"]
        self.readies = [line["at"] for line in server if line["what"] == "ready"]
        # From each kill to the next time that it was ready.
        self.down = []
        for kill in self.kills:
            after = bisect_left(self.readies, kill)
            end = self.readies[after] if after < len(self.readies) else float("inf")
            self.down.append((kill, end))
        self._down_ends = [end for _, end in self.down]
        # Some more than once.
        damages = sorted(self.by_kind["damage"], key=lambda damage: -damage["at"])
        self.damaged = {(d["ds"], d["version"]): d["at"] for d in damages}
        self.contradictions: list[Violation] = []
        self._number_versions()

    def is_down(self, start: float, end: float) -> bool:
        """Whether the server was being killed or started at some time between."""
        at = bisect_left(self._down_ends, start)
        return at < len(self.down) and self.down[at][0] <= end

    def is_damaged(self, dataset: str, version: int | None, end: float) -> bool:
        """Whether the checker had damaged the files of that version by then."""
        if version is None:
            damaged = [at for (of, _), at in self.damaged.items() if of == dataset]
            return any(at <= end for at in damaged)
        return self.damaged.get((dataset, version), float("inf")) <= end

    def _number_versions(self) -> None:
        """Which content each version has, by its label and by the answers to pushes."""
        self.numbers: dict[tuple[str, int], int] = {}
        self.states: dict[tuple[str, int], set[str]] = defaultdict(set)
        for listed in self.by_kind["versions"]:
            for version, label, state, _ in listed["list"]:
                self.states[listed["ds"], version].add(state)
                if (number := number_of_label(label)) is not None:
                    self._is(listed["ds"], version, number, f"GET versions of {listed['ds']}")
        for op in self.ops:
            if op.get("version") and op.get("number") and op["op"] in ("push", "begin"):
                self._is(op["ds"], op["version"], op["number"], told_op(op, self.zero))

    def _is(self, dataset: str, version: int, number: int, request: str) -> None:
        before = self.numbers.setdefault((dataset, version), number)
        if before != number:
            expected = f"version {version} of {dataset} to stay the push c{before}"
            self.contradictions.append(Violation("R3", expected, f"it is c{number}", request))

    def of(self, kind: str, dataset: str) -> list[Line]:
        return [line for line in self.by_kind[kind] if line["ds"] == dataset]

    def counts(self) -> dict[str, Any]:
        """What was done, for the summary."""
        done: dict[str, int] = defaultdict(int)
        for op in self.ops:
            done[f"{op['op']} {op['outcome']}"] += 1
        return {"reads": len(self.reads), "kills": len(self.kills), **dict(sorted(done.items()))}
