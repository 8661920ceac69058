"""Ten times the records: what a get, a push and an opening cost then. Only with --full."""

import os
import shutil
import time

from .. import client
from ..bench import CONNECTIONS
from ..data import read_all
from ..load import Lookups, sample, wrk
from ..systems import DATASET
from . import push as pushes
from .get import PATH, REQUESTS_PER_SECOND

TIMES = 10
LOOKUPS_PER_SECOND = 400_000


def measure(bench):
    bench.stop()
    options = bench.options
    counts = {"small": options.records, "large": options.records * TIMES}
    pushed = {"small": small_pushes(bench), "large": [push(bench, "large", counts["large"])]}
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
    return {"push": pushed, "open": opened, "get": over_http, "in_process": in_process, "records": counts}


def small_pushes(bench):
    """Those that `push` has measured in this run, or as many of its own."""
    records = bench.options.records
    if "push" in bench.measured:
        # What it pushed is gone, and is read afterwards.
        push(bench, "small", records)
        return [of_record(sample["seconds"], records) for sample in bench.measured["push"]["ndjson"]]
    return [push(bench, "small", records) for _ in range(min(pushes.ROUNDS, bench.options.rounds))]


def push(bench, name, records):
    """To a new data directory, prepared as `push` does: rows in the page cache, nothing else left to be written."""
    data = bench.data() if records == bench.options.records else bench.rows(records)
    shutil.rmtree(bench.path(f"scale-{name}"), ignore_errors=True)
    bench.say(f"pushing {records:,} records")
    server = bench.serve(f"scale-{name}", bench.path(f"scale-{name}"), bench.layout.all, None)
    pushes.prepare(data)
    start = time.monotonic()
    client.push(server.port, DATASET, data.path("ndjson"))
    seconds = time.monotonic() - start
    bench.stop(f"scale-{name}")
    if records != bench.options.records:
        data.remove()
    bench.say(f"  {seconds:.1f} s")
    return of_record(seconds, records)


def of_record(seconds, records):
    return {"seconds": seconds, "record_us": seconds / records * 1e6}


def opening(bench, name):
    """From the start of the process until it is ready, all of it in the page cache."""
    read_all(bench.path(f"scale-{name}"))
    os.sync()
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
