"""One file per question. Each has `measure(bench)`, which gives plain data for the raw results:
mostly name → samples, one sample for each round."""

from . import (absent, activate, batch, get, in_process, larger_than_memory, latency, memory, push, push_under_load,
               scale, stalls, swaps, threads)

# In the order they run: neighbours use the same servers.
NAMES = {
    "stalls": stalls,
    "push": push,
    "get": get,
    "latency": latency,
    "batch": batch,
    "absent": absent,
    "memory": memory,
    "threads": threads,
    "in-process": in_process,
    "activate": activate,
    "swaps": swaps,
    "push-under-load": push_under_load,
    "larger-than-memory": larger_than_memory,
    "scale": scale,
}

# Those that take long beside what a quick look wants to know.
NOT_QUICK = ("threads", "swaps", "push-under-load", "larger-than-memory")


def by_default(options):
    left_out = ((NOT_QUICK if options.quick else ()) + (() if options.full else ("scale",)))
    return [name for name in NAMES if name not in left_out]
