"""The rules, applied to the history of a run. Reads are never judged while they happen: what `check` says
at the end of a run and what `recheck` says of its history a year later is the same.

R1  every value is, bit for bit, of one complete version that was published
R2  a batch, or a page of a scan, is of one version
R3  the version that an answer names is the one its values are of, and keeps its content
R4  no reader is taken back: what one read saw, no later read undoes
R5  what was acknowledged lasts, also across kills; the history says so, in an order that fits
R6  what was not acknowledged is wholly there or wholly not, and settled within 30 s of a start
R7  no key that is there is missing, and errors come only while the server is killed and started, or of files
    that the checker damaged
R8  a whole scan gives exactly what was pushed
R9  nothing panics, nothing is left over
R10 what retired is gone in time, and not before
V2  a change that expected another current version is refused
I9  hostile names are refused, and nothing is made of them
N8  a request that is refused is refused before its body
"""

from __future__ import annotations

from collections import defaultdict

from history import Line, Read
from pointer import Pointer
from reading import key_text
from record import Record, Violation, told, told_op
from values import TINY, Content, digest_of

# After this long a push that was cut off must have been settled.
SETTLED_WITHIN = 30.0
ENDED = ("ready", "active", "retired", "bad", "rejected", "failed", "deleted", "absent")
NOT_THERE = ("dataset_not_found", "no_current_version")
NOT_KEPT = ("version_deleted", "version_not_found")
# Clocks of the server and the checker are the same, but the server rounds to milliseconds.
ROUNDED = 0.005


def judge(record: Record) -> list[Violation]:
    """Everything that was wrong."""
    found = list(record.contradictions)
    by_dataset: dict[str, list[Read]] = defaultdict(list)
    for read in record.reads:
        by_dataset[read.dataset].append(read)
    for dataset in record.settings["universes"]:
        pointer = Pointer(record, dataset)
        found += pointer.violations
        pointer.violations = []
        judged = Judged(record, dataset, pointer)
        for read in by_dataset[dataset]:
            judged.read(read)
        pointer.check_reads(judged.of_current)
        found += judged.violations + pointer.violations
        judged.violations = []
        judged.pushes()
        found += judged.violations
    for op in record.ops:
        found += operation(record, op)
    found += ending(record)
    return sorted(found, key=lambda v: (v.rule[0], int(v.rule[1:])))


class Judged:
    """The reads and pushes of one dataset."""

    def __init__(self, record: Record, dataset: str, pointer: Pointer) -> None:
        self.record = record
        self.dataset = dataset
        self.pointer = pointer
        self.violations: list[Violation] = []
        # Reads that say what was current.
        self.of_current: list[Read] = []
        self.grace: float = record.settings["grace"]
        self.deletions: dict[int, float] = {}
        for op in record.ops:
            if op["ds"] == dataset and op["op"] == "delete" and op["outcome"] in ("ok", "unknown"):
                at = self.deletions.get(op["version"], op["start"])
                self.deletions[op["version"]] = min(at, op["start"])

    def read(self, read: Read) -> None:
        if read.outcome == "ok":
            self.values(read)
        elif read.outcome == "absent":
            self.absent(read)
        elif read.status in (404, 410) and read.code in NOT_KEPT and read.pinned:
            self.not_kept(read)
            return
        elif read.status == 404 and read.code in NOT_THERE:
            if read.pinned is None:
                self.of_current.append(read._replace(version=None))
            elif not self.pointer.in_force(None, read.start, read.end):
                self.say("R7", f"version {read.pinned} of a dataset that is there", read.code, read)
            return
        else:
            self.error(read)
            return
        if read.pinned is None:
            self.of_current.append(read)
        elif read.version != read.pinned:
            self.say("R3", f"version {read.pinned}, as asked", f"version {read.version}", read)

    def content(self, read: Read) -> Content | None:
        number = self.record.numbers.get((self.dataset, read.version or -1))
        if number is None:
            self.say("R1", "a version that was pushed", f"version {read.version}", read)
            return None
        return self.record.contents.of(self.dataset, number)

    def values(self, read: Read) -> None:
        if len(read.claimed) > 1:
            self.say("R2", "values of one version", f"values of the pushes {read.claimed}", read)
            return
        if (content := self.content(read)) is None:
            return
        if read.claimed and read.claimed != [content.number]:
            named = f"values of the push c{content.number}, which version {read.version} is"
            self.say("R3", named, f"values of c{read.claimed[0]}", read)
            return
        expected, ends = self.expected(read, content)
        if digest_of(expected) != read.digest:
            missing = any(seen is None for _, seen in read.wrong[:1])
            rule = "R7" if missing else "R1"
            if read.kind == "scan":
                rule = "R8"
            seen = f"{read.wrong or 'keys that are too many or missing'} (digest {read.digest})"
            self.say(rule, f"exactly what c{content.number} has there", seen, read)
        elif read.kind == "scan" and read.end_of_scan and not ends:
            self.say("R8", "a scan that goes on: there are more keys", "its end", read)

    def expected(self, read: Read, content: Content) -> tuple[list[bytes | None], bool]:
        """The values that should have come, and whether a scan is at its end."""
        if read.kind != "scan":
            return [content.expected(key_text(token)) for token in read.asked], True
        prefix, after, limit = read.asked
        keys = content.page(prefix, after, limit + 1)
        parts = [part for key in keys[:limit] for part in (key.encode(), content.value(key))]
        return list(parts), len(keys) <= limit

    def absent(self, read: Read) -> None:
        content = self.content(read)
        if content and content.has(key_text(read.asked[0])):
            expected = f"the value of {key_text(read.asked[0])!r}, which c{content.number} has"
            self.say("R7", expected, "key_not_found", read)

    def not_kept(self, read: Read) -> None:
        """R10, the other way round: a version is kept while it serves and for its time of grace."""
        version, pointer = read.pinned or 0, self.pointer
        if pointer.in_force(None, read.start, read.end):
            return
        if self.deletions.get(version, float("inf")) <= read.end:
            return
        if any(drop.earliest <= read.end for drop in pointer.drops()):
            return
        if pointer.surely_in_force(version, read.start, read.end):
            self.say("R10", f"version {version}, which is current", read.code or "", read)
            return
        left = pointer.last_left(version, read.end)
        if left is not None and read.end < left + self.grace - ROUNDED:
            expected = f"version {version}, which was left less than {self.grace} s ago"
            self.say("R10", expected, read.code or "", read)

    def error(self, read: Read) -> None:
        if self.record.is_down(read.start, read.end):
            return
        version = read.version or read.pinned
        if read.status >= 500 and self.record.is_damaged(self.dataset, version, read.end):
            return
        seen = f"{read.outcome}: {read.status} {read.code or ''}"
        self.say("R7", "an answer: the server was up, and its files sound", seen, read)

    def pushes(self) -> None:
        """R6: the fate of pushes."""
        for fate in self.record.of("fate", self.dataset):
            push = f"the push c{fate['number']} of {self.dataset}"
            request = f"GET version {fate['version']}: {fate}"
            if fate["state"] not in ENDED and not self.record.is_down(fate["start"], fate["end"]):
                self.violate("R6", f"{push} to be settled within {SETTLED_WITHIN:.0f} s", fate["state"], request)
            if fate["number"] >= TINY and fate["state"] in ("ready", "active"):
                self.violate("R1", f"{push} to be refused by its gate", fate["state"], request)
            if fate["records"] is not None and fate["number"] < TINY:
                expected = len(self.record.contents.of(self.dataset, fate["number"]).keys())
                if fate["records"] != expected:
                    self.violate("R8", f"{push} to have {expected} records", str(fate["records"]), request)
        self.made_once()

    def made_once(self) -> None:
        versions: dict[int, set[int]] = defaultdict(set)
        for (dataset, version), number in self.record.numbers.items():
            states = self.record.states[dataset, version]
            if dataset == self.dataset and states & {"ready", "active", "retired"}:
                if not states & {"bad"}:
                    versions[number].add(version)
        for number, several in versions.items():
            if len(several) > 1 and not self.pointer.drops():
                expected = f"one version of the push c{number}, which was repeated with its key"
                self.violate("R6", expected, f"versions {sorted(several)}", f"pushes of {self.dataset}")

    def say(self, rule: str, expected: str, seen: str, read: Read) -> None:
        self.violate(rule, expected, seen, told(read, self.record.zero))

    def violate(self, rule: str, expected: str, seen: str, request: str) -> None:
        self.violations.append(Violation(rule, expected, seen, request))


