"""Batches of 100 random keys, values inline in JSON, beside Redis MGET of as many."""

from ..bench import CONNECTIONS
from ..load import redis_benchmark, sample, wrk
from ..systems import DATASET

KEYS = 100
# A batch of a hundred keys takes a while to write out; these are sent again and again.
BATCHES = 6_000


def measure(bench):
    tidetable, redis = bench.tidetable(), bench.redis()
    return bench.rounds({
        "tidetable": lambda number, seconds: per_key(batches(bench, tidetable, number, seconds)),
        "redis": lambda number, seconds: per_key(mgets(bench, redis, seconds)),
    })


def batches(bench, server, seed, seconds):
    arguments = [f"/v1/datasets/{DATASET}/batch-get", "learner:", bench.options.records, seed, BATCHES, KEYS]
    return sample(server.process, bench.layout.server, lambda: wrk(
        server.url, "batch.lua", arguments, bench.layout.load, CONNECTIONS, seconds))


def mgets(bench, redis, seconds):
    requests = int(5_000 * seconds)
    command = ["MGET", *["learner:__rand_int__"] * KEYS]
    return sample(redis.process, bench.layout.server, lambda: redis_benchmark(
        redis.port, command, bench.options.records, requests, bench.layout.load, CONNECTIONS))


def per_key(found):
    return {**found, "key_cpu_us": found["cpu_us"] / KEYS, "keys_per_second": found["rps"] * KEYS}
