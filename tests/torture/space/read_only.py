"""A file system that the kernel has made read-only: nothing can be pushed, everything can be read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import disk
from node import Node, Reply, Wrong, expect, rows

D = "recs"
CODE = "disk_read_only"


def check(binary: Path, home: Path) -> str:
    place, kind = disk.mount(home, 224 << 20)
    if kind != "ext4":
        return disk.left_out("space-read-only", "a disk that turns read-only takes a mount of ext4")
    node = Node(binary, place / "data", home / "log")
    node.start()
    node.ready()
    try:
        for number in (1, 2):
            expect(node.push(D, rows(D, number, 300)), 201)
        if not _turn_read_only(place):
            return disk.left_out("space-read-only", "this kernel cannot be told to find an error in a file system")
        for _ in range(3):
            refused_as_read_only("a push", node.push(D, rows(D, 3, 300)))
            node.check_reads(D, 2, 300, 30)
            ready = expect(node.get("/readyz"), 200).json()
            if ready["accepts_pushes"] or ready["status"] != "degraded":
                raise Wrong(f"not ready to push: {ready}")
        refused_as_read_only("a rollback", node.operate(D, "rollback", {}))
        node.check_reads(D, 2, 300, 30)
        return f"pushes and a rollback refused with {CODE}; all reads right"
    finally:
        node.stop()


def refused_as_read_only(what: str, reply: Reply) -> None:
    """As docs/http-api.md says; another code sends an operator somewhere else."""
    if (reply.status, reply.code()) != (507, CODE):
        raise Wrong(f"{what} on a read-only disk: expected 507 {CODE}, got {reply}")


def _turn_read_only(place: Path) -> bool:
    found = subprocess.run(["findmnt", "-n", "-o", "SOURCE", str(place)], capture_output=True, text=True)
    trigger = Path("/sys/fs/ext4") / Path(found.stdout.strip()).name / "trigger_fs_error"
    try:
        trigger.write_text("a test")
    except OSError:
        return False
    try:
        (place / "probe").touch()
    except OSError:
        return True
    return False
