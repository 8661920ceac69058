"""Whether a run has shown anything: a checker that sends too little passes by doing nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict

from history import Read
from pointer import Pointer
from record import Record, told_op

LEAST_READS_PER_SECOND = 500
# Reads of the dataset that were under way from a quarter of a second before a swap was requested to as
# long after it was answered; around a kill, reads of any, of which some came before and some after.
LEAST_READS_OVER = 50
LEAST_ON_EACH_SIDE = 10
AROUND = 0.25


def refusals(record: Record) -> list[str]:
    """Why the run does not count; none if it does."""
    found = []
    up = record.settings["until"] - record.settings["at"]
    up -= sum(min(end, record.settings["until"]) - start for start, end in record.down)
    answered = [read for read in record.reads if is_answered(read) and read.connection != "end"]
    rate = len(answered) / max(up, 0.001)
    if rate < LEAST_READS_PER_SECOND:
        found.append(f"{rate:.0f} reads/s were answered; {LEAST_READS_PER_SECOND} are needed")
    ends = sorted(read.end for read in answered)
    starts = sorted(read.start for read in answered)
    for kill, ready in record.down:
        before = bisect_right(ends, kill) - bisect_left(ends, kill - AROUND)
        after = bisect_right(starts, ready + AROUND) - bisect_left(starts, ready)
        caught = sum(1 for r in record.reads if r.start <= kill <= r.end) if before < 60 else 0
        if before + after + caught < LEAST_READS_OVER or min(before, after) < LEAST_ON_EACH_SIDE:
            found.append(
                f"around the kill at {kill - record.zero:.3f} s there were {before} reads before and {after} after"
            )
    return found + _swaps(record)


def is_answered(read: Read) -> bool:
    """That a dataset is not there is an answer too, right or wrong."""
    return read.outcome in ("ok", "absent") or read.status == 404


def _swaps(record: Record) -> list[str]:
    found = []
    by_dataset = defaultdict(list)
    for read in record.reads:
        if is_answered(read):
            by_dataset[read.dataset].append(read)
    for dataset in record.settings["universes"]:
        starts = sorted(read.start for read in by_dataset[dataset])
        ends = sorted(read.end for read in by_dataset[dataset])
        for position in Pointer(record, dataset).positions[1:]:
            op = position.op
            if op is None or op["outcome"] != "ok" or record.is_down(op["start"] - AROUND, op["end"] + AROUND):
                continue
            # Nobody reads before readers have begun, nor after they have ended.
            first, last = record.settings["reading_from"], record.settings["until"]
            if op["end"] + AROUND > last or op["start"] - AROUND < first:
                continue
            over = bisect_right(starts, op["end"] + AROUND) - bisect_left(ends, op["start"] - AROUND)
            if over < LEAST_READS_OVER:
                found.append(f"only {over} reads of {dataset} over the swap of {told_op(op, record.zero)}")
    return found


def swaps(record: Record) -> int:
    """How many changes of a pointer readers were there for."""
    pointers = (Pointer(record, dataset) for dataset in record.settings["universes"])
    return sum(position.op is not None for pointer in pointers for position in pointer.positions)
