"""Memory of a server that holds the records, after load, and what they take on the disk."""

import os

from ..systems import DATASET
from .get import gets, redis_gets


def measure(bench):
    # Both anew: what earlier measurements had either of them keep is not what the records take.
    bench.stop("tidetable", "redis")
    tidetable, redis = bench.tidetable(), bench.redis()
    seconds = max(5, bench.options.seconds)
    gets(bench, tidetable, 1, seconds)
    redis_gets(bench, redis, seconds)
    return {
        "tidetable_bytes": tidetable.process.anonymous_bytes(),
        "redis_bytes": redis.info("used_memory_rss"),
        "disk_bytes": disk_bytes(version_directory(tidetable.data)),
        "raw_bytes": bench.data().raw_bytes,
    }


def version_directory(data, version=1):
    return os.path.join(data, "datasets", DATASET, str(version))


def disk_bytes(directory):
    """What is allocated; a file with several names counts once."""
    found = {}
    for place, _, names in os.walk(directory):
        for name in names:
            about = os.lstat(os.path.join(place, name))
            found[about.st_ino] = about.st_blocks * 512
    return sum(found.values())
