"""The table on the terminal, and docs/benchmarks.md with its charts: all of it made from the raw
results, so that the page cannot say anything else than the run did."""

import os
import shutil
from statistics import median

from . import goals, sections
from .bench import QUIET
from .measures import stalls
from .stats import figure, spread

TITLE = """\
# Benchmarks

<!-- Written by `make bench-peers BENCH_FLAGS=--full`: do not edit. -->

How fast Tidetable is beside what users would pick instead. Redis loaded by a script is what it
replaces; nginx with a fixed body is as fast as HTTP gets; LMDB is an embedded store without a
server. Every system was measured **in the same run, in turn**, with its default settings, over the
same records. `make bench-peers BENCH_FLAGS=--full` makes this page anew.

Absolute figures say something about the machine. **Ratios** say something about the programs, and
**processor time per request** is the fairest of them: it does not depend on how busy a load
generator keeps a server.
"""

METHOD = """\
## How it was measured

- **Data.** {records:,} records: ten recommendations for a learner in {median} bytes of JSON
  (median; {shortest} to {longest}), keys of 20 bytes, `learner:000000000042`. Courses are drawn
  by popularity. Tidetable is given them as rows in no order, Redis as the same bytes. {raw:,.0f} MB
  of keys and values. A few keys are compared between the two, byte for byte, before anything is measured.
- **Cores.** The server has core {server} and the load core {load}, by `taskset`.
- **Rounds.** {rounds} rounds of {seconds:g} s, every system once in each round, after one short round
  that does not count. A figure is the median of the rounds, with the least and the most in
  brackets; a ratio is taken round by round.
- **Keys.** Each request asks for a random key of all there are, and every round draws others: more keys
  than any processor's cache holds.
- **Load.** 32 connections that are kept open, each with one request under way. `wrk` asks Tidetable and
  nginx for the same paths; its script only walks through requests that were written out before, more of
  them than a round sends, batches too. Redis has `redis-benchmark`, which draws keys as it goes, without
  pipelining, as its clients ask for single keys.
- **Processor time** is user and system time of the server's process and its threads and children, from
  `/proc/PID/stat`, divided by the requests of the round. *Busy* is the share of its core that it
  used: where that is below 97 %, the generator was the limit, and requests/s is less than the server can do.
- **Settings.** Tidetable: none but the number of serving threads; every record is compared with its checksum when it is read. Redis: no
  persistence. nginx: one worker, no log. LMDB (crate `heed`): filled in key order, one read transaction, no
  read-ahead.
- **Latency at the same rate, and under changes**, comes from a generator that sends at a set rate whether
  answers come or not, and counts from when a request was due, so that a stall is not hidden by the requests it delays.
  The same generator asks all three as fast as they answer. At the same rate there are three times as many rounds: a stall of the
  machine, which is what p99 is made of there, is too rare for few.
"""


def table_for_terminal(rows):
    lines = []
    for row in rows:
        verdict = row.verdict.replace("**", "").upper() if "**" in row.verdict else row.verdict
        lines += [f"{row.work}", f"    {row.ours}   beside {row.theirs}",
                  f"    {row.compared}   goal {row.goal}: {verdict}"]
    met = sum(row.verdict == goals.MET for row in rows)
    judged = sum(row.verdict in (goals.MET, goals.NOT_MET, goals.FAILED) for row in rows)
    return "\n".join([*lines, "", f"{met} of {judged} goals met"])


def write(results, where):
    charts = os.path.join(where, "benchmarks")
    shutil.rmtree(charts, ignore_errors=True)
    os.makedirs(charts)
    text = [TITLE, partial(results), warning(results), table(results), notes(results)]
    for name, make in sections.OF.items():
        if name in results["measures"]:
            words, drawn = make(results["measures"][name])
            text.append(words)
            for file, svg in drawn.items():
                with open(os.path.join(charts, file), "w", encoding="utf-8") as out:
                    out.write(svg)
    text += [machine(results["about"]), method(results["about"]), noise(results)]
    with open(os.path.join(where, "benchmarks.md"), "w", encoding="utf-8") as out:
        out.write("\n".join(part for part in text if part))


