"""The planted bugs of storage/src/planted.rs, and the run in which each must be found."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from checker import Plan, Run


@dataclass
class Planted:
    name: str
    # By which rules it may show; another one would be a find of its own. Not R6 and R9: these runs have short deadlines,
    # which a busy machine breaks without any bug.
    rules: set[str]
    kills: int = 0
    seconds: float = 5.0
    faults: str = ""
    power_cuts: bool = False
    damage: bool = False
    # Bits that damage changes in each table.
    places: int = 12
    datasets: list[str] = field(default_factory=lambda: ["small", "race"])
    # What operators do, if the bug is in a step that is seldom.
    steps: dict[str, int] = field(default_factory=dict)


BUGS = [
    Planted("skip-fsync", {"R4", "R5", "R7"}, kills=4, power_cuts=True),
    Planted("swap-before-verify", {"R1", "R7", "R8"}, faults="damaged-tables", datasets=["hurt"]),
    Planted("ack-before-record", {"R4", "R5"}, kills=4),
    Planted("mixed-batch", {"R2", "R7"}),
    Planted("reused-staging", {"R1", "R3", "R7", "R8"}),
    Planted(
        "removed-while-read", {"R7"}, datasets=["small"], seconds=6.0,
        steps={"push": 3, "activate": 1, "delete_while_read": 4},
    ),
    Planted("dropped-keys", {"R7", "R8"}, datasets=["small", "big"]),
    Planted("old-value-after-swap", {"R4", "R5"}),
    # A version that was damaged may be replaced before one of its few bad values is read: many are made.
    Planted("ignored-checksum", {"R1"}, kills=6, damage=True, places=400, datasets=["small", "hurt"]),
    Planted("dot-dot-name", {"I9"}, seconds=1.0),
    Planted("body-before-refusal", {"N8"}, seconds=1.0),
    Planted("expect-not-checked", {"V2"}),
]

UNIVERSES = {"small": 300, "race": 60, "big": 12_500, "brief": 40, "hurt": 1500}


# A bug shows only if its moment comes, and in runs this short on a busy machine it now and then does not.
# Later runs are longer.
RUNS = 3


def hunt(binary: Path, home: Path, seed: str, only: str | None) -> list[str]:
    """Looks for each bug in turn; those that were not found."""
    asked = [planted for planted in BUGS if only in (None, planted.name)]
    missed = [planted.name for planted in asked if not is_found(planted, binary, home, seed)]
    print(f"{len(asked) - len(missed)} of {len(asked)} planted bugs were found")
    return missed


def is_found(planted: Planted, binary: Path, home: Path, seed: str) -> bool:
    for number in range(1, RUNS + 1):
        began = time.monotonic()
        found = Run(plan(planted, binary, home, f"{seed}-{planted.name}-{number}", number), say=lambda text: None).run()
        took = f"in {time.monotonic() - began:.1f} s" + (f", run {number}" if number > 1 else "")
        told = [violation for violation in found.violations if violation.rule in planted.rules]
        if told:
            others = sorted({v.rule for v in found.violations} - planted.rules)
            beside = f", and by {others}" if others else ""
            print(f"{planted.name}: found {len(told)} times {took}{beside}; the first:\n  {told[0]}", flush=True)
            return True
        print(f"{planted.name}: NOT FOUND {took} ({found.counts}); {found.violations[:3]}", flush=True)
    return False


def plan(planted: Planted, binary: Path, home: Path, seed: str, length: int) -> Plan:
    """A run with that bug, `length` times as long as it mostly takes."""
    universes = {name: UNIVERSES[name] for name in planted.datasets}
    made = Plan(
        binary, home / planted.name, seed, planted.kills * length, planted.seconds * length,
        planted=",".join(filter(None, [planted.name, planted.faults])),
        power_cuts=planted.power_cuts, damage=planted.damage, universes=universes,
        damage_every=1, damage_places=planted.places, shares=dict.fromkeys(universes, 1),
        patience=1.5, settled_within=4, grace=1,
    )
    if planted.steps:
        made.repertoires = {name: [planted.steps] for name in universes}
    return made
