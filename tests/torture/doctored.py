"""Rules that cannot fail are none: each is shown a sound history with one thing wrong, and must say so.

The planted bugs test the whole checker, server and all; this tests the rules that no planted bug breaks, too.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from math import inf
from typing import Any

from history import Read
from pointer import Pointer
from record import Record
from rules import judge
from validity import refusals
from values import digest_of, own_keys

# As many reads are enough, and soon judged.
READS = 30_000


def undetected(clean: Record) -> list[str]:
    """The damages that were not noticed."""
    whole = pickle.dumps(part_of(clean))
    missed = []
    for rule, damage in DAMAGES.items():
        record = sound(whole)
        damage(record)
        record.prepare()
        found = {violation.rule for violation in judge(record)}
        if rule.split()[0] not in found:
            missed.append(f"{rule}: {damage.__doc__}; found were {sorted(found)}")
    if not refusals(sound(whole)):
        missed.append("a run with a few reads counted")
    return missed


def part_of(whole: Record) -> tuple[Any, ...]:
    reads = [read for read in whole.reads if read.connection != "end"]
    return whole.settings, reads[-READS:], whole.ops, dict(whole.by_kind)


def sound(part: bytes) -> Record:
    settings, reads, ops, by_kind = pickle.loads(part)
    record = Record(settings, reads, ops)
    record.by_kind.update(by_kind)
    record.prepare()
    return record


def change(record: Record, which: Callable[[Read], Any], **fields: Any) -> Read:
    """Changes the last of some reads, which is surely after changes of the pointer."""
    at = max(i for i, read in enumerate(record.reads) if which(read))
    before = record.reads[at]
    record.reads[at] = before._replace(**fields)
    return before


def is_found(read: Read) -> bool:
    return read.kind == "get" and read.outcome == "ok" and read.pinned is None


def another_byte(record: Record) -> None:
    """a value with another byte"""
    change(record, is_found, digest="0" * 16)


def two_contents(record: Record) -> None:
    """a batch of two versions"""
    change(record, lambda read: read.kind == "batch" and read.outcome == "ok", claimed=[1, 2])


def another_version(record: Record) -> None:
    """an answer that names another version than its values are of"""
    at = max(i for i, read in enumerate(record.reads) if is_found(read) and read.version)
    read = record.reads[at]
    others = [v for (of, v) in record.numbers if of == read.dataset and v != read.version]
    record.reads[at] = read._replace(version=others[0])


def old_version(record: Record) -> None:
    """a version long left, with its own values"""
    pointer = Pointer(record, "small")
    served = sorted({p.to for p in pointer.positions if p.to})
    at, version = max(
        (i, version) for i, read in enumerate(record.reads) for version in served
        if is_found(read) and read.dataset == "small"
        and not pointer.in_force(version, read.start, read.end)
    )
    number = record.numbers["small", version]
    own = own_keys("small", number)[0]
    digest = digest_of([record.contents.of("small", number).value(own)])
    record.reads[at] = record.reads[at]._replace(version=version, claimed=[number], asked=[own], digest=digest)


def went_back(record: Record) -> None:
    """two reads during one change, the later one of what was before it"""
    places = Pointer(record, "small").positions
    changes = [
        (places[i], places[i + 1]) for i in range(1, len(places) - 1)
        if places[i].to and places[i + 1].to and places[i].to != places[i + 1].to and places[i + 1].latest != inf
        # Nor may what was before have come back by then.
        and not any(p.to == places[i].to and p.earliest < places[i + 1].latest for p in places[i + 2 :])
    ]
    # The longest: between its request and its answer either may be served, but in this order alone.
    before, after = max(changes, key=lambda pair: pair[1].latest - max(pair[1].earliest, pair[0].latest))
    start = max(after.earliest, before.latest)
    step = (after.latest - start) / 5
    like = next(read for read in record.reads if is_found(read) and read.dataset == "small")
    for number, version in (1, after.to), (3, before.to):
        content = record.numbers["small", version]
        own = own_keys("small", content)[0]
        record.reads.append(like._replace(
            start=start + number * step, end=start + (number + 1) * step, version=version, claimed=[content],
            asked=[own], digest=digest_of([record.contents.of("small", content).value(own)]),
        ))
    record.reads.sort(key=lambda read: read.start)


def lost_event(record: Record) -> None:
    """an acknowledged activation that the history does not have"""
    lost = next(op for op in record.ops if op["op"] in ("activate", "rollback") and op["outcome"] == "ok")
    for look in record.by_kind["events"]:
        look["list"] = [event for event in look["list"] if event[5] != lost["id"]]


def changed_event(record: Record) -> None:
    """an event that became another"""
    look = record.by_kind["events"][-1]
    earlier = next(e for e in record.by_kind["events"] if e["ds"] == look["ds"] and e["list"])
    look["list"].append([*earlier["list"][0][:2], 91, 92, 92, "nobody"])


def unsettled(record: Record) -> None:
    """a push that is still being built half a minute after the start"""
    fate = next(f for f in record.by_kind["fate"] if not record.is_down(f["start"], f["end"]))
    fate["state"] = "building"


def made_twice(record: Record) -> None:
    """two versions of one push"""
    good = (
        number for (of, version), number in sorted(record.numbers.items())
        if of == "small" and "bad" not in record.states[of, version]
        and record.states[of, version] & {"active", "retired"}
    )
    label = f"c{next(good)}"
    look = next(look for look in record.by_kind["versions"] if look["ds"] == "small")
    look["list"].append([999, label, "retired", 1])


def false_absence(record: Record) -> None:
    """a key that is there, not found"""
    change(record, is_found, outcome="absent", status=404, code="key_not_found", claimed=[])


def error_while_up(record: Record) -> None:
    """an error while the server was up"""
    up = lambda read: not record.is_down(read.start, read.end)  # noqa: E731
    change(record, up, outcome="error", status=500, code="io_failed")


def short_scan(record: Record) -> None:
    """a whole scan with a key too few"""
    record.by_kind["whole"][-1]["records"] -= 1


def current_gone(record: Record) -> None:
    """the current version, not kept"""
    pointer = Pointer(record, "small")
    deleted = {op.get("version") for op in record.ops if op["op"] == "delete"}
    at = max(
        i for i, read in enumerate(record.reads)
        if is_found(read) and read.dataset == "small" and read.version not in deleted
        and pointer.surely_in_force(read.version or 0, read.start, read.end)
    )
    read = record.reads[at]
    record.reads[at] = read._replace(
        pinned=read.version, outcome="error", status=410, code="version_deleted", version=None, claimed=[]
    )


def grace_broken(record: Record) -> None:
    """a version that was left just now, not kept"""
    pointer = Pointer(record, "small")
    deleted = {op.get("version") for op in record.ops if op["op"] == "delete"}
    grace = record.settings["grace"] / 2
    at, version = max(
        (i, version) for i, read in enumerate(record.reads) if is_found(read) and read.dataset == "small"
        for version in {place.to for place in pointer.positions if place.to} - deleted
        if (left := pointer.last_left(version, read.end)) is not None and read.end < left + grace
        and not pointer.surely_in_force(version, read.start, read.end)
    )
    record.reads[at] = record.reads[at]._replace(
        pinned=version, outcome="error", status=410, code="version_deleted", version=None, claimed=[]
    )


def left_too_long(record: Record) -> None:
    """more versions than are kept, when all is over"""
    record.by_kind["left"][-1]["wrong"].append(["R10", "at most 4 versions", "[1, 2, 3, 4, 5]"])


def left_behind(record: Record) -> None:
    """a file that no version owns, when all is over"""
    record.by_kind["left"][-1]["wrong"].append(["R9", "nothing in staging", "['1']"])


def died(record: Record) -> None:
    """a server that ended by itself"""
    record.by_kind["server"].append({"t": "server", "what": "died", "how": "it ended with 1", "at": record.zero})


def panicked(record: Record) -> None:
    """a server that panicked"""
    record.by_kind["server"].append({"t": "server", "what": "panic", "how": "panicked at", "at": record.zero})


def unexpected(record: Record) -> None:
    """a change that expected another version, and was made"""
    op = next(op for op in record.ops if op["op"] in ("activate", "rollback") and op["outcome"] == "ok")
    op["expect"] = op["from"] + 1


DAMAGES: dict[str, Callable[[Record], None]] = {
    "R1": another_byte, "R2": two_contents, "R3": another_version, "R4": went_back, "R5 old": old_version, "R5 lost": lost_event,
    "R5 changed": changed_event, "R6 unsettled": unsettled, "R6 twice": made_twice, "R7 absent": false_absence,
    "R7 error": error_while_up, "R8": short_scan, "R9 died": died, "R9 panicked": panicked,
    "R9 left": left_behind, "R10": current_gone, "R10 grace": grace_broken, "R10 left": left_too_long, "V2": unexpected,
}
