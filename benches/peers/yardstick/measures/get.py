"""Single gets of random keys over HTTP, beside Redis GET and nginx with a fixed body.

wrk draws the same requests for Tidetable and nginx. Redis speaks its own protocol with its own
generator, so that only processor time per request compares."""

from ..bench import CONNECTIONS
from ..load import redis_benchmark, sample, whole, wrk
from ..systems import DATASET

PATH = f"/v1/datasets/{DATASET}/keys/learner:"
# More than a server answers in a second (110,000 have been reached): no prepared request is sent twice.
REQUESTS_PER_SECOND = 150_000


def measure(bench):
    tidetable, redis, nginx = bench.tidetable(), bench.redis(), bench.nginx()
    return bench.rounds({
        "tidetable": lambda number, seconds: gets(bench, tidetable, number, seconds),
        "nginx": lambda number, seconds: gets(bench, nginx, number, seconds),
        "redis": lambda number, seconds: redis_gets(bench, redis, seconds),
    })


def gets(bench, server, seed, seconds, suffix="", statuses_fail=True, cores=None, load_cores=None):
    """One round of wrk against a server. Every round draws other keys."""
    cores, load_cores = cores or bench.layout.server, load_cores or bench.layout.load
    requests = REQUESTS_PER_SECOND * whole(seconds)
    arguments = [PATH, suffix, bench.options.records, seed, requests]
    return sample(server.process, cores, lambda: wrk(
        server.url, "get.lua", arguments, load_cores, CONNECTIONS, seconds, statuses_fail))


def redis_gets(bench, redis, seconds):
    # It wants a number, not a time; this many take about as long.
    requests = int(80_000 * seconds)
    return sample(redis.process, bench.layout.server, lambda: redis_benchmark(
        redis.port, ["GET", "learner:__rand_int__"], bench.options.records, requests,
        bench.layout.load, CONNECTIONS))
