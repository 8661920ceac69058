"""One section of the page for each measurement: its figures, what to make of them, and a chart.
Each function gives Markdown, and name → SVG of the charts it shows."""

from . import charts
from .stats import figure

SHOWN = {"tidetable": "Tidetable", "redis": "Redis", "nginx": "nginx, fixed body", "lmdb": "LMDB"}


def get(found):
    lines = ["## Single gets over HTTP\n",
             "| | processor time of a request | user | system | requests/s | p50 | p99 | busy |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {SHOWN[name]} | {cells(samples)} |" for name, samples in found.items()]
    lines.append("\n" + image("get.svg", "Processor time of a single get") + "\nThe darker part of a bar is user time, "
                 "the lighter one is system time: the kernel's work on sockets, the same for everybody. Latencies "
                 "of wrk and of redis-benchmark do not compare: wrk adds those of requests that it would have sent during a "
                 "stall, redis-benchmark does not. The next section has those of one generator.\n")
    rows = [cpu_bar(SHOWN[name], samples, name == "tidetable") for name, samples in found.items()]
    return "\n".join(lines), {"get.svg": charts.bars("Processor time of a single get", "µs, less is better", rows)}


def latency(found):
    lines = ["## Latency, from one generator\n",
             "As fast as each answers: 32 connections, each of which asks again as soon as it is answered.\n",
             *latencies(found["any_rate"]),
             f"\n{rate_of(found, ' of Redis')}, over 32 connections, whether they are answered or not; latency counts from "
             f"when a request was due. Medians of {len(found['samples']['tidetable'])} rounds.\n",
             *latencies(found["samples"])]
    lines.append("\n" + image("latency.svg", "p99 at the same rate"))
    rows = [bar(SHOWN[name], samples, "p99_us", name == "tidetable") for name, samples in found["samples"].items()]
    return "\n".join(lines), {"latency.svg": charts.bars("p99 of a single get at the same rate", "µs, less is better",
                                                        rows, ",.0f")}


def latencies(systems):
    yield "| | requests/s | p50 | p90 | p99 | p99.9 | processor time of a request | busy |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, samples in systems.items():
        times = " | ".join(f"{figure(samples, at):,.0f} µs" for at in ("p50_us", "p90_us", "p99_us", "p999_us"))
        yield (f"| {SHOWN[name]} | {figure(samples, 'rps'):,.0f} | {times} | {figure(samples, 'cpu_us'):.2f} µs | "
               f"{figure(samples, 'busy'):.0%} |")


def batch(found):
    lines = ["## Batches of 100 keys\n", "| | processor time of a key | keys/s | p50 of a batch | p99 of a batch | busy |",
             "|---|---|---|---|---|---|"]
    for name, samples in found.items():
        lines.append(f"| {SHOWN[name]} | {figure(samples, 'key_cpu_us'):.2f} µs | {figure(samples, 'keys_per_second'):,.0f}"
                     f" | {figure(samples, 'p50_us'):,.0f} µs | {figure(samples, 'p99_us'):,.0f} µs"
                     f" | {figure(samples, 'busy'):.0%} |")
    lines.append("\n" + image("batch.svg", "Processor time of a key in a batch of 100"))
    rows = [bar(SHOWN[name], samples, "key_cpu_us", name == "tidetable") for name, samples in found.items()]
    return "\n".join(lines), {"batch.svg": charts.bars("Processor time of a key in a batch of 100",
                                                       "µs, less is better", rows, ",.2f")}


def in_process(found):
    lines = ["## Lookups in process\n",
             "`snapshot.get` in one thread, beside LMDB in one read transaction. LMDB gives a pointer into its map, so "
             "a value that nobody reads costs it nothing; Tidetable has checked what it gives. *Length* looks at "
             "the value's length only, *bytes* reads it from end to end.\n",
             "| keys | read | Tidetable | LMDB |", "|---|---|---|---|"]
    rows = []
    for keys, reading in (("present", "length"), ("present", "bytes"), ("absent", "length")):
        ours, lmdb = found[f"tidetable {keys} {reading}"], found[f"lmdb {keys} {reading}"]
        lines.append(f"| {keys} | {reading if keys == 'present' else '–'} | {figure(ours, 'per_second'):,.0f}/s | "
                     f"{figure(lmdb, 'per_second'):,.0f}/s |")
        what = f"{keys}, {reading}" if keys == "present" else keys
        rows += [thousand_bar(f"Tidetable: {what}", ours, True), thousand_bar(f"LMDB: {what}", lmdb, False)]
    lines.append("\n" + image("in-process.svg", "Lookups in one thread"))
    return "\n".join(lines), {"in-process.svg": charts.bars("Lookups in one thread", "thousands a second, more is better",
                                                            rows, ",.0f")}