def operation(record: Record, op: Line) -> list[Violation]:
    """What is wrong with the answer to a change."""
    found = []
    request = told_op(op, record.zero)
    down = record.is_down(op.get("alive", op["start"]), op["end"])
    hurt = op["ds"] in record.settings["hurt"]
    outcome, what = op["outcome"], op["op"]
    tiny = (op.get("number") or 0) >= TINY
    if outcome in ("unknown", "unsent", "error") and not down and not hurt:
        found.append(Violation("R7", "an answer", f"{outcome} {op.get('code') or op.get('why')}", request))
    if outcome == "refused" and what in ("push", "begin", "part", "commit") and not tiny and not hurt:
        excused = op["code"] in ("in_progress", "version_deleted", "version_in_use", "wrong_state")
        if not excused and "known_bad" not in (op.get("detail") or "") and not down:
            found.append(Violation("R7", "a sound push to be taken", f"{op['code']}", request))
    if outcome != "ok":
        return found
    if what == "push" and tiny and op.get("state") != "rejected":
        found.append(Violation("R1", "the gate to refuse it", str(op.get("state")), request))
    if what == "push" and not tiny and op.get("records") not in (None, op["expected"]):
        found.append(Violation("R8", f"{op['expected']} records", str(op.get("records")), request))
    if op.get("expect") is not None and op.get("from") != op["expect"]:
        found.append(Violation("V2", "a 409: another version was current", f"from {op.get('from')}", request))
    if what == "activate" and op.get("to") != op["asked"]:
        found.append(Violation("V2", f"version {op['asked']}", f"to {op.get('to')}", request))
    return found


def ending(record: Record) -> list[Violation]:
    """What was found when all was over, and what was tried on the side."""
    found = []
    for whole in record.by_kind["whole"]:
        number = record.numbers.get((whole["ds"], whole["version"]))
        expected = len(record.contents.of(whole["ds"], number).keys()) if number else None
        if whole["records"] != expected:
            found.append(Violation("R8", f"{expected} keys", str(whole["records"]), f"scan: {whole}"))
    for left in record.by_kind["left"]:
        for rule, expected, seen in left["wrong"]:
            found.append(Violation(rule, expected, seen, left["where"]))
    for probe in record.by_kind["probe"]:
        if not probe["held"]:
            found.append(Violation(probe["rule"], probe["expected"], probe["seen"], probe["request"]))
    for server in record.by_kind["server"]:
        if server["what"] == "died":
            found.append(Violation("R9", "a server that goes on", server["how"], "nobody had killed it"))
        elif server["what"] == "panic":
            found.append(Violation("R9", "no panic", server["how"], "server.log"))
    return found
