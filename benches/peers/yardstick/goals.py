"""Results against what was set out to reach. Each row compares figures that were measured in the
same run, round by round where there are rounds; its verdict is that of the median."""

from .stats import Figure, figure, ratio

MET, NOT_MET, NOT_HERE, FAILED = "met", "**not met**", "not measured here", "**failed**"


class Row:
    """What was measured of Tidetable, what beside it, the figure that the goal is about."""

    def __init__(self, work, ours, theirs, compared, goal, verdict):
        self.work, self.ours, self.theirs = work, ours, theirs
        self.compared, self.goal, self.verdict = compared, goal, verdict


def at_most(work, ours, theirs, compared, limit, unit="×", form=".2f"):
    met = compared.median <= limit
    return Row(work, ours, theirs, f"{compared:{form}}{unit}", f"≤ {limit:g}{unit}", MET if met else NOT_MET)


def at_least(work, ours, theirs, compared, limit, unit="×", form=".2f"):
    met = compared.median >= limit
    return Row(work, ours, theirs, f"{compared:{form}}{unit}", f"≥ {limit:g}{unit}", MET if met else NOT_MET)


def get(found):
    ours, redis, nginx = found["tidetable"], found["redis"], found["nginx"]
    yield at_most("get over HTTP: processor time of a request", micros(ours, "cpu_us"),
                  "Redis GET " + micros(redis, "cpu_us"), ratio(ours, redis, "cpu_us"), 1.0)
    yield at_least("get over HTTP: requests/s", count(ours, "rps"), "nginx, fixed body " + count(nginx, "rps"),
                   ratio(ours, nginx, "rps"), 0.8)


def latency(found):
    for samples, how in ((found["any_rate"], "as fast as each answers"), (found["samples"], f"both at {found['rate']:,.0f}/s")):
        ours, redis = samples["tidetable"], samples["redis"]
        yield at_most(f"get over HTTP, one generator, {how}: p99", micros(ours, "p99_us", ",.0f"),
                      "Redis GET " + micros(redis, "p99_us", ",.0f"), ratio(ours, redis, "p99_us"), 1.0)


def batch(found):
    ours, redis = found["tidetable"], found["redis"]
    yield at_most("batch of 100: processor time of a key", micros(ours, "key_cpu_us"),
                  "Redis MGET " + micros(redis, "key_cpu_us"), ratio(ours, redis, "key_cpu_us"), 1.0)


def in_process(found):
    ours, lmdb = found["tidetable present length"], found["lmdb present length"]
    yield at_least("get in process: lookups/s in one thread", count(ours, "per_second"),
                   "LMDB " + count(lmdb, "per_second"), ratio(ours, lmdb, "per_second"), 1.3)
    absent = found["tidetable absent length"]
    yield at_most("absent key in process: time of a lookup", nanos(absent, "ns"),
                  "present key " + nanos(ours, "ns"), ratio(absent, ours, "ns"), 1.0)


def absent(found):
    absent, present = found["absent"], found["present"]
    yield at_most("absent key over HTTP: processor time of a request", micros(absent, "cpu_us"),
                  "present key " + micros(present, "cpu_us"), ratio(absent, present, "cpu_us"), 1.0)


def threads(found):
    ours = ratio(found["tidetable two"], found["tidetable one"], "cpu_us")
    nginx = ratio(found["nginx two"], found["nginx one"], "cpu_us")
    yield at_most("two serving cores: processor time of a request, beside one core",
                  micros(found["tidetable two"], "cpu_us"), f"one core {micros(found['tidetable one'], 'cpu_us')}; "
                  f"nginx grows {nginx:.2f}×", ours, 1.1)


def push(found):
    redis = found["redis"]
    for name, shown in (("ndjson", "NDJSON"), ("parquet", "Parquet")):
        yield at_most(f"push of all records, {shown}", seconds(found[name]), "redis-cli --pipe " + seconds(redis),
                      ratio(found[name], redis, "seconds"), 0.7)


def memory(found):
    megabytes = Figure([found["tidetable_bytes"] / 1e6])
    yield at_most("anonymous memory after load", f"{megabytes:.0f} MB", f"Redis {found['redis_bytes'] / 1e6:,.0f} MB",
                  megabytes, 150, " MB", ".0f")
    disk = Figure([found["disk_bytes"] / found["raw_bytes"]])
    yield at_most("disk, beside the raw bytes", f"{found['disk_bytes'] / 1e6:,.0f} MB",
                  f"keys and values {found['raw_bytes'] / 1e6:,.0f} MB", disk, 0.35)


def activate(found):
    for name, shown in (("activate", "activating a warmed version"), ("rollback", "rolling back")):
        slowest = Figure([max(sample["ms"] for sample in found[name])])
        yield at_most(f"{shown}, from request to answer, at most", f"{figure(found[name], 'ms'):.1f} ms", "–", slowest, 50,
                      " ms", ".1f")


