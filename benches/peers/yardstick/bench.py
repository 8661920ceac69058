"""What all measurements share: the records, the systems that hold them, the cores. Systems are
started when they are first asked for, on data of this run, and end with it."""

import os
import shutil

from . import client
from .data import Data, commands, key, require_disk
from .errors import Failed
from .machine import Layout
from .systems import DATASET, Nginx, Redis, Tidetable

CONNECTIONS = 32
# Of a core: what a machine that does nothing else uses all the same.
QUIET = 0.05


class Bench:
    def __init__(self, options, say):
        self.options, self.say = options, say
        self.out = options.out
        self.layout = Layout()
        # This process waits and looks on: not on the server's core.
        os.sched_setaffinity(0, self.layout.load)
        os.makedirs(self.out, exist_ok=True)
        require_disk(self.out, options.records)
        # What a run leaves behind is not taken for the next one's.
        self.scratch = os.path.join(self.out, "run")
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.makedirs(self.scratch)
        self.running = {}
        # What was measured in this run so far, by name: some compare with it.
        self.measured = {}
        self.pushed = self.pushed_again = False

    # Data

    def data(self):
        """What every system holds."""
        return self.rows(self.options.records, 1, ("ndjson", "parquet", "resp"))

    def rows(self, records, edition=1, forms=("ndjson",)):
        """Other records, for Tidetable alone."""
        return Data(self.options.helper, self.out, records, edition, forms, self.say)

    # Systems: one of each at a time, pinned to the server's core.

    def tidetable(self, threads=1, cores=None):
        """A server that serves the records, with so many threads."""
        cores = cores or self.layout.server
        self.push_once()
        return self.serve("tidetable", self.path("tidetable"), cores, threads)

    def serve(self, name, data, cores, threads, join=None):
        return self.start(name, (data, threads, tuple(cores), join), lambda: Tidetable(
            self.options.tidetable, data, cores, threads, self.path(f"{name}.log"), join))

    def redis(self):
        def started():
            self.say("loading Redis")
            redis = Redis(self.path("redis"), self.layout.server, self.path("redis.log"))
            redis.pipe(self.data().path("resp"), self.layout.load)
            return redis
        return self.start("redis", (), started)

    def nginx(self, workers=1, cores=None):
        cores = cores or self.layout.server
        return self.start("nginx", (workers, tuple(cores)), lambda: Nginx(
            self.path("nginx"), self.data().body, cores, workers, self.path("nginx.log")))

    def start(self, name, how, start):
        """What runs under this name already, if it was started in the same way."""
        if name in self.running:
            before, server = self.running[name]
            if before == how:
                server.process.check()
                return server
            self.stop(name)
        server = start()
        self.running[name] = how, server
        return server

    def stop(self, *names):
        for name in names or list(self.running):
            if name in self.running:
                self.running.pop(name)[1].stop()

    def path(self, *names):
        return os.path.join(self.scratch, *names)

    # Versions

    def push_once(self):
        """Pushes the records as version 1, on all cores, unless a measurement did already."""
        if self.pushed:
            return
        shutil.rmtree(self.path("tidetable"), ignore_errors=True)
        self.say("pushing")
        server = self.serve("tidetable", self.path("tidetable"), self.layout.all, None)
        client.push(server.port, DATASET, self.data().path("ndjson"))
        self.pushed = True
        self.check_values(server)

    def tidetable_with_two_versions(self):
        """The same server, with version 2 current: other values under the same keys."""
        self.push_once()
        if not self.pushed_again:
            self.say("pushing version 2")
            server = self.serve("tidetable", self.path("tidetable"), self.layout.all, None)
            client.push(server.port, DATASET, self.rows(self.options.records, 2).path("ndjson"))
            self.pushed_again = True
        return self.tidetable()

    def check_values(self, server):
        """A few keys: what is served is what Redis is given, byte for byte."""
        for name, given in commands(self.data().path("resp"), 50):
            found = client.value(server.port, DATASET, name.decode())
            if found != given:
                raise Failed(f"the value of {name.decode()} is not what was pushed: {found[:200]}, not {given[:200]}")

    def check_alike(self):
        """Tidetable and Redis answer the same, byte for byte; asked before anything is measured."""
        tidetable, redis = self.tidetable(), self.redis()
        step = max(1, self.options.records // 20)
        for number in range(0, self.options.records, step):
            ours, theirs = client.value(tidetable.port, DATASET, key(number)), redis.get(key(number))
            if ours != theirs:
                raise Failed(f"{key(number)}: Tidetable has {ours[:200]}, Redis {theirs[:200]}")

    # Rounds

    def rounds(self, systems, seconds=None, times=1):
        """Every system once in each round, in turn, in `times` as many rounds as asked for. `systems`: name →
        function that gives a sample. A short round that does not count goes before, so that nothing is measured
        cold. Name → samples."""
        samples = {name: [] for name in systems}
        for number in range(self.options.rounds * times + 1):
            for name, run in systems.items():
                length = seconds or self.options.seconds
                found = run(number, length if number else min(1, length))
                if number:
                    samples[name].append(found)
                    self.say(f"  round {number} {name}: {told(found)}")
        return samples


def told(found):
    """A sample in a few words, so that whoever waits sees something."""
    words = []
    if "per_second" in found:
        words.append(f"{found['per_second']:,.0f}/s")
    if "rps" in found:
        words.append(f"{found['rps']:,.0f}/s")
    if "cpu_us" in found:
        words.append(f"{found['cpu_us']:.2f} µs, busy {found['busy']:.0%}")
    if found.get("others", 0) + found.get("stolen", 0) > QUIET:
        words.append(f"DISTURBED: others used {found['others']:.0%} of a core, {found['stolen']:.0%} were taken by the host")
    if "p99_us" in found:
        words.append(f"p99 {found['p99_us']:,.0f} µs")
    return ", ".join(words)
