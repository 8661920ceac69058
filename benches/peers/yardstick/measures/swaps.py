"""Thirty activations and ten rollbacks while gets come at half of the maximum, whether they are
answered or not; the maximum is that of these gets within this memory. Both versions together are
larger than the memory that the server may use, so not all of a version that was left is still in memory.
Few learners are active on one day, as in reality: 199 of 200 gets are for one key in fifty, the
others for any key. The active ones are spread over all of the data."""

import time

from ..errors import Failed
from ..limits import MemoryLimit, forget
from ..load import OpenLoop
from ..systems import DATASET
from . import activate
from .get import PATH, gets
from .memory import disk_bytes, version_directory

ACTIVE = 0.02
CONNECTIONS = 64
# Of what one version takes on the disk: less than two, and enough for one and the server itself.
MEMORY = 1.6
CHANGES, EVERY = 40, 2
# As long as the changes take: a 99th percentile of little is that of a few stalls of the machine.
WARM, BEFORE = 10, CHANGES * EVERY


def measure(bench):
    server = bench.tidetable_with_two_versions()
    gets(bench, server, 1, 1)
    unlimited = gets(bench, server, 2, 3)["rps"]
    bench.stop("tidetable")
    data = server.data
    limit = MemoryLimit("swaps", int(disk_bytes(version_directory(data)) * MEMORY))
    try:
        forget(data)
        server = bench.serve("tidetable", data, bench.layout.server, 1, limit.join)
        maximum = most(bench, server, unlimited)
        rate = maximum / 2
        bench.say(f"  {rate:,.0f} of {maximum:,.0f}/s, within {limit.bytes / 1e6:,.0f} MB ({limit.kind})")
        found = changes_under_load(bench, server, rate)
    finally:
        bench.stop("tidetable")
        limit.remove()
    return {**found, "rate": rate, "maximum": maximum, "limit_bytes": limit.bytes, "limit_kind": limit.kind}


def active_learners(bench, server, rate, seed):
    records, cores = bench.options.records, bench.layout.load
    return OpenLoop(bench.options.helper, server, PATH, rate, CONNECTIONS, records, ACTIVE, seed, cores)


def most(bench, server, rate):
    """Gets a second that are answered when more are asked for, once what is hot is in memory."""
    load = active_learners(bench, server, rate, 2)
    load.phase("warm")
    time.sleep(WARM)
    load.phase("most")
    time.sleep(5)
    load.phase("rest")
    found = load.end()["most"]
    return found["requests"] / found["seconds"]


def changes_under_load(bench, server, rate):
    load = active_learners(bench, server, rate, 1)
    load.phase("warm")
    time.sleep(WARM)
    load.phase("before")
    time.sleep(BEFORE)
    load.phase("during")
    begun, changes, current = time.monotonic(), [], activate.current(server)
    for number in range(CHANGES):
        time.sleep(max(0, begun + number * EVERY - time.monotonic()))
        at, current = WARM + BEFORE + time.monotonic() - begun, 3 - current
        # Three activations and a rollback, each from one of the two versions to the other.
        if number % 4 == 3:
            changes.append({"at": at, "what": "rollback", "ms": activate.roll_back(server)})
        else:
            changes.append({"at": at, "what": "activate", "ms": activate.activate(server, current)})
        if activate.current(server) != current:
            raise Failed(f"version {current} should be current")
    time.sleep(EVERY)
    phases = load.end()
    return {"phases": phases, "changes": changes, "slices": load.slices}
