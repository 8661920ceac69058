"""Thousands of versions at a cold start, one in a hundred of them damaged: the others are served, the damaged
ones say so."""

from __future__ import annotations

import random
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from node import Node, Wrong, expect, rows

RECORDS = 20


def check(binary: Path, home: Path, datasets: int, seed: int) -> str:
    chance = random.Random(seed)
    _check_limit(datasets)
    node = Node(binary, home / "data", home / "log", ["--builds-at-once", "2"])
    node.start()
    node.ready()
    began = time.monotonic()

    def make(i: int) -> None:
        for number in (1, 2, 3):
            expect(node.push(f"d{i}", rows(f"d{i}", number, RECORDS)), 201)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(datasets)))
    made = time.monotonic() - began
    node.stop()

    damaged = chance.sample(range(datasets), max(datasets // 100, 3))
    for at, i in enumerate(damaged):
        _damage(node.data / "datasets" / f"d{i}" / "3", at)
    try:
        listens = node.start()
        opened = node.ready()
        memory, files = node.resident(), node.open_files()
        codes: dict[str, int] = {}
        for i in range(datasets):
            if i not in damaged:
                node.check_reads(f"d{i}", 3, RECORDS, RECORDS)
                continue
            code = _code_of_damage(node, f"d{i}")
            codes[code] = codes.get(code, 0) + 1
            # And is put right by one command.
            moved = expect(node.operate(f"d{i}", "rollback", {}), 200).json()
            node.check_reads(f"d{i}", moved["to"], RECORDS, 5)
        ready = expect(node.get("/readyz"), 200).json()
        metrics = time.monotonic()
        expect(node.get("/metrics"), 200)
        metrics = time.monotonic() - metrics
    finally:
        node.stop()
    named = {entry["dataset"] for entry in ready["unusable"]}
    if ready["datasets"] != datasets or named:
        raise Wrong(f"after the rollbacks all are served: {ready}")
    return (
        f"{datasets} datasets x 3 versions (made in {made:.0f} s), {len(damaged)} of them damaged {codes}: "
        f"listens after {listens:.2f} s, ready {opened:.2f} s later, {memory >> 20} MiB private memory, "
        f"{files} open files, /metrics in {metrics * 1000:.0f} ms"
    )


def _check_limit(datasets: int) -> None:
    """All three versions of a dataset have served, and stay open, of two files each; versions have three quarters of all that
    the server may open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = (hard * 3 // 4 - 100) // (3 * 2)
    if hard != resource.RLIM_INFINITY and datasets > most:
        raise Wrong(f"{hard} files may be open here (`ulimit -Hn`), which do for {most} datasets: raise that, or --datasets {most}")


def _code_of_damage(node: Node, dataset: str) -> str:
    """Each key is right, or an error that says what it is of; the code of the last of these."""
    code = ""
    for i in range(RECORDS):
        reply = node.get(f"/v1/datasets/{dataset}/keys/{i}")
        if reply.status == 200 and reply.json()["v"].startswith(f"{dataset}:3:{i}:"):
            continue
        if reply.status not in (500, 503) or reply.code() not in ("data_corrupt", "version_unusable"):
            raise Wrong(f"{dataset} is damaged, and answers {reply}")
        code = reply.code()
    if not code:
        raise Wrong(f"the damage of {dataset} was read as if nothing were wrong")
    return code


def _damage(version: Path, kind: int) -> None:
    """In turn: the manifest, a data file, the index of keys, a file that is gone."""
    name = ["manifest.json", "000001.sst", "db/points", "db/CURRENT"][kind % 4]
    path = version / name
    if name == "db/CURRENT":
        path.unlink()
        return
    with path.open("r+b") as file:
        # Within the first record, or anywhere in the others.
        at = 20 if name == "000001.sst" else path.stat().st_size // 2
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