def absent(found):
    lines = ["## Absent keys over HTTP\n",
             "Keys in between those that are there; the answer is a 404 with its problem document.\n",
             "| | processor time of a request | user | system | requests/s | p50 | p99 | busy |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {name} | {cells(samples)} |" for name, samples in found.items()]
    return "\n".join(lines) + "\n", {}


def threads(found):
    lines = ["## Two serving threads\n",
             "What nginx grows by, with two workers that share nothing, is the price of the arrangement: most of all "
             "where server and load have to share two cores. Each server is started anew for each round, and asked for a "
             "second before it.\n",
             "| | processor time of a request | user | system | requests/s | p50 | p99 | busy |",
             "|---|---|---|---|---|---|---|---|"]
    lines += [f"| {name} | {cells(samples)} |" for name, samples in found.items()]
    return "\n".join(lines) + "\n", {}


def push(found):
    lines = ["## Pushes\n",
             "From the first byte sent to the answer that the version is served: received, sorted, written, fsynced, read "
             "back and verified, swapped in. Redis keeps the same records in memory and nowhere else.\n",
             "| | seconds | where they go |", "|---|---|---|"]
    shown = {"ndjson": "Tidetable, NDJSON", "parquet": "Tidetable, Parquet", "redis": "redis-cli --pipe"}
    for name, samples in found.items():
        phases = samples[-1].get("phases", {})
        spent = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in phases.items())
        lines.append(f"| {shown[name]} | {figure(samples, 'seconds'):.2f} | {spent or '–'} |")
    lines.append("\n" + image("push.svg", "Loading all records"))
    rows = [bar(shown[name], samples, "seconds", name != "redis") for name, samples in found.items()]
    return "\n".join(lines), {"push.svg": charts.bars("Loading all records", "seconds, less is better", rows, ",.1f")}


def memory(found):
    raw = found["raw_bytes"] / 1e6
    rows = [("Tidetable: memory", (found["tidetable_bytes"] / 1e6,), None, None, True),
            ("Redis: memory", (found["redis_bytes"] / 1e6,), None, None, False),
            ("Tidetable: disk", (found["disk_bytes"] / 1e6,), None, None, True),
            ("keys and values", (raw,), None, None, False)]
    words = ("## Memory and disk\n\nAnonymous memory of Tidetable's server (`RssAnon`) and `used_memory_rss` of Redis, "
             "after load. The version's files are read through the page cache, which the kernel takes back when "
             "others need it.\n\n" + image("memory.svg", "Memory and disk"))
    return words, {"memory.svg": charts.bars("Memory and disk", "MB, less is better", rows, ",.0f")}


def activate(found):
    lines = ["## Activating and rolling back\n",
             "Two versions, both warmed, nothing else going on. Connections that were open all along read the new "
             "version at once after each answer.\n", "| | milliseconds |", "|---|---|"]
    lines += [f"| {name} | {figure(samples, 'ms'):.2f} |" for name, samples in found.items()]
    return "\n".join(lines) + "\n", {}


def swaps(found):
    begin, end = 10, found["slices"][-1]["at"]
    words = (f"## Swaps under load\n\n{rate_of(found)}, whether they are answered "
             f"or not, of few hot keys and many cold ones; 30 activations and 10 rollbacks. The server may use "
             f"{found['limit_bytes'] / 1e6:,.0f} MB, page cache included ({found['limit_kind']}): less than the two versions "
             f"together.\n\n" + phases(found["phases"], ("before", "during")) + "\n" + image("swaps.svg", "p99 during swaps"))
    points = [(at["at"], at["p99_us"]) for at in found["slices"] if at["requests"]]
    during = found["changes"][0]["at"]
    chart = charts.timeline("p99 of gets while versions are swapped",
                            "µs in each quarter of a second; a yellow line is a swap; red: 1.5 times of before", points,
                            [change["at"] for change in found["changes"]],
                            [("before", begin, during), ("during", during, end)], found["phases"]["before"]["p99_us"] * 1.5)
    return words, {"swaps.svg": chart}


