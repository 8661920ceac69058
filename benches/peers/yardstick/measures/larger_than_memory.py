"""Four times as many bytes as memory: a dataset whose files are four times as large as what the
server may use, page cache included. First gets of any key as fast as they are answered; then
gets of a few keys that are in memory, alone and while others read cold keys from the disk. These
few are neighbours, and so lie in few pages."""

import time

from .. import client
from ..errors import Failed
from ..limits import MemoryLimit, forget
from ..load import OpenLoop, sample, wrk
from ..bench import CONNECTIONS
from ..machine import read
from ..systems import DATASET
from .get import PATH, REQUESTS_PER_SECOND
from .memory import disk_bytes, version_directory

TIMES = 4
HOT_KEYS, HOT_RATE, HOT_CONNECTIONS, COLD_CONNECTIONS = 1000, 2_000, 8, 16
PHASE = 10


def measure(bench):
    bench.stop("tidetable")
    records = bench.options.records * TIMES
    data, directory = bench.rows(records), bench.path("large")
    bench.say(f"pushing {records:,} records")
    server = bench.serve("large", directory, bench.layout.all, None)
    client.push(server.port, DATASET, data.path("ndjson"))
    bench.stop("large")
    data.remove()
    size = disk_bytes(version_directory(directory))
    limit = MemoryLimit("large", size // TIMES)
    bench.say(f"  {size / 1e6:,.0f} MB within {limit.bytes / 1e6:,.0f} MB ({limit.kind})")
    try:
        forget(directory)
        server = bench.serve("large", directory, bench.layout.server, 1, limit.join)
        uniform = any_key(bench, server, records)
        hot, cold = hot_and_cold(bench, server, records, uniform[-1]["rps"] / 2)
    finally:
        bench.stop("large")
        limit.remove()
    return {"uniform": uniform, "hot": hot, "cold": cold, "bytes": size, "limit_bytes": limit.bytes,
            "limit_kind": limit.kind, "records": records}


def any_key(bench, server, records):
    samples = []
    for number in range(3):
        seconds = max(5, bench.options.seconds)
        arguments = [PATH, "", records, number, int(REQUESTS_PER_SECOND * seconds)]
        before = disk_reads(server)
        found = sample(server.process, bench.layout.server, lambda: wrk(
            server.url, "get.lua", arguments, bench.layout.load, CONNECTIONS, seconds))
        found["disk_bytes"] = (disk_reads(server) - before) / found["requests"]
        bench.say(f"  any key: {found['rps']:,.0f}/s, p99 {found['p99_us']:,.0f} µs, "
                  f"{found['disk_bytes']:,.0f} bytes read from disk for each")
        samples.append(found)
    if samples[-1]["disk_bytes"] < 100:
        raise Failed("hardly anything was read from the disk: the limit on memory did not hold")
    return samples


def hot_and_cold(bench, server, records, cold_rate):
    def load(rate, connections, keys, seed):
        return OpenLoop(bench.options.helper, server, PATH, rate, connections, keys, 1, seed, bench.layout.load)

    hot = load(HOT_RATE, HOT_CONNECTIONS, HOT_KEYS, 1)
    hot.phase("warm")
    time.sleep(3)
    hot.phase("alone")
    time.sleep(PHASE)
    cold = load(cold_rate, COLD_CONNECTIONS, records, 2)
    cold.phase("warm")
    hot.phase("between")
    time.sleep(2)
    cold.phase("cold")
    hot.phase("with cold")
    time.sleep(PHASE)
    hot_phases = hot.end()
    cold_phases = cold.end()
    return hot_phases, {**cold_phases["cold"], "rate": cold_rate}


def disk_reads(server):
    """Bytes that this process had fetched from the disk, page faults included."""
    for line in read(f"/proc/{server.process.pid}/io").splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    raise Failed("the kernel does not count what a process reads from the disk")
