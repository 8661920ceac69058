"""tests/torture/run crash WHAT BINARY: what a server leaves behind that dies, whose disk fails, or whose power goes.

WHAT is steps, calls, power, or all. BINARY is a build with faults (`make build-faults`). Without --long it is the
part that CI runs. With --ledger FILE, cases that were sound in an earlier run are not tried again, so that a long
run can be stopped and gone on with.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from crash.calls import Calls
from crash.ledger import Ledger
from crash.power import Power
from crash.steps import Steps


def steps(binary: Path, home: Path, ledger: Ledger, asked: argparse.Namespace) -> None:
    chance = random.Random(f"{ledger.seed} steps")
    steps = Steps(binary, home, ledger, asked.jobs)
    steps.look_ahead()
    steps.run(list(steps.cases(chance, None if asked.long else 1)), asked.rounds)
    steps.run(steps.builders())
    steps.run(steps.pairs(chance, asked.pairs))
    print(f"deaths at {len(steps.deaths)} steps: {dict(sorted(steps.deaths.items()))}")


def calls(binary: Path, home: Path, ledger: Ledger, asked: argparse.Namespace) -> None:
    calls = Calls(binary, home, ledger, asked.jobs)
    calls.look_ahead()
    print(f"calls: {dict(calls.counts)}")
    calls.run(list(calls.cases(asked.every, random.Random(f"{ledger.seed} calls"))))


def power(binary: Path, home: Path, ledger: Ledger, asked: argparse.Namespace) -> None:
    power = Power(binary, home, ledger, asked.jobs)
    power.look_ahead()
    print(f"changes: {power.changes}")
    states = power.run(None if asked.long else asked.cuts, asked.states)
    print(f"{states} states after a power cut")


PARTS = {"steps": steps, "calls": calls, "power": power}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/torture/run crash", description=__doc__)
    parser.add_argument("what", choices=[*PARTS, "all"])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--long", action="store_true", help="every passing of every step, and a cut at every change")
    parser.add_argument("--rounds", type=int, default=1, help="how often each death at a step")
    parser.add_argument("--pairs", type=int, default=20, help="how many deaths with a second one in the start after it")
    parser.add_argument("--every", type=int, default=60, help="every so-many-th call fails")
    parser.add_argument("--cuts", type=int, default=4, help="power cuts of each scenario, unless --long")
    parser.add_argument("--states", type=int, default=1, help="states by chance after each cut")
    parser.add_argument("--jobs", type=int, default=2, help="cases at the same time")
    parser.add_argument("--seed", default="20261126")
    parser.add_argument("--ledger", type=Path, help="JSON lines of every case")
    parser.add_argument("--home", type=Path, help="where data directories are made; on a real disk")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    asked = parse(arguments)
    binary = asked.binary.resolve()
    ledger = Ledger(asked.ledger, asked.seed)
    home = Path(tempfile.mkdtemp(prefix="tidetable-crash-", dir=asked.home))
    try:
        for name, part in PARTS.items():
            if asked.what in (name, "all"):
                began = time.monotonic()
                part(binary, home, ledger, asked)
                print(f"{name}: {time.monotonic() - began:.0f} s; {ledger.summary()}", flush=True)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if ledger.wrong else 0