def push_under_load(found):
    took = (f"It took {found['push_seconds']:.1f} s" if found["finished"] else
            f"It **had not ended** after {found['push_seconds']:.0f} s, when the measurement was given up")
    alone = f"{took}; the same push without load took {found['alone_seconds']:.1f} s. Latencies are of all that time."
    words = (f"## A push under load\n\n{rate_of(found)}, while all records are pushed "
             f"(NDJSON, not activated). Serving, receiving, sorting and writing share one core. {alone}\n\n" +
             phases(found["phases"], ("before", "during")) + "\n" + image("push-under-load.svg", "p99 during a push"))
    points = [(at["at"], at["p99_us"]) for at in found["slices"] if at["requests"]]
    chart = charts.timeline("p99 of gets while a push runs", "µs in each quarter of a second; red: twice of before", points,
                            [], [("push", found["began"], found["ended"])], found["phases"]["before"]["p99_us"] * 2)
    return words, {"push-under-load.svg": chart}


def larger_than_memory(found):
    uniform = found["uniform"]
    lines = ["## Larger than memory\n",
             f"{found['records']:,} records, {found['bytes'] / 1e6:,.0f} MB on the disk; the server may use "
             f"{found['limit_bytes'] / 1e6:,.0f} MB, page cache included ({found['limit_kind']}). Gets of any key, 32 "
             f"connections: {figure(uniform, 'rps'):,.0f}/s, p50 {figure(uniform, 'p50_us'):,.0f} µs, p99 "
             f"{figure(uniform, 'p99_us'):,.0f} µs; {figure(uniform, 'disk_bytes'):,.0f} bytes are read from the disk for each.\n",
             "Gets of a thousand neighbouring keys that are in memory, alone, and while others ask for any key at "
             f"{found['cold']['rate']:,.0f}/s:\n", phases(found["hot"], ("alone", "with cold"))]
    return "\n".join(lines), {}


def scale(found):
    lines = ["## Ten times the records\n", "| | " + " | ".join(f"{n:,} records" for n in found["records"].values()) + " |",
             "|---|---|---|"]
    pairs = [("get over HTTP, processor time", "get", "cpu_us", ".2f", "µs"),
             ("get in process", "in_process", "ns", ",.0f", "ns"), ("start until ready", "open", "seconds", ".2f", "s")]
    for shown, measure, name, form, unit in pairs:
        values = [format(figure(found[measure][size], name), form) + f" {unit}" for size in ("small", "large")]
        lines.append(f"| {shown} | {' | '.join(values)} |")
    shown = (f"{figure(found['push'][size], 'seconds'):.1f} s" for size in ("small", "large"))
    lines.append(f"| push | {' | '.join(shown)} |\n")
    return "\n".join(lines), {}


OF = {
    "get": get, "latency": latency, "batch": batch, "in-process": in_process, "absent": absent, "threads": threads,
    "push": push, "memory": memory, "scale": scale, "larger-than-memory": larger_than_memory, "activate": activate, "swaps": swaps,
    "push-under-load": push_under_load,
}


def rate_of(found, whose=""):
    share = found["rate"] / found["maximum"]
    bound = f"half of the maximum{whose}" if share > 0.49 else (
        f"{share:.0%} of the maximum{whose} (all that the generator can send from its core with ease)")
    return f"{found['rate']:,.0f} gets a second, {bound}"


def cells(samples):
    found = [f"{figure(samples, name):.2f} µs" for name in ("cpu_us", "user_us", "system_us")]
    found += [f"{figure(samples, 'rps'):,.0f}"]
    found += [f"{figure(samples, name):,.0f} µs" for name in ("p50_us", "p99_us")]
    return " | ".join([*found, f"{figure(samples, 'busy').median:.0%}"])


def phases(found, names):
    lines = ["| | requests | errors | p50 | p99 | p99.9 | most |", "|---|---|---|---|---|---|---|"]
    for name in names:
        at = found[name]
        values = " | ".join(f"{at[what]:,.0f} µs" for what in ("p50_us", "p99_us", "p999_us", "max_us"))
        lines.append(f"| {name} | {at['requests']:,} | {at['errors']} | {values} |")
    return "\n".join(lines) + "\n"


def image(file, words):
    return f"![{words}](benchmarks/{file})\n"


def bar(name, samples, what, ours):
    found = figure(samples, what)
    return name, (found.median,), found.least, found.most, ours


def thousand_bar(name, samples, ours):
    found = figure(samples, "per_second").scaled(1e-3)
    return name, (found.median,), found.least, found.most, ours


def cpu_bar(name, samples, ours):
    found = figure(samples, "cpu_us")
    user, system = figure(samples, "user_us").median, figure(samples, "system_us").median
    share = found.median / (user + system)
    return name, (user * share, system * share), found.least, found.most, ours