def swaps(found):
    before, during = found["phases"]["before"], found["phases"]["during"]
    errors = Figure([during["errors"]])
    yield at_most("30 swaps and 10 rollbacks under load: errors", f"{during['errors']} of {during['requests']:,}", "–",
                  errors, 0, "", ".0f")
    yield from compared("30 swaps and 10 rollbacks under load", before, during, (("p99", "p99_us", 1.5), ("p99.9", "p999_us", 3)))


def push_under_load(found):
    before, during = found["phases"]["before"], found["phases"]["during"]
    errors = Figure([during["errors"]])
    yield until_it_ended(found)
    rows = [at_most("a push under load: errors", f"{during['errors']} of {during['requests']:,}", "–", errors, 0, "", ".0f"),
            *compared("a push under load", before, during, (("p99", "p99_us", 2),))]
    for row in rows:
        # Beside a push that gets no turn, gets look best: that meets no goal.
        if not found["finished"]:
            row.verdict, row.compared = NOT_MET, f"{row.compared}, but the push did not end"
        yield row


def until_it_ended(found):
    work, goal = "a push under load: time until it has ended", f"≤ {found['at_most']:g} s"
    took, alone = found["push_seconds"], found["alone_seconds"]
    beside = f"without load {alone:.1f} s"
    if not found["finished"]:
        return Row(work, f"not ended after {took:.0f} s{at_what(found['progress'])}", beside, "–", goal, NOT_MET)
    return Row(work, f"{took:.1f} s", beside, f"{took / alone:.1f}×", goal, MET)


def at_what(progress):
    """What an unfinished push was at, as far as the server told."""
    phase = (progress or {}).get("phase")
    return f" ({phase})" if phase else ""


def compared(work, before, during, limits):
    for shown, name, limit in limits:
        yield at_most(f"{work}: {shown}", f"{during[name]:,.0f} µs", f"before {before[name]:,.0f} µs",
                      Figure([during[name] / before[name]]), limit)


def larger_than_memory(found):
    uniform = found["uniform"]
    yield Row("four times larger than memory: gets of any key", f"{count(uniform, 'rps')}/s",
              f"p99 {micros(uniform, 'p99_us', ',.0f')}", "–", "in the table", "–")
    alone, cold = found["hot"]["alone"], found["hot"]["with cold"]
    errors = cold["errors"] + found["cold"]["errors"]
    yield at_most("four times larger than memory: p50 of keys in memory while others read from the disk", f"{cold['p50_us']:,.0f} µs",
                  f"alone {alone['p50_us']:,.0f} µs", Figure([cold["p50_us"] / alone["p50_us"]]), 2)
    yield at_most("four times larger than memory: errors", f"{errors}", "–", Figure([errors]), 0, "", ".0f")


def scale(found):
    for name, shown, unit in (("get", "a get over HTTP, processor time", "cpu_us"),
                              ("in_process", "a get in process, time", "ns")):
        small, large = found[name]["small"], found[name]["large"]
        form = micros if unit == "cpu_us" else nanos
        yield at_most(f"ten times the records: {shown}", form(large, unit), form(small, unit),
                      ratio(large, small, unit), 1.3)
    small, large = found["push"]["small"], found["push"]["large"]
    yield at_most("ten times the records: push, time of a record", micros(large, "record_us"), micros(small, "record_us"),
                  Figure([figure(large, "record_us").median / figure(small, "record_us").median]), 1.2)
    opened = figure(found["open"]["large"], "seconds")
    yield at_most("ten times the records: start until ready", f"{opened:.2f} s",
                  f"{figure(found['open']['small'], 'seconds'):.2f} s", opened, 1, " s")


# In the order of the table.
OF = {
    "get": get, "latency": latency, "batch": batch, "in-process": in_process, "absent": absent, "threads": threads, "push": push,
    "memory": memory, "scale": scale, "larger-than-memory": larger_than_memory, "activate": activate,
    "swaps": swaps, "push-under-load": push_under_load,
}


def rows(results):
    """All rows; what failed, or cannot be measured here, has one that says so."""
    made = []
    for name, make in OF.items():
        if name in results["measures"]:
            made += make(results["measures"][name])
        elif name in results["failed"]:
            made.append(Row(name, "–", "–", "–", "–", FAILED))
        elif name in results["not_here"]:
            made.append(Row(name, "–", "–", "–", "–", NOT_HERE))
    return made


def micros(samples, name, form=".2f"):
    return f"{figure(samples, name):{form}} µs"


def nanos(samples, name):
    return f"{figure(samples, name):,.0f} ns"


def count(samples, name):
    return f"{figure(samples, name):,.0f}"


def seconds(samples):
    return f"{figure(samples, 'seconds'):.2f} s"
