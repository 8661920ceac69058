"""Latency of single gets, with one generator for Tidetable, nginx and Redis, so that nothing differs but
the protocol and the server: as fast as each answers, and at the same rate, half of what Redis
answers at most, or what the generator can.

wrk and redis-benchmark do not compare. wrk adds to what it has measured the latencies of requests that it
would have sent during a stall (`stats_correct` in its `src/wrk.c`); redis-benchmark adds none."""

import time

from ..errors import Failed
from ..load import OpenLoop, half_of, sample
from .get import CONNECTIONS, PATH, redis_gets

# Every key has the same chance.
ACTIVE = 1
# At half of the load one request in a hundred is late only because the machine stood still, a few
# times a second: it takes many rounds until all have had their share of that.
TIMES_AT_RATE = 3
PREFIX = "learner:"


def measure(bench):
    tidetable, redis, nginx = bench.tidetable(), bench.redis(), bench.nginx()
    redis_gets(bench, redis, 1)
    maximum = redis_gets(bench, redis, 3)["rps"]
    systems = {"tidetable": (tidetable, PATH), "nginx": (nginx, PATH), "redis": (redis, PREFIX)}
    rate = half_of(maximum, bench.options.helper, systems.values(), CONNECTIONS, bench.options.records, bench.layout.load)
    bench.say("  as fast as each answers")
    any_rate = rounds(bench, systems, None)
    bench.say(f"  {rate:,.0f}/s; Redis answers {maximum:,.0f}/s at most")
    return {"rate": rate, "maximum": maximum, "any_rate": any_rate, "samples": rounds(bench, systems, rate, TIMES_AT_RATE)}


def rounds(bench, systems, rate, times=1):
    return bench.rounds({
        name: lambda number, seconds, server=server, path=path: gets(bench, server, path, rate, number, seconds)
        for name, (server, path) in systems.items()
    }, times=times)


def gets(bench, server, path, rate, seed, seconds):
    load = OpenLoop(bench.options.helper, server, path, rate, CONNECTIONS, bench.options.records, ACTIVE, seed,
                    bench.layout.load)
    load.phase("warm")
    time.sleep(0.5)
    load.phase("round")

    def round_of_gets():
        time.sleep(seconds)
        found = load.end()["round"]
        if found["errors"]:
            raise Failed(f"{server.process.name}: {found['errors']} gets failed: {found['error']}")
        return found
    return sample(server.process, bench.layout.server, round_of_gets)
