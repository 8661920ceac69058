"""Ten times the records: what a get, a push and an opening cost then. Only with --full."""

import time

from .. import client
from ..load import Lookups, sample, wrk
from ..bench import CONNECTIONS
from ..systems import DATASET
from .get import PATH, REQUESTS_PER_SECOND

TIMES = 10
LOOKUPS_PER_SECOND = 400_000


def measure(bench):
    options = bench.options
    counts = {"small": options.records, "large": options.records * TIMES}
    pushes = {name: push(bench, name, records) for name, records in counts.items()}
    opened = {name: opening(bench, name) for name in counts}
    servers = {name: bench.serve(f"scale-{name}", bench.path(f"scale-{name}"), bench.layout.server, 1)
               for name in counts}
    over_http = bench.rounds({name: gets(bench, servers[name], counts[name]) for name in counts})
    bench.stop("scale-small", "scale-large")
    stores = {name: Lookups([options.helper, "lookups", bench.path(f"scale-{name}"), DATASET, records],
                            bench.layout.server) for name, records in counts.items()}
    try:
        in_process = bench.rounds({name: lookups(stores[name]) for name in counts})
    finally:
        for store in stores.values():
            store.stop()
    return {"push": pushes, "open": opened, "get": over_http, "in_process": in_process, "records": counts}


def push(bench, name, records):
    data = bench.rows(records)
    bench.say(f"pushing {records:,} records")
    server = bench.serve(f"scale-{name}", bench.path(f"scale-{name}"), bench.layout.all, None)
    start = time.monotonic()
    client.push(server.port, DATASET, data.path("ndjson"))
    seconds = time.monotonic() - start
    bench.stop(f"scale-{name}")
    if records != bench.options.records:
        data.remove()
    bench.say(f"  {seconds:.1f} s")
    return {"seconds": seconds, "record_us": seconds / records * 1e6}


def opening(bench, name):
    """From the start of the process until it is ready, all of it in the page cache."""
    samples = []
    for _ in range(3):
        start = time.monotonic()
        bench.serve(f"scale-{name}", bench.path(f"scale-{name}"), bench.layout.server, 1)
        samples.append({"seconds": time.monotonic() - start})
        bench.stop(f"scale-{name}")
    return samples


def gets(bench, server, records):
    def run(number, seconds):
        arguments = [PATH, "", records, number, int(REQUESTS_PER_SECOND * seconds)]
        return sample(server.process, bench.layout.server, lambda: wrk(
            server.url, "get.lua", arguments, bench.layout.load, CONNECTIONS, seconds))
    return run


def lookups(store):
    return lambda number, seconds: store.round("present", "length", int(LOOKUPS_PER_SECOND * seconds), number)
