"""Latency of single gets at the same rate: Tidetable, nginx and Redis get the same number of requests
a second from the same generator, half of what Redis answers at most, or what the generator can.

When each is driven as fast as it goes, a system that answers more is busier, and waits longer; and
generators differ. Here nothing differs but the protocol and the server."""

import time

from ..errors import Failed
from ..load import OpenLoop, half_of, sample
from .get import CONNECTIONS, PATH, redis_gets

# Every key has the same chance.
ACTIVE = 1
PREFIX = "learner:"


def measure(bench):
    tidetable, redis, nginx = bench.tidetable(), bench.redis(), bench.nginx()
    redis_gets(bench, redis, 1)
    maximum = redis_gets(bench, redis, 3)["rps"]
    systems = {"tidetable": (tidetable, PATH), "nginx": (nginx, PATH), "redis": (redis, PREFIX)}
    rate = half_of(maximum, bench.options.helper, systems.values(), CONNECTIONS, bench.options.records, bench.layout.load)
    bench.say(f"  {rate:,.0f}/s; Redis answers {maximum:,.0f}/s at most")
    samples = bench.rounds({
        name: lambda number, seconds, server=server, path=path: gets(bench, server, path, rate, number, seconds)
        for name, (server, path) in systems.items()
    })
    return {"rate": rate, "maximum": maximum, "samples": samples}


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
