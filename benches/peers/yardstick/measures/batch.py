"""Batches of 100 random keys, values inline in JSON, beside Redis MGET of as many."""

from ..bench import CONNECTIONS
from ..errors import Failed
from ..load import redis_benchmark, sample, whole, wrk
from ..systems import DATASET

KEYS = 100
# Twice of what has been reached, so that no batch is sent twice: redis-benchmark draws its keys anew for
# each. One takes 2.4 kB of wrk's memory.
BATCHES_PER_SECOND = 15_000


def measure(bench):
    tidetable, redis = bench.tidetable(), bench.redis()
    return bench.rounds({
        "tidetable": lambda number, seconds: per_key(batches(bench, tidetable, number, seconds)),
        "redis": lambda number, seconds: per_key(mgets(bench, redis, seconds)),
    })


def batches(bench, server, seed, seconds):
    prepared = BATCHES_PER_SECOND * whole(seconds)
    arguments = [f"/v1/datasets/{DATASET}/batch-get", "learner:", bench.options.records, seed, prepared, KEYS]
    found = sample(server.process, bench.layout.server, lambda: wrk(
        server.url, "batch.lua", arguments, bench.layout.load, CONNECTIONS, seconds))
    refuse_repeats(found["requests"], prepared)
    return found


def refuse_repeats(answered, prepared):
    # Each connection may have one more under way.
    if answered + CONNECTIONS > prepared:
        raise Failed(f"of {prepared:,} prepared batches {answered:,} were answered, so that some were sent twice and "
                     "their keys were in the processor's caches: raise BATCHES_PER_SECOND in measures/batch.py")


def mgets(bench, redis, seconds):
    # It wants a number, not a time; this many take about as long.
    requests = int(7_000 * seconds)
    command = ["MGET", *["learner:__rand_int__"] * KEYS]
    return sample(redis.process, bench.layout.server, lambda: redis_benchmark(
        redis.port, command, bench.options.records, requests, bench.layout.load, CONNECTIONS))


def per_key(found):
    return {**found, "key_cpu_us": found["cpu_us"] / KEYS, "keys_per_second": found["rps"] * KEYS}
