"""Load, and what it cost the server.

A sample is one round of one system: requests, seconds, latency percentiles as its load
generator saw them, and the processor time that the server spent, from /proc. `busy` is the
share of its cores' time that the server used: below about 0.97 it was the generator that could not
go faster, and requests/s say little about the server. Processor time per request does not
depend on that. `others` is what everything else on the machine used meanwhile: a measurement that
was disturbed shows it."""

import csv
import io
import json
import os
import queue
import subprocess
import threading
import time

from .errors import Failed
from .machine import used
from .processes import pinned

LUA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lua")


def sample(process, cores, load):
    """Runs `load`, which gives a dict with `requests`; adds what it cost `process`."""
    before = spent(process)
    start = time.monotonic()
    result = load()
    wall = time.monotonic() - start
    process.check()
    user, system, own, machine, stolen = (after - since for after, since in zip(spent(process), before))
    requests = result["requests"]
    if requests == 0:
        raise Failed(f"{process.name} answered nothing")
    # The generator's own start is no load.
    seconds = result.get("seconds", wall)
    return {
        **result,
        "rps": requests / seconds,
        "cpu_us": (user + system) / requests * 1e6,
        "user_us": user / requests * 1e6,
        "system_us": system / requests * 1e6,
        "busy": (user + system) / seconds / len(cores),
        # Of one core: what neither the server nor its load has spent.
        "others": max(0, machine - user - system - own) / wall,
        "stolen": stolen / wall,
    }


def spent(process):
    """Seconds: of the server, user and system; of this process and the generators it has waited
    for; of the machine; taken by its host."""
    times = os.times()
    return (*process.cpu(), sum(times[:4]), *used())


def wrk(url, script, arguments, cores, connections, seconds, statuses_fail=True):
    """wrk with one thread for each core, its requests drawn by a script."""
    command = pinned(cores, [
        "wrk", "-t", str(len(cores)), "-c", str(connections), "-d", f"{whole(seconds)}s", "--timeout", "10s",
        "-s", os.path.join(LUA, script), url, "--", *map(str, arguments)])
    done = subprocess.run(command, capture_output=True, text=True)
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0 or not last.startswith("{"):
        raise Failed(f"wrk did not run: {' '.join(command)}\n{done.stdout}{done.stderr}")
    found = json.loads(last)
    if found["socket_errors"] or (statuses_fail and found["not_2xx"]):
        raise Failed(f"{url}: {found['not_2xx']} answers were errors, {found['socket_errors']} did not come: {last}")
    return {
        "requests": found["requests"],
        "seconds": found["microseconds"] / 1e6,
        "p50_us": found["p50_us"],
        "p99_us": found["p99_us"],
        "not_2xx": found["not_2xx"],
    }


def whole(seconds):
    """How long wrk runs: it takes whole seconds, and one at least."""
    return max(1, round(seconds))


def redis_benchmark(port, command, keys, requests, cores, connections):
    """redis-benchmark without pipelining; it replaces every `__rand_int__` by a number of
    twelve digits below `keys`."""
    words = pinned(cores, [
        "redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-c", str(connections), "-n", str(requests),
        "-r", str(keys), "-P", "1", "--csv", "--precision", "3", *command])
    done = subprocess.run(words, capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if done.returncode != 0 or len(rows) != 1:
        raise Failed(f"redis-benchmark did not run: {' '.join(words[:16])} …\n{done.stdout}{done.stderr}")
    row = rows[0]
    return {
        "requests": requests,
        "seconds": requests / float(row["rps"]),
        "p50_us": float(row["p50_latency_ms"]) * 1000,
        "p99_us": float(row["p99_latency_ms"]) * 1000,
    }


class Lookups:
    """Lookups in process: a helper with a store open, which does a round when it is told to."""

    def __init__(self, command, cores):
        self.popen = subprocess.Popen(pinned(cores, list(map(str, command))), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.name = os.path.basename(command[0])
        self.answer()

    def answer(self):
        line = self.popen.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended: {self.popen.stderr.read()}")
        return json.loads(line)

    def round(self, keys, reading, lookups, seed):
        self.popen.stdin.write(f"{keys} {reading} {lookups} {seed}\n")
        self.popen.stdin.flush()
        found = self.answer()
        return {"per_second": found["lookups"] / found["seconds"], "ns": found["seconds"] / found["lookups"] * 1e9}

    def stop(self):
        self.popen.stdin.close()
        self.popen.wait()


class OpenLoop:
    """Gets at a set rate, or (`None`) as fast as they are answered, in named phases; see src/open_loop.rs."""

    def __init__(self, helper, server, path, rate, connections, keys, active, seed, cores):
        address = f"127.0.0.1:{server.port}"
        pace = "any" if rate is None else f"{rate:.1f}"
        words = [helper, "open-loop", address, path, pace, connections, keys, active, seed]
        self.popen = subprocess.Popen(pinned(cores, list(map(str, words))), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.phases, self.slices = queue.Queue(), {}, []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.popen.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def phase(self, name):
        """Begins a phase, and returns once it has begun."""
        self.popen.stdin.write(f"phase {name}\n")
        self.popen.stdin.flush()
        self.take(lambda line: line.get("begun") == name)

    def end(self):
        """Name → totals of all phases."""
        self.popen.stdin.write("end\n")
        self.popen.stdin.flush()
        self.take(lambda line: False)
        if self.popen.wait() != 0:
            raise Failed(f"the load ended early: {self.popen.stderr.read()}")
        return self.phases

    def take(self, until):
        while True:
            line = self.lines.get()
            if line is None:
                return
            if "phase" in line:
                self.phases[line.pop("phase")] = line
            elif "at" in line:
                self.slices.append(line)
            elif until(line):
                return

    def now(self):
        """Seconds since the load began, by its own slices."""
        return self.slices[-1]["at"] if self.slices else 0.0


def half_of(maximum, helper, targets, connections, keys, cores):
    """Half of what a server answers at most; less if the generator could not send that with ease to
    each of `targets` (server, path): from about two thirds of what it reaches on, its own waiting is
    what it would measure."""
    reached = []
    for server, path in targets:
        load = OpenLoop(helper, server, path, maximum, connections, keys, 1, 1, cores)
        load.phase("all it can")
        time.sleep(2)
        # What is still due when it ends is sent all the same.
        found = load.end()["all it can"]
        reached.append(found["requests"] / found["seconds"])
    return min(maximum / 2, min(reached) * 0.65)
