"""A file system that the kernel has made read-only: nothing can be pushed, everything can be read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import disk
from node import Node, Wrong, expect, rows

D = "recs"


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
            reply = node.push(D, rows(D, 3, 300))
            if reply.status not in (507, 503) or reply.status == 507 and reply.code() != "disk_read_only":
                raise Wrong(f"a push to a read-only disk: {reply}")
            node.check_reads(D, 2, 300, 30)
            ready = expect(node.get("/readyz"), 200).json()
            if ready["accepts_pushes"] or ready["status"] != "degraded":
                raise Wrong(f"not ready to push: {ready}")
        rollback = node.operate(D, "rollback", {})
        if rollback.status < 500:
            raise Wrong(f"a rollback that cannot be recorded: {rollback}")
        node.check_reads(D, 2, 300, 30)
        return f"pushes refused with {reply.code()}, a rollback with {rollback.code()}; all reads right"
    finally:
        node.stop()


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
