"""Hours under one server: a swap every ten seconds, and memory, descriptors and disk that stay as they were.

The history of hours does not fit into memory, so it is cut into pieces of some minutes, each judged by
itself while the server goes on. Once a piece is judged and clean its history goes.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import endings
from checker import Plan, Run, verdict
from record import Violation

SOAKED = {"push": 8, "roll_back": 1, "activate": 1}
# What is not counted yet: caches fill, and the first versions are kept until there are enough.
WARM_UP = 0.2
# From this length on the slope is judged; shorter, only the means of the beginning and the end.
LONG = 3600.0
SHORTEST = 300.0
MOST_PER_HOUR = 0.01
MOST_BETWEEN_MEANS = 0.05
MOST_FILES = 5
MOST_DISK = 1.05


class Sample:
    """What the server takes at one moment, when nothing is being pushed."""

    def __init__(self, run: Run) -> None:
        self.at = time.monotonic()
        self.memory = run.server.resident_bytes()
        self.files = run.server.open_files()
        self.disk = run.server.disk_bytes()

    def told(self) -> str:
        return f"{self.memory / 1e6:.1f} MB of memory, {self.files} descriptors, {self.disk / 1e6:.1f} MB of disk"


def soak(binary: Path, home: Path, seed: str, seconds: float, piece: float) -> dict[str, Any]:
    """The figures of a soak, with what was wrong under `violations`."""
    plan = Plan(
        binary, home, seed, kills=0, universes={"small": 300, "big": 12_500}, shares={"small": 1, "big": 1},
        repertoires={"small": [SOAKED], "big": [SOAKED]}, pauses={}, interval=10.0, reads_per_second=1000,
    )
    run = Run(plan)
    run.begin()
    end = time.monotonic() + seconds
    samples: list[Sample] = []
    totals = {"pieces": 0, "reads": 0, "swaps": 0}
    wrong: list[str] = []
    began = time.monotonic()
    run.writer.add("run", **run.settings(began))
    try:
        while True:
            run.live(min(piece, max(1.0, end - time.monotonic())))
            is_last = time.monotonic() >= end
            run.stop_operators()
            run.stop_readers()
            samples.append(Sample(run))
            if is_last:
                endings.look(run)
            else:
                for operator in run.operators:
                    operator.settle()
            run.writer.close()
            found = verdict(run.history)
            totals["pieces"] += 1
            totals["reads"] += found.counts["reads"]
            totals["swaps"] += found.counts["swaps"]
            wrong += [str(v) for v in found.violations] + found.refusals
            print(f"  {time.monotonic() - began:.0f} s: {totals}, {samples[-1].told()}, {len(wrong)} wrong", flush=True)
            if is_last or wrong:
                break
            run = follow(run, plan, totals["pieces"])
    finally:
        run.stop_readers()
        run.around.stop.set()
        run.server.kill()
    return totals | {
        "seconds": round(time.monotonic() - began), "violations": wrong + [str(v) for v in flat(samples)],
        "first": samples[0].told(), "last": samples[-1].told(),
    }


def follow(before: Run, plan: Plan, piece: int) -> Run:
    """The next piece, with the server of the one before."""
    run = Run(plan, fresh=False)
    run.server = before.server
    run.around.up.set()
    run.operators = list(run.who())
    for operator in run.operators:
        # Contents are numbered on, and requests too.
        operator.pushed = operator.requests = piece * 10_000
        operator.look()
    run.begin_reading()
    for operator in run.operators:
        operator.start()
    run.writer.add("run", **run.settings(time.monotonic()))
    return run


def flat(samples: list[Sample]) -> list[Violation]:
    """What has grown."""
    warm = samples[int(len(samples) * WARM_UP) :]
    if len(warm) < 4 or warm[-1].at - warm[0].at < SHORTEST:
        # Caches still fill: nothing can be said of it.
        return []
    third = max(1, len(warm) // 3)
    first, last = warm[:third], warm[-third:]
    found = []
    memory = statistics.mean(s.memory for s in first), statistics.mean(s.memory for s in last)
    hours = (warm[-1].at - warm[0].at) / 3600
    if hours * 3600 >= LONG:
        slope = statistics.linear_regression([s.at / 3600 for s in warm], [s.memory for s in warm]).slope
        if slope / memory[0] > MOST_PER_HOUR:
            found.append(grown(f"memory to grow by at most {MOST_PER_HOUR:.0%} an hour", f"{slope / memory[0]:.1%}"))
    elif memory[1] > memory[0] * (1 + MOST_BETWEEN_MEANS):
        found.append(grown("memory to stay as it was", f"{memory[0] / 1e6:.1f} MB became {memory[1] / 1e6:.1f} MB"))
    files = statistics.median(s.files for s in first), statistics.median(s.files for s in last)
    if files[1] > files[0] + MOST_FILES:
        found.append(grown("as many descriptors as before", f"{files[0]} became {files[1]}"))
    disk = max(s.disk for s in first), max(s.disk for s in last)
    if disk[1] > disk[0] * MOST_DISK + (1 << 20):
        found.append(grown("as much disk as before", f"{disk[0] / 1e6:.1f} MB became {disk[1] / 1e6:.1f} MB"))
    return found


def grown(expected: str, seen: str) -> Violation:
    return Violation("R9", expected, seen, "the soak as a whole")


def told(found: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in found.items() if name != "violations"})
