"""One run, from the options to the page."""

import json
import os
import sys
import time
import traceback

from . import bench as benches
from . import goals, machine, measures, options, page
from .errors import Failed, NotHere, Unusable

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, "docs")


def run(arguments):
    chosen = options.parse(arguments)
    started = time.monotonic()

    def say(text):
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        print(f"{minutes:3d}:{seconds:02d} {text}", file=sys.stderr, flush=True)

    try:
        bench = benches.Bench(chosen, say)
    except Unusable as problem:
        return fail(problem)
    results = {"about": about(chosen, bench), "measures": bench.measured, "not_here": {}, "failed": {}}
    try:
        # Figures of systems that answer differently would mean nothing.
        bench.check_alike()
        for name in chosen.selected:
            measure(name, bench, results, say)
            results["about"]["seconds"] = time.monotonic() - started
            save(chosen.out, results)
    except (Failed, Unusable) as problem:
        return fail(problem)
    finally:
        bench.stop()
    return tell(results, chosen)


def measure(name, bench, results, say):
    """A failure is said now, stands in the table, and makes the whole run end with an error;
    the other measurements are made all the same."""
    say(f"{name}: {first_sentence(measures.NAMES[name])}")
    try:
        results["measures"][name] = measures.NAMES[name].measure(bench)
    except NotHere as why:
        results["not_here"][name] = str(why)
        say(f"{name} is not measured here: {why}")
    except Exception as problem:  # a mistake in one measurement must not lose the others
        expected = isinstance(problem, (Failed, Unusable))
        results["failed"][name] = str(problem) if expected else repr(problem)
        say(f"{name} FAILED: {problem if expected else traceback.format_exc()}")
        # Whatever state its servers are in, the next measurement gets new ones.
        bench.stop()


def about(chosen, bench):
    return {
        "machine": machine.describe(chosen.tidetable),
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "data": bench.data().about,
        "records": chosen.records,
        "rounds": chosen.rounds,
        "seconds_of_a_round": chosen.seconds,
        "quick": chosen.quick,
        "complete": chosen.complete,
        "selected": chosen.selected,
        "server_cores": bench.layout.server,
        "load_cores": bench.layout.load,
        "two_share": bench.layout.two_share,
    }


def save(out, results):
    path = os.path.join(out, "results.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    os.replace(path + ".new", path)


def tell(results, chosen):
    """The table, for whoever waited, and the page."""
    print(page.table_for_terminal(goals.rows(results)))
    if page.disturbed(results):
        print("\nSomething else used this machine meanwhile: measure again when nothing does.")
    where = DOCS if chosen.complete or chosen.write else chosen.out
    page.write(results, where)
    print(f"\nraw results: {chosen.out}/results.json; page: {os.path.normpath(where)}/benchmarks.md")
    return 1 if results["failed"] else 0


def report(arguments):
    if not 1 <= len(arguments) <= 2:
        print("usage: benches/peers/report RESULTS.json [DIRECTORY]", file=sys.stderr)
        return 2
    with open(arguments[0], encoding="utf-8") as file:
        results = json.load(file)
    print(page.table_for_terminal(goals.rows(results)))
    if len(arguments) == 2:
        page.write(results, arguments[1])
    return 0


def fail(problem):
    print(f"\nbench-peers: {problem}", file=sys.stderr)
    return 1


def first_sentence(module):
    return module.__doc__.split(". ")[0].split(".\n")[0].replace("\n", " ").rstrip(".")
