"""Few files may be open: versions that do not fit in are refused by name, connections that do not fit in
wait, and nothing ends."""

from __future__ import annotations

import socket
from pathlib import Path

from node import Node, Wrong, expect, rows

DATASETS = 48
LIMIT = 110


def check(binary: Path, home: Path) -> str:
    node = Node(binary, home / "data", home / "log", ["--threads", "2"])
    node.start()
    node.ready()
    for i in range(DATASETS):
        for number in (1, 2):
            expect(node.push(f"d{i}", rows(f"d{i}", number, 50)), 201)
    node.stop()

    node.start(files=LIMIT)
    try:
        node.ready()
        served, refused = [], []
        for i in range(DATASETS):
            reply = node.get(f"/v1/datasets/d{i}/keys/7")
            if reply.status == 200:
                served.append(i)
                node.check_reads(f"d{i}", 2, 50, 10)
            else:
                expect(reply, 503, "too_many_files")
                refused.append(i)
        if not served or not refused:
            raise Wrong(f"{len(served)} are served and {len(refused)} refused of {DATASETS}")
        if "too_many_files" not in node.said(200) and "open files" not in node.said(200):
            raise Wrong(f"the log says nothing of it: {node.said()}")
        # What serves goes on when a new version of it does not fit in.
        first = f"d{served[0]}"
        reply = node.push(first, rows(first, 3, 50), "&activate=false")
        activated = node.operate(first, "activate", {"version": 3})
        if activated.status != 200:
            expect(activated, 503, "too_many_files")
            node.check_reads(first, 2, 50, 10)
        survived = _crowd(node, first)
        return (
            f"limit {LIMIT}: {len(served)} datasets served, {len(refused)} refused with too_many_files; "
            f"push {reply.status}, activation {activated.status}; {survived} connections opened at once"
        )
    finally:
        node.stop()


def _crowd(node: Node, dataset: str) -> int:
    """More connections than there are files for; the server answers when they have gone."""
    crowd: list[socket.socket] = []
    for _ in range(2 * LIMIT):
        try:
            crowd.append(socket.create_connection(("127.0.0.1", node.port), timeout=5))
        except OSError:
            break
    for one in crowd:
        one.close()
    node.eventually("it answers again", lambda: node.get("/livez").status == 200)
    node.check_reads(dataset, 3 if node.current(dataset) == 3 else 2, 50, 10)
    return len(crowd)
