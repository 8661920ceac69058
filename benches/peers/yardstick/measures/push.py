"""Pushing all records, from the first byte sent to the answer that says they are served: read,
sorted, written, fsynced, read back and verified, swapped in. Beside `redis-cli --pipe`, which
loads the same records into memory. Everything may use all cores; the sources are in the page
cache; each push goes to a new data directory, each load to a new Redis."""

import os
import shutil
import threading
import time

from .. import client
from ..errors import Failed
from ..systems import DATASET, Redis, Tidetable

ROUNDS = 3


def measure(bench):
    bench.stop()
    data = bench.data()
    systems = {
        "ndjson": lambda: push(bench, data.path("ndjson")),
        "parquet": lambda: push(bench, data.path("parquet")),
        "redis": lambda: pipe(bench, data),
    }
    samples = {name: [] for name in systems}
    for number in range(min(ROUNDS, bench.options.rounds)):
        for name, run in systems.items():
            prepare(data)
            samples[name].append(run())
            bench.say(f"  round {number + 1} {name}: {samples[name][-1]['seconds']:.2f} s")
    digests = {sample["content"] for name in ("ndjson", "parquet") for sample in samples[name]}
    if len(digests) != 1:
        raise Failed(f"the same records from NDJSON and Parquet became different versions: {digests}")
    return samples


def prepare(data):
    """The sources in the page cache, and nothing that others left to be written: that is not this one's to wait for."""
    data.warm()
    os.sync()


def push(bench, source):
    directory = bench.path("push")
    server = Tidetable(bench.options.tidetable, directory, bench.layout.all, None, bench.path("push.log"))
    try:
        watch = Watch(server.port)
        start = time.monotonic()
        version = client.push(server.port, DATASET, source)
        seconds = time.monotonic() - start
        phases = watch.stop(start, seconds)
        if version["state"] != "active" or version["records"] != bench.options.records:
            raise Failed(f"the push of {source} made {version}")
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return {"seconds": seconds, "phases": phases, "content": version["content_digest"]}


def pipe(bench, data):
    redis = Redis(bench.path("redis-push"), bench.layout.all, bench.path("redis-push.log"))
    try:
        start = time.monotonic()
        loaded = redis.pipe(data.path("resp"), bench.layout.all)
        seconds = time.monotonic() - start
        if loaded != data.records:
            raise Failed(f"Redis answered {loaded:,} of {data.records:,} commands")
    finally:
        redis.stop()
    return {"seconds": seconds}


class Watch:
    """Asks now and then what a push is at, to see where its time goes."""

    EVERY = 0.1

    def __init__(self, port):
        self.port, self.seen, self.done = port, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.done.wait(self.EVERY):
            try:
                status, _, version = client.request(self.port, "GET", f"/v1/datasets/{DATASET}/versions/1")
            except OSError:
                return
            if status == 200:
                phase = (version.get("progress") or {}).get("phase") or version["state"]
                self.seen.append((time.monotonic(), phase))

    def stop(self, start, seconds):
        """Phase → seconds."""
        self.done.set()
        self.thread.join()
        phases, since, current = {}, start, "receiving"
        for at, phase in [*self.seen, (start + seconds, None)]:
            if phase != current:
                phases[current] = phases.get(current, 0) + at - since
                since, current = at, phase
        return phases
