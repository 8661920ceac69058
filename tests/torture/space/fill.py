"""A disk that is full, to whatever level, before a push or while it runs: the push fails with 507 or is
there, what it wrote is freed, and reads, rollback and activation go on."""

from __future__ import annotations

import gzip
import random
import threading
from pathlib import Path

import disk
from node import Node, Reply, Wrong, expect, rows

SIZE = 224 << 20
RESERVE = 64 << 20
RECORDS = 300
D = "recs"


def check(binary: Path, home: Path, levels: int, seed: int) -> str:
    chance = random.Random(seed)
    place, kind = disk.mount(home, SIZE)
    node = Node(binary, place / "data", home / "log", ["--sort-memory", "4MiB"])
    node.start()
    node.ready()
    ballast = disk.Ballast(place)
    made, refused = 0, 0
    pushes: dict[int, int] = {}
    try:
        node.without_gates(D)
        for number in (1, 2):
            version = expect(node.push(D, rows(D, number, RECORDS)), 201).json()["version"]
            pushes[version] = number
        for level in range(levels):
            number = level + 3
            reply = _push_on_a_full_disk(node, ballast, chance, level, levels, number)
            if reply.status == 201:
                made += 1
                pushes[reply.json()["version"]] = number
            elif reply.status == 507 and reply.code() == "disk_full":
                refused += 1
            else:
                raise Wrong(f"level {level}: {reply}; it said: {node.said()}")
            _still_serves(node, pushes)
            node.eventually("staging is freed", node.staging_is_free)
            ballast.drop()
            if level % 5 == 4:
                reply = expect(node.push(D, rows(D, 1000 + number, RECORDS)), 201)
                pushes[reply.json()["version"]] = 1000 + number
    finally:
        node.stop()
    if not made or not refused:
        raise Wrong(f"{made} pushes were made and {refused} refused: the levels are not where it matters")
    return f"{levels} levels on {kind}: {made} pushes made, {refused} refused with 507; every rollback and activation worked"


def _push_on_a_full_disk(
    node: Node, ballast: disk.Ballast, chance: random.Random, level: int, levels: int, number: int
) -> Reply:
    """Three kinds of level in turn."""
    if level % 3 == 0:
        # So full beforehand: from nothing free to more than enough.
        ballast.leave((RESERVE + (16 << 20)) * level // max(levels - 1, 1))
        return node.push(D, rows(D, number, 6_000), chunked=level % 2 == 0)
    if level % 3 == 1:
        # Somebody else fills it while the push runs.
        left = chance.choice([0, 1 << 12, 1 << 16, 1 << 20])
        filling = threading.Timer(chance.uniform(0, 0.8), ballast.leave, [left])
        filling.start()
        reply = node.push(D, rows(D, number, 60_000))
        filling.join()
        return reply
    # The push itself is larger than it looks: rows that gzip compresses and the server cannot, so that they
    # are sorted in runs on the disk.
    ballast.leave(RESERVE + chance.randrange(2 << 20, 40 << 20))
    order = list(range(6_000))
    chance.shuffle(order)
    lines = [f'{{"k":"{i}","v":"{D}:{number}:{i}:{chance.randbytes(1000).hex()}"}}\n' for i in order]
    body = gzip.compress("".join(lines).encode(), 1)
    return node.push(D, body)


def _still_serves(node: Node, pushes: dict[int, int]) -> None:
    """With the disk as full as it is: reads, a rollback, and the way back."""
    current = node.current(D)
    node.check_reads(D, pushes[current], RECORDS, 30)
    moved = expect(node.operate(D, "rollback", {"hold": False}), 200).json()
    node.check_reads(D, pushes[moved["to"]], RECORDS, 60)
    again = {"version": current, "force": True, "reason": "the disk is full, and it is good"}
    expect(node.operate(D, "activate", again), 200)
    node.check_reads(D, pushes[current], RECORDS, 60)
