"""Which version a dataset served when: positions with bounds, from requests and the server's history.

The order is that in which the server's history has them; the bounds are ours. A change that was acknowledged
took effect between request and answer. One that got no answer, or that the server made by itself, took
effect between the request and the first look that showed it. If order and bounds contradict each other, the
history lies. A read then must have seen a version that was in force at some moment while it was under way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from math import inf

from history import Line, Read
from record import Record, Violation, told, told_op

MOVES = ("activated", "rolled_back")
SERVED = ("active", "retired", "bad")


@dataclass
class Position:
    """From one change of the pointer to the next."""

    order: float
    # None: the dataset is not there, or nothing is current.
    to: int | None
    before: int | None
    # It took effect between these.
    earliest: float
    latest: float
    what: str
    op: Line | None = None


class Pointer:
    def __init__(self, record: Record, dataset: str) -> None:
        self.record = record
        self.dataset = dataset
        self.violations: list[Violation] = []
        self.ops = [op for op in record.ops if op["ds"] == dataset]
        self.by_request = {op["id"]: op for op in self.ops}
        self.positions = [Position(-1, None, None, -inf, -inf, "the beginning")]
        self.positions += sorted(self._moves() + self._drops(), key=lambda p: p.order)
        self._tighten()
        self._check_acknowledged()
        self.earliest = [p.earliest for p in self.positions]
        self.latest = [p.latest for p in self.positions]

    def check_reads(self, reads: list[Read]) -> None:
        """R1, R4, R5, R6 of reads of whatever is current, in the order of their starts."""
        moments = sorted(
            [(read.start, 0, i) for i, read in enumerate(reads)]
            + [(read.end, 1, i) for i, read in enumerate(reads)]
        )
        floor, floor_read = 0, None
        floors, least = [0] * len(reads), [0] * len(reads)
        why: list[Read | None] = [None] * len(reads)
        for _, ends, i in moments:
            if not ends:
                floors[i], why[i] = floor, floor_read
                candidates = self._candidates(reads[i])
                if candidates and candidates[-1] < floor:
                    self._went_back(reads[i], why[i])
                elif not candidates:
                    self._never(reads[i])
                fits = [c for c in candidates if c >= floor]
                least[i] = fits[0] if fits else 0
            elif least[i] > floor:
                floor, floor_read = least[i], reads[i]

    def in_force(self, version: int | None, start: float, end: float) -> bool:
        """Whether that may have been current at some moment between."""
        return any(self.positions[i].to == version for i in self._range(start, end))

    def surely_in_force(self, version: int, start: float, end: float) -> bool:
        """Whether that was current all the time between."""
        return all(self.positions[i].to == version for i in self._range(start, end))

    def last_left(self, version: int, end: float) -> float | None:
        """The earliest moment at which it may have been left for the last time before `end`; None if it
        had not served."""
        for i in range(bisect_right(self.earliest, end) - 1, 0, -1):
            if self.positions[i].to == version:
                later = [p for p in self.positions[i + 1 :] if p.to != version]
                return later[0].earliest if later else inf
        return None

    def drops(self) -> list[Position]:
        return [p for p in self.positions[1:] if p.to is None]

    def _range(self, start: float, end: float) -> range:
        """Positions that may have been in force at some moment between."""
        return range(max(0, bisect_left(self.latest, start) - 1), bisect_right(self.earliest, end))

    def _candidates(self, read: Read) -> list[int]:
        within = self._range(read.start, read.end)
        return [i for i in within if self.positions[i].to == read.version]

    def _moves(self) -> list[Position]:
        found: dict[int, Position] = {}
        lines: dict[tuple[int, str], list[object]] = {}
        looked = -inf
        versions = {(op["op"], op.get("version")): op for op in reversed(self.ops)}
        for look in sorted(self.record.of("events", self.dataset), key=lambda look: look["end"]):
            for event in look["list"]:
                seq, what, before, to, version, request = event
                if lines.setdefault((seq, what), event) != event:
                    self._violate(
                        "R5", f"event {seq} to stay {lines[seq, what]}", str(event),
                        f"GET history of {self.dataset}",
                    )
                if what not in MOVES or seq in found:
                    continue
                op = self.by_request.get(request)
                if op is None:
                    # The server went on by itself with a push that was cut off.
                    number = self.record.numbers.get((self.dataset, to))
                    pushes = [o for o in self.ops if o.get("number") == number is not None]
                    op = next((o for o in pushes if o["op"] in ("push", "commit")), None)
                    op = op or versions.get(("push", to))
                earliest = op["start"] if op else looked
                latest = min(look["end"], self._acknowledged(op))
                found[seq] = Position(seq, to, before, earliest, latest, f"event {seq}: {what}", op)
            looked = look["start"]
        return list(found.values())

    @staticmethod
    def _acknowledged(op: Line | None) -> float:
        """When an answer said that the change was made."""
        if op is None or op["outcome"] != "ok":
            return inf
        is_made = op["op"] in ("activate", "rollback", "release") or (
            op["op"] == "push" and op.get("state") in SERVED
        )
        return op["end"] if is_made else inf

    def _drops(self) -> list[Position]:
        """The dataset was deleted."""
        found = []
        looks = sorted(
            self.record.of("gone", self.dataset) + self.record.of("events", self.dataset),
            key=lambda look: look["start"],
        )
        for op in self.ops:
            if op["op"] != "drop" or op["outcome"] not in ("ok", "unknown"):
                continue
            latest = op["end"]
            if op["outcome"] == "unknown":
                look = next((look for look in looks if look["start"] >= op["end"]), None)
                if look is None or look["t"] != "gone":
                    continue
                latest = look["end"]
            found.append(Position(op["after"] + 0.5, None, None, op["start"], latest, "deletion", op))
        return found

    def _tighten(self) -> None:
        """The order makes bounds narrower, or impossible."""
        positions = self.positions
        for one, next_ in zip(positions, positions[1:]):
            next_.earliest = max(next_.earliest, one.earliest)
        for one, next_ in zip(reversed(positions[:-1]), reversed(positions[1:])):
            one.latest = min(one.latest, next_.latest)
        for position in positions[1:]:
            if position.earliest > position.latest:
                self._violate(
                    "R5", "changes in an order that fits their requests and answers",
                    f"{position.what} (to version {position.to}) comes after one that was requested only "
                    f"{position.earliest - position.latest:.4f} s after it had been seen",
                    told_op(position.op, self.record.zero) if position.op else f"history of {self.dataset}",
                )
                position.latest = position.earliest
        # A contradiction must not upset the search.
        for one, next_ in zip(positions, positions[1:]):
            next_.latest = max(next_.latest, one.latest)

    def _check_acknowledged(self) -> None:
        """R5: what was acknowledged is in the history, as it was acknowledged."""
        made = {(p.op["id"], p.to) for p in self.positions if p.op}
        reached = {p.to for p in self.positions}
        for op in self.ops:
            if op["outcome"] != "ok":
                continue
            to = op.get("to")
            if op["op"] == "release":
                to = (op.get("activated") or {}).get("to")
            if op["op"] == "push" and op.get("state") in SERVED:
                if op["version"] not in reached:
                    self._lost(op, op["version"])
            elif op["op"] in ("activate", "rollback", "release") and to is not None:
                if (op["id"], to) not in made:
                    self._lost(op, to)

    def _lost(self, op: Line, to: int) -> None:
        self._violate(
            "R5", f"the acknowledged change to version {to} to last",
            f"the history of {self.dataset} does not have it", told_op(op, self.record.zero),
        )

    def _never(self, read: Read) -> None:
        places = [p for p in self.positions if p.to == read.version]
        current = sorted({str(self.positions[i].to) for i in self._range(read.start, read.end)})
        expected = f"version {' or '.join(current)} of {self.dataset}, current at that time"
        before = [p for p in places if p.earliest <= read.end]
        if before:
            i = self.positions.index(before[-1])
            after = self.positions[i + 1]
            ago = read.start - after.latest
            seen = (
                f"version {read.version}, which had been left for {after.to} ({after.what}) "
                f"{ago:.4f} s before the read began"
            )
            self._violate("R5", expected, seen, told(read, self.record.zero))
        elif places:
            seen = f"version {read.version}, whose activation was requested only later"
            self._violate("R6", expected, seen, told(read, self.record.zero))
        else:
            seen = f"version {read.version}, which nothing ever made current"
            self._violate("R1", expected, seen, told(read, self.record.zero))

    def _went_back(self, read: Read, before: Read | None) -> None:
        earlier = told(before, self.record.zero) if before else "the beginning"
        self._violate(
            "R4", f"nothing older than an earlier read had seen ({earlier})",
            f"version {read.version}", told(read, self.record.zero),
        )

    def _violate(self, rule: str, expected: str, seen: str, request: str) -> None:
        self.violations.append(Violation(rule, expected, seen, request))
