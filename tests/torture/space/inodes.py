"""No more files can be made: pushes are refused, all else goes on."""

from __future__ import annotations

import os
from pathlib import Path

import disk
from node import Node, Wrong, expect, rows

D = "recs"
# Files that pushes leave to others.
RESERVE = 256


def check(binary: Path, home: Path, levels: int) -> str:
    place, kind = disk.mount(home, 224 << 20, inodes=2_000)
    node = Node(binary, place / "data", home / "log")
    node.start()
    node.ready()
    made, refused = 0, 0
    pushes: dict[int, int] = {}
    takers = place / "takers"
    takers.mkdir()
    try:
        node.without_gates(D)
        for number in (1, 2):
            version = expect(node.push(D, rows(D, number, 300)), 201).json()["version"]
            pushes[version] = number
        for level in range(levels):
            number = level + 3
            left = 400 * level // max(levels - 1, 1)
            _leave(takers, left)
            reply = node.push(D, rows(D, number, 3_000))
            if reply.status == 201:
                made += 1
                pushes[reply.json()["version"]] = number
            elif reply.status == 507:
                refused += 1
            else:
                raise Wrong(f"level {level}: {reply}; it said: {node.said()}")
            ready = node.get("/readyz")
            if ready.status != 200 or (left < RESERVE and (reply.status != 507 or ready.json()["accepts_pushes"])):
                raise Wrong(f"ready to read, and not to push: {ready}")
            current = node.current(D)
            moved = expect(node.operate(D, "rollback", {"hold": False}), 200).json()
            node.check_reads(D, pushes[moved["to"]], 300, 50)
            again = {"version": current, "force": True, "reason": "it is good"}
            expect(node.operate(D, "activate", again), 200)
            node.check_reads(D, pushes[current], 300, 50)
            node.eventually("staging is freed", node.staging_is_free)
    finally:
        node.stop()
    if not made or not refused:
        raise Wrong(f"{made} pushes were made and {refused} refused: the levels are not where it matters")
    return f"{levels} levels on {kind}: {made} pushes made, {refused} refused with 507"


def _leave(takers: Path, left: int) -> None:
    """Makes or removes empty files until so many can be made."""
    taken = sorted(takers.iterdir())
    while os.statvfs(takers).f_favail < left and taken:
        taken.pop().unlink()
    number = len(taken)
    while os.statvfs(takers).f_favail > left:
        (takers / f"{number:06}").touch()
        number += 1