def partial(results):
    if results["about"]["complete"]:
        return ""
    return ("> This run measured a part only (" + ", ".join(results["about"]["selected"]) +
            (", with `--quick`" if results["about"]["quick"] else "") + ").\n")


def warning(results):
    names = disturbed(results)
    return "" if not names else (
        f"> Something else used this machine while {', '.join(names)} ran: measure again when nothing does.\n")


def table(results):
    lines = ["## The goals\n", "| work | Tidetable | beside | compared | goal | |", "|---|---|---|---|---|---|"]
    lines += [f"| {row.work} | {row.ours} | {row.theirs} | {row.compared} | {row.goal} | {row.verdict} |"
              for row in goals.rows(results)]
    return "\n".join(lines) + "\n"


def notes(results):
    lines = [f"- `{name}` is not measured here: {why}." for name, why in results["not_here"].items()]
    lines += [f"- `{name}` **failed**: {why.splitlines()[0]}" for name, why in results["failed"].items()]
    return "\n".join(lines) + "\n" if lines else ""


def machine(about):
    found = about["machine"]
    programs = ", ".join(f"{name} {version}" for name, version in found["programs"].items())
    virtual = " (a virtual machine: others may share it)" if found["virtual"] else ""
    governor = f", governor {found['governor']}" if found["governor"] else ""
    shared = "" if not about["two_share"] else (
        " With two cores in all, two serving threads share them with their load.")
    return f"""\
## The machine

{found['processor']}{virtual}, cores used: {found['cores']}, last-level cache {found['cache'] or 'unknown'}{governor}; \
{found['memory_bytes'] / 2**30:.0f} GiB of memory; {found['system']}, Linux {found['kernel']}. {programs}\
{', commit ' + found['commit'] if found['commit'] else ''}. Measured {about['began']}, in \
{about['seconds'] / 60:.0f} minutes.{shared}
"""


def method(about):
    data = about["data"]
    return METHOD.format(
        records=about["records"], median=data["median_value"], shortest=data["shortest_value"],
        longest=data["longest_value"], raw=(data["key_bytes"] + data["value_bytes"]) / 1e6,
        server=about["server_cores"][0], load=about["load_cores"][0], rounds=about["rounds"],
        seconds=about["seconds_of_a_round"])


def noise(results):
    lines = ["## The noise\n", "How far the rounds of one system lie apart, as a share of their median: differences "
             "smaller than this mean nothing. *Others* is what everything else on the machine used meanwhile, as a share of "
             "one core, and what the host of a virtual machine took.\n",
             "| | processor time | requests/s | p99 | busy | others |", "|---|---|---|---|---|---|"]
    for measure in ("get", "batch", "absent", "threads"):
        for name, samples in results["measures"].get(measure, {}).items():
            shares = [f"{spread(figure(samples, what)):.0%}" for what in ("cpu_us", "rps", "p99_us")]
            others = median(sample["others"] + sample["stolen"] for sample in samples)
            lines.append(f"| {measure}, {name} | {' | '.join(shares)} | {figure(samples, 'busy').median:.0%} | {others:.0%} |")
    text = "\n".join(lines) + "\n" if len(lines) > 4 else ""
    found = results["measures"].get("stalls")
    return text if found is None else f"{text}\n{of_the_machine(found)}"


def of_the_machine(found):
    return ("The machine stands still by itself. Before any server ran, a program that does nothing but look at the clock was, on the "
            f"core of the servers, {stalls.words(found['server'])}. On that of the load it was {stalls.words(found['load'])}. "
            "These two times would be p99 and p99.9 of a server that takes no time at all.\n")


def disturbed(results):
    """Measurements during which others used the machine, for a warning."""
    found = []
    for name, measure in results["measures"].items():
        others = [sample["others"] + sample["stolen"] for sample in samples_in(measure)]
        if others and median(others) > QUIET:
            found.append(name)
    return found


def samples_in(measure):
    """Those that know what others used, however deep they lie in what was measured."""
    if isinstance(measure, dict):
        if "others" in measure:
            yield measure
        measure = measure.values()
    elif not isinstance(measure, list):
        return
    for part in measure:
        yield from samples_in(part)
