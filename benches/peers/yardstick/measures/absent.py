"""Gets of keys that are absent, in between those that are there, beside keys that are there.
Over HTTP; in process it is part of in-process."""

from ..errors import Failed
from .get import gets


def measure(bench):
    tidetable = bench.tidetable()
    return bench.rounds({
        "present": lambda number, seconds: gets(bench, tidetable, number, seconds),
        "absent": lambda number, seconds: absent(bench, tidetable, number, seconds),
    })


def absent(bench, tidetable, number, seconds):
    found = gets(bench, tidetable, number, seconds, suffix="x", statuses_fail=False)
    if found["not_2xx"] != found["requests"]:
        raise Failed(f"{found['requests'] - found['not_2xx']} absent keys were answered as if they were there")
    return found
